"""What a machine keeps to run the standard code: environments with the requirements, and the code itself.

Below the root, shared by all cluster managers of one user on one machine::

    environment-<key>/  a virtual environment; the key stands for requirements, interpreter and kind of machine
    code-<key>/         the code; the key stands for its digest and the environment that compiles its kernels
    locks/<name>        held exclusively by who installs, shared by all who use it
    building-<name>/    what is being made; it gets its name when it is whole, so nothing half is ever used

Any process may be killed at any time: the lock ends with it, and whoever comes next begins anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from processing_units.joining.installing import (
    CannotInstallError,
    Commands,
    check_room,
    compile_kernels,
    install_requirements,
)
from processing_units.joining.requirement_check import Interpreter, wanted_versions
from processing_units.joining.standard_code import digest_of, installed_root, unpack

UNUSED_DAYS = 30
_COMPILED = ".compiled"
# What numba compiles, and what of the other modules goes into it.
KERNELS = "recipes/ccd/kernels"
KERNEL_TABLES = ("recipes/masks.py",)


class Software:
    """The software below ``root``; each method returns what is asked for, made first where it is not there yet."""

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self.root = root
        self._say = say
        self._held: list[int] = []
        try:
            (root / "locks").mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise CannotInstallError(
                f"{root} cannot be made ({error.strerror}); name another folder with --software"
            ) from error

    def environment(self, interpreter: Interpreter, requirements: list[str]) -> Path:
        """Return the Python of a virtual environment with the requirements."""
        wanted = wanted_versions(requirements, interpreter.about)
        pinned = "".join(f"{name}=={version}\n" for name, version in sorted(wanted.items()))
        machine = [interpreter.about[name] for name in ("python_full_version", "platform_machine", "sys_platform")]
        name = f"environment-{_key(str(interpreter.path.resolve()), *machine, pinned)}"
        python = self.root / name / "bin" / "python"

        def install(building: Path, commands: Commands) -> None:
            self._say(f"installing {len(wanted)} requirements into {self.root / name} (once; a minute or two)")
            began = time.monotonic()
            check_room(self.root)
            install_requirements(commands, interpreter, building, pinned)
            self._say(f"installed in {time.monotonic() - began:.0f} s")

        self._made(name, python.exists, install)
        return python

    def code(self, digest: str, sha256: str, python: Path, fetch: Callable[[], bytes]) -> Path:
        """Return the folder with the code of a digest, its kernels compiled by ``python``."""
        name = f"code-{digest[:16]}-{_key(str(python))[:8]}"
        folder = self.root / name

        def is_whole() -> bool:
            return (folder / _COMPILED).exists() and digest_of(folder) == digest

        def install(building: Path, commands: Commands) -> None:
            if folder.exists() and digest_of(folder) != digest:
                self._say(f"{folder} was changed since it was installed: the code is fetched anew")
            self._say(f"fetching the standard code {digest[:12]}")
            unpack(fetch(), sha256, digest, building)
            self._say(
                "its kernels are those that are compiled here already"
                if self._borrow_kernels(building)
                else "compiling its kernels (once a version of them; a minute or two)"
            )
            compile_kernels(commands, python, building)
            (building / _COMPILED).touch()

        self._made(name, is_whole, install)
        return folder

    def _borrow_kernels(self, building: Path) -> bool:
        """Take compiled kernels from another version of the code, or our own installation, whose kernels are the same.

        Numba knows a source by its time and size: the times are taken with them.
        """
        ours = _kernels(building)
        for donor in [installed_root(), *self.root.glob("code-*")]:
            theirs = _kernels(donor)
            if not ours or [*map(_named(donor), theirs)] != [*map(_named(building), ours)]:
                continue
            compiled = list((donor / KERNELS / "__pycache__").glob("*.nb[ic]"))
            if not compiled or any(a.read_bytes() != b.read_bytes() for a, b in zip(ours, theirs, strict=True)):
                continue
            (building / KERNELS / "__pycache__").mkdir()
            for path in compiled:
                shutil.copy2(path, building / KERNELS / "__pycache__")
            for mine, other in zip(ours, theirs, strict=True):
                shutil.copystat(other, mine)
            return True
        return False

    def _made(self, name: str, is_there: Callable[[], bool], make: Callable[[Path, Commands], None]) -> None:
        """Make what is not there under its lock; then hold the lock, shared, as long as this process lives."""
        lock = os.open(self.root / "locks" / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock(lock, fcntl.LOCK_SH, name)
        if not is_there():
            fcntl.flock(lock, fcntl.LOCK_UN)
            self._lock(lock, fcntl.LOCK_EX, name)
            if not is_there():  # somebody else may have been first
                building = self.root / f"building-{name}"
                remove_folder(building)  # of somebody who was killed
                with _cleaned_up(building):
                    make(building, Commands(lock))
                    self._put_in_place(building, self.root / name)
                self._remove_unused()
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(self.root / "locks" / name)
        os.set_inheritable(lock, True)  # the cluster manager, which takes the place of this process, holds it on
        self._held.append(lock)

    def _lock(self, lock: int, kind: int, name: str) -> None:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            self._say(f"another awworker of this machine works on {name}: waiting for it")
            fcntl.flock(lock, kind)

    def _put_in_place(self, building: Path, place: Path) -> None:
        if place.exists():
            remove_folder(place)
        building.rename(place)

    def _remove_unused(self) -> None:
        """Remove what nobody has used for a month and nobody holds."""
        for lock_file in (self.root / "locks").iterdir():
            folder = self.root / lock_file.name
            if not folder.exists() or time.time() - lock_file.stat().st_mtime < UNUSED_DAYS * 86400:
                continue
            with lock_file.open("r+b") as lock, contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._say(f"removing {lock_file.name}, unused for {UNUSED_DAYS} days")
                remove_folder(folder)


def _kernels(root: Path) -> list[Path]:
    """Return the sources on which compiled kernels depend."""
    return sorted([*(root / KERNELS).glob("*.py"), *(path for name in KERNEL_TABLES if (path := root / name).exists())])


def _named(root: Path) -> Callable[[Path], Path]:
    return lambda path: path.relative_to(root)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _cleaned_up(building: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remove_folder(building)
        raise CannotInstallError(f"{building} cannot be written: {error.strerror or error}") from error
    except BaseException:
        remove_folder(building)
        raise


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def default_root() -> Path:
    """Return where the software lies unless the user says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awportal" / "software"
