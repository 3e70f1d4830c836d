#!/usr/bin/env python3
"""Calls Esper's API with the key that esper-key keeps.

Run it by `esper-key exec -- python3 consumer.py`, which sets ESPER_URL, the base URL. A program that calls often may use
the key for a minute before it runs esper-key again. After a 401, run esper-key at once.
"""

import os
import subprocess
import urllib.error
import urllib.request


def key() -> str:
    """Return the key in use. If there is none, esper-key says why on standard error.

    Do not use subprocess.run for that: at Ctrl-C it kills esper-key, which may be renewing the key.
    """
    with subprocess.Popen(["esper-key", "token"], stdout=subprocess.PIPE, text=True) as command:
        text = command.stdout.read().strip()
    if command.returncode != 0:
        raise subprocess.CalledProcessError(command.returncode, command.args)
    return text


def call(path: str) -> bytes:
    for last in (False, True):
        request = urllib.request.Request(os.environ["ESPER_URL"] + path, headers={"Authorization": "Bearer " + key()})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code != 401 or last:
                raise
    raise AssertionError("not reached")


print(call("/v1/token-info/").decode())
