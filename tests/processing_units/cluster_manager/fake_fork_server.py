"""A small fork server that speaks the protocol of ``recipes.fork_server``; its jobs do the steps in their job file.

Started as ``PYTHON -m recipes.fork_server SOCKET`` by a wrapper script that stands for the interpreter.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

LIBC = ctypes.CDLL(None)


def die_with_parent(parent):
    LIBC.prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def run_job(job_file):
    job = json.loads(Path(job_file).read_text())
    result = {"recipe": job["recipe"], "state": "done", "products": [], "left_out": []}
    for step, *arguments in job["parameters"].get("steps", []):
        STEPS[step](job, result, *arguments)
    Path("outputs/result.json").write_text(json.dumps(result))
    sys.stdout.flush()
    return 0 if result["state"] == "done" else 1


def say(job, result, text, count=1):
    for _ in range(count):
        print(datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3], text, flush=count == 1)


def raw(job, result, numbers):
    sys.stdout.buffer.write(bytes(numbers))
    sys.stdout.flush()


def now(job, result):
    print("NOW", time.time(), flush=True)


def sleep(job, result, seconds):
    time.sleep(seconds)


def progress(job, result, fraction, stage):
    Path("progress.part").write_text(json.dumps({"fraction": fraction, "stage": stage}))
    os.replace("progress.part", "progress.json")


def product(job, result, name, size=None):
    """Write a product made of all inputs, or of so many zeros."""
    content = b"".join(Path(entry["path"]).read_bytes() for entry in job["inputs"]) if size is None else bytes(size)
    Path("outputs", name).write_bytes(content)
    result["products"].append(
        {
            "kind": "BiasFrame",
            "path": name,
            "name": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "attributes": {"chip": "1"},
            "measurements": [{"name": "mean", "value": 1.0}],
        }
    )


def spoil(job, result):
    result["products"][-1]["sha256"] = "0" * 64


def hog(job, result, mib, processes=1):
    """Take memory, in this process or spread over children."""
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    taken = []
    for _ in range(mib // processes):
        taken.append(bytearray(os.urandom(4096)) * 256)
        time.sleep(0.0005)
    time.sleep(60)


def children(job, result, seconds):
    subprocess.Popen(["sleep", str(seconds)])
    time.sleep(seconds)


def end(job, result, code):
    os._exit(code)


def die(job, result, number):
    os.kill(os.getpid(), number)


def fail(job, result, kind, message, hint=""):
    result.update(state="failed", error={"kind": kind, "message": message, "hint": hint}, products=[])


def write_into_input(job, result):
    path = Path(job["inputs"][0]["path"])
    say(job, result, f"mode {path.stat().st_mode & 0o777:o}")


STEPS = {
    function.__name__: function
    for function in (
        say,
        raw,
        now,
        sleep,
        progress,
        product,
        spoil,
        hog,
        children,
        end,
        die,
        fail,
        write_into_input,
    )
}


def fork_job(server, listening, request):
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        die_with_parent(server)
        os.setsid()
        listening.close()
        target = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.environ.update(request["environment"])
        os.chdir(Path(request["job_file"]).parent)
        code = run_job(request["job_file"])
    finally:
        os._exit(code)


def main(path):
    die_with_parent(os.getppid())
    if os.environ.get("FAKE_FORK_SERVER_FAILS"):
        sys.exit("the recipes cannot be imported")
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    print("ready", flush=True)
    clients = {}
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(reader, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not listening:
                os.read(reader, 100)
                continue
            client, _address = listening.accept()
            request = json.loads(client.makefile("rb").readline())
            pid = fork_job(os.getpid(), listening, request)
            clients[pid] = client
            client.sendall(json.dumps({"pid": pid}).encode() + b"\n")
        while clients:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            killed = os.WIFSIGNALED(status)
            answer = {
                "exit": None if killed else os.WEXITSTATUS(status),
                "signal": os.WTERMSIG(status) if killed else None,
                "max_rss_mib": usage.ru_maxrss / 1024,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
            }
            client = clients.pop(pid)
            with contextlib.suppress(OSError):
                client.sendall(json.dumps(answer).encode() + b"\n")
            client.close()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(sys.argv[-1])
