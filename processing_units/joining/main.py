"""``awworker URL --key-file F``: get the unit's standard code, and what it needs, onto this machine; then run it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from processing_units.joining.command_line import joining_parser, without_joining_options
from processing_units.joining.frontend import Frontend, Manifest, RefusedError
from processing_units.joining.installing import CannotInstallError, environment_for
from processing_units.joining.requirement_check import Interpreter, NoPythonError, ask, missing, names_in
from processing_units.joining.software import Software
from processing_units.joining.standard_code import DamagedCodeError, digest_of, installed_root

EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_CANNOT_INSTALL = 5
_NOT_FOUND = 404


@dataclass(frozen=True)
class Choice:
    """What is run: an interpreter, and the folder with the code."""

    python: Path
    code: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return an exit code, or become the cluster manager."""
    given_arguments = list(sys.argv[1:] if arguments is None else arguments)
    given = joining_parser().parse_args(given_arguments)
    if not re.match(r"https?://", given.url):
        return _say_no(EXIT_USAGE, f"{given.url!r} is no address; give the frontend's as http://host:port")
    try:
        key = read_key(given.key_file)
    except (OSError, ValueError) as error:
        return _say_no(EXIT_USAGE, f"the unit's key cannot be read from {given.key_file}: {error}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is half made is cleaned up
    try:
        frontend = Frontend(given.url, key, say)
        chosen = choose(
            frontend, _program(given.python), given.software.absolute(), given.no_install, given.system_python
        )
        become_the_cluster_manager(chosen, key, without_joining_options(given_arguments))
    except RefusedError as error:
        return _say_no(EXIT_REFUSED, f"the frontend refuses: {error}")
    except (CannotInstallError, DamagedCodeError, NoPythonError) as error:
        return _say_no(EXIT_CANNOT_INSTALL, str(error))
    except KeyboardInterrupt:
        return _say_no(130, "stopped before it joined")
    return 0


def choose(frontend: Frontend, python: Path, software: Path, no_install: bool, system_python: bool) -> Choice:
    """Decide what is run; install what is missing, unless it may not be."""
    own = own_digest()
    try:
        manifest = frontend.manifest()
    except RefusedError as error:
        if error.status == _NOT_FOUND and own:
            say("this frontend gives no code (it is of an older version): this installation's own is run")
            return Choice(python, installed_root())
        raise
    if own == manifest.digest:
        return Choice(python, installed_root())
    if no_install:
        raise RefusedError(0, _another_code(own, manifest))
    if own:
        say(f"the unit runs the standard code {manifest.digest[:12]}, this installation is {own[:12]}: "
            "the unit's is fetched")  # fmt: skip
    interpreter = ask(python, names_in(manifest.requirements))
    _check_version(interpreter, manifest)
    lacks = missing(manifest.requirements, interpreter)
    if system_python and lacks:
        raise CannotInstallError(_what_is_lacking(python, lacks))
    store = Software(software, say)
    # An installation of ours that has it all need not install it once more.
    fits = system_python or (bool(own) and not lacks)
    chosen = python if fits else store.environment(interpreter, manifest.requirements)
    code = store.code(manifest.digest, manifest.sha256, chosen, lambda: frontend.bundle(manifest))
    return Choice(chosen, code)


def own_digest() -> str:
    """Return the digest of the standard code that this program is a part of; "" for the single file."""
    root = installed_root()
    if not (root / "recipes").is_dir() or not (root / "processing_units" / "cluster_manager").is_dir():
        return ""
    return digest_of(root)


def become_the_cluster_manager(chosen: Choice, key: str, arguments: list[str]) -> None:
    """Replace this process; the key goes by standard input, where no other user sees it."""
    reader, writer = os.pipe()
    os.write(writer, key.encode() + b"\n")
    os.close(writer)
    os.dup2(reader, 0)
    os.close(reader)
    environment = {**os.environ, **environment_for(chosen.code)}
    command = [str(chosen.python), "-m", "processing_units.cluster_manager", *arguments, "--key-file", "-"]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(command[0], command, environment)  # noqa: S606 - the program was chosen above
    except OSError as error:
        raise NoPythonError(f"{command[0]} cannot be started: {error.strerror}; see --python") from error


def read_key(name: str) -> str:
    """Read the unit's key from a file, or from standard input."""
    key = (sys.stdin.readline() if name == "-" else Path(name).read_text()).strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("it holds no key")
    return key


def _program(name: str) -> Path:
    return Path(shutil.which(name) or name).absolute()


def say(text: str) -> None:
    """Tell the user what goes on."""
    print(f"awworker: {text}", file=sys.stderr, flush=True)


def _say_no(code: int, text: str) -> int:
    say(text)
    return code


def _check_version(interpreter: Interpreter, manifest: Manifest) -> None:
    if interpreter.version < manifest.python:
        needed, there = (".".join(map(str, numbers)) for numbers in (manifest.python, interpreter.version))
        raise CannotInstallError(
            f"the unit's code needs Python {needed} or newer, {interpreter.path} is {there}; install one and start "
            f"awworker with it, as in: python{needed} awworker ..., or name it with --python PATH"
        )


def _what_is_lacking(python: Path, lacks: list[str]) -> str:
    wanted = " ".join(f"{line.split()[0]}=={line.split(', ')[1].split()[0]}" for line in lacks)
    lines = "\n".join(f"  {line}" for line in lacks)
    return (
        f"{python} has not what the unit's code needs:\n{lines}\n"
        f"install it with: {python} -m pip install {wanted}\n"
        "or leave --system-python away: then awworker installs it into a folder of its own"
    )


def _another_code(own: str, manifest: Manifest) -> str:
    mine = f"this installation's is {own[:12]}" if own else "this file brings none"
    return (
        f"the unit runs the standard code {manifest.digest[:12]}, {mine}; update the installation to the portal's "
        "version (git pull, then make set-up), or leave --no-install away: then awworker gets the unit's code itself"
    )
