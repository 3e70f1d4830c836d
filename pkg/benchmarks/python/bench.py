"""The vendor's esperclient, measured: bench.py MODE BASE [ARGUMENT...]."""

import sys
import time

started = time.perf_counter_ns()
import esperclient  # the import is part of what is measured

imported = time.perf_counter_ns()

import json
import threading

KEY = "example-key-for-benchmarks"
ENTERPRISE = "f44373cb-1800-43c6-aab3-c81f8b1f435c"


def client(base, connections=None):
    configuration = esperclient.Configuration()
    configuration.host = base
    configuration.api_key["Authorization"] = KEY
    configuration.api_key_prefix["Authorization"] = "Bearer"
    if connections:
        configuration.connection_pool_maxsize = connections
    return esperclient.TokenApi(esperclient.ApiClient(configuration))


def worker(base):
    """Answers each line, "info N" or "denied N", with the nanoseconds that N calls took."""
    good, bad = client(base + "/ok/api"), client(base + "/denied/api")
    info = good.get_token_info()
    if info.enterprise != ENTERPRISE or info.token != KEY or len(info.scope) != 6 or info.expires_on.year != 2019:
        raise SystemExit("esperclient did not decode the answer: %r" % info)
    for line in sys.stdin:
        what, n = line.split()
        call = good.get_token_info if what == "info" else lambda: denied(bad)
        begin = time.perf_counter_ns()
        for _ in range(int(n)):
            call()
        print(time.perf_counter_ns() - begin, flush=True)


def denied(api):
    try:
        api.get_token_info()
    except esperclient.rest.ApiException as e:
        if e.status != 401:
            raise
        return json.loads(e.body)
    raise SystemExit("a 401 is no error")


def throughput(base, mode, callers, calls):
    """Prints the seconds that all calls took."""
    callers, calls = int(callers), int(calls)
    api = client(base, callers if mode == "tuned" else None)
    left, lock, failures = [calls], threading.Lock(), []

    def run():
        try:
            while True:
                with lock:
                    if left[0] == 0:
                        return
                    left[0] -= 1
                api.get_token_info()
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=run) for _ in range(callers)]
    begin = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.perf_counter() - begin
    if failures:
        raise SystemExit("%d callers failed: %s" % (len(failures), failures[0]))
    print(took)


def status(name):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name + ":")) << 10


def memory(root, path):
    """Prints the bytes before and at most during one call, and its error."""
    client(root + "/ok/api").get_token_info()
    api = client(root + path)
    idle = status("VmRSS")
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")  # forget the peak so far
    except OSError:
        pass
    error = ""
    try:
        api.get_token_info()
    except Exception as e:
        error = type(e).__name__
    print(json.dumps({"Idle": idle, "Peak": status("VmHWM"), "Error": error}))


def cold(base):
    """Makes one call and prints the milliseconds that the import took."""
    client(base).get_token_info()
    print((imported - started) / 1e6)


if __name__ == "__main__":
    {"worker": worker, "throughput": throughput, "memory": memory, "cold": cold}[sys.argv[1]](*sys.argv[2:])
