# Python reads this first. It leads Esper's client, unchanged, to the server of TestVendorCLI, and nowhere else.
import os
import socket

lookup = socket.getaddrinfo


def to_server(host, port, *args, **kwargs):
    if host != os.environ["VENDOR_HOST"]:
        raise socket.gaierror(f"this test does not reach {host}")
    return lookup("127.0.0.1", os.environ["SERVER_PORT"], *args, **kwargs)


if "VENDOR_HOST" in os.environ:
    socket.getaddrinfo = to_server
