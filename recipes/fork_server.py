"""A warm start for jobs: ``python -m recipes.fork_server SOCKET`` imports everything once and forks a child a job.

Protocol, JSON lines on one connection of a Unix socket a job: the client sends ``{"job_file", "log", "environment",
"nice", "memory_mib"}``; the answers are ``{"pid"}`` at once and ``{"exit", "signal", "max_rss_mib", "cpu_seconds"}``
when the job ended. The child leads a process group of its own, which the client kills. One thread only, so that
forking is safe; server and children die with their parents.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_MAXIMUM_REQUEST = 2**20
_LIBC = ctypes.CDLL(None, use_errno=True)


def serve(path: str) -> None:
    """Serve on the Unix socket `path` until the parent process dies or SIGTERM comes."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")  # before numpy comes in: threads and forks do not mix
    parent = os.getppid()
    _die_with_parent(parent)
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        previous = os.umask(0o177)
        listening.bind(path)
        os.umask(previous)
        listening.listen(64)
        _preload()
        print("ready", flush=True)
        _Server(listening).run()


def main(arguments: list[str]) -> int:
    """Run the server; return 2 for a wrong command line."""
    if len(arguments) != 1:
        print("usage: python -m recipes.fork_server SOCKET", file=sys.stderr)
        return 2
    serve(arguments[0])
    return 0


class _Server:
    """One loop over the listening socket, requests being read, and children that end."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._selector = selectors.DefaultSelector()
        self._half_read: dict[socket.socket, bytes] = {}
        self._clients: dict[int, socket.socket] = {}
        self._stopped = False

    def run(self) -> None:
        """Serve until SIGTERM."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(reader, selectors.EVENT_READ)
        while not self._stopped:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    client, _address = self._listening.accept()
                    self._half_read[client] = b""
                    self._selector.register(client, selectors.EVENT_READ)
                elif key.fileobj == reader:
                    os.read(reader, 4096)
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]
            self._reap()

    def _stop(self, *_: object) -> None:
        self._stopped = True

    def _read(self, client: socket.socket) -> None:
        try:
            piece = client.recv(65536)
        except OSError:
            piece = b""
        request = self._half_read[client] + piece
        if piece and b"\n" not in request and len(request) < _MAXIMUM_REQUEST:
            self._half_read[client] = request
            return
        self._selector.unregister(client)
        del self._half_read[client]
        try:
            directions = json.loads(request.split(b"\n", 1)[0])
            job_file, log_file = str(directions["job_file"]), str(directions["log"])
        except (ValueError, KeyError, TypeError):
            _answer(client, {"error": "the request is one JSON line with job_file and log"})
            client.close()
            return
        pid = self._fork(directions, job_file, log_file)
        self._clients[pid] = client
        _answer(client, {"pid": pid})

    def _fork(self, directions: dict[str, Any], job_file: str, log_file: str) -> int:
        server = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            _die_with_parent(server)
            os.setsid()
            _redirect(log_file)
            self._close_all()
            os.chdir(Path(job_file).parent)
            _limit(directions)
            from recipes.running import run_job

            code = run_job(Path(job_file))
        except BaseException:  # noqa: BLE001  # the child must never return into the server's loop
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _close_all(self) -> None:
        self._selector.close()
        for client in (self._listening, *self._half_read, *self._clients.values()):
            client.close()

    def _reap(self) -> None:
        while self._clients:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            client = self._clients.pop(pid, None)
            if client is None:
                continue
            killed = os.WIFSIGNALED(status)
            _answer(client, {
                "exit": None if killed else os.WEXITSTATUS(status),
                "signal": os.WTERMSIG(status) if killed else None,
                "max_rss_mib": round(usage.ru_maxrss / 1024, 1),
                "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            })  # fmt: skip
            client.close()


def _preload() -> None:
    """Import all that a job may need, so that no job pays for it."""
    import astropy.io.fits
    import scipy.ndimage

    from recipes import running
    from recipes.catalogue import all_recipes
    from recipes.ccd.kernels.compiled import load_all
    from recipes.code import code_digest

    all_recipes()
    code_digest()
    load_all()
    del astropy, scipy, running
    # Or the first full collection in a job would write to, and so copy, every page that it shares with the server.
    gc.collect()
    gc.freeze()


def _die_with_parent(parent: int) -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _redirect(log_file: str) -> None:
    target = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    os.close(nothing)


def _limit(directions: dict[str, Any]) -> None:
    os.environ.update({str(name): str(value) for name, value in (directions.get("environment") or {}).items()})
    if directions.get("nice"):
        os.nice(int(directions["nice"]))
    memory = int(directions.get("memory_mib") or 0)
    if memory:
        # What the server had already mapped is shared, not the job's.
        limit = (memory << 20) + _own_data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _own_data_bytes() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _answer(client: socket.socket, message: dict[str, Any]) -> None:
    """Send one line; a client that is gone misses it."""
    try:
        client.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
