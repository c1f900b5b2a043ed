"""A unit's frontend that gives a small code, and machines with nothing but a Python, each with folders of its own."""

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from processing_units.joining.single_file import single_file
from processing_units.joining.standard_code import pack

KEY = "the-key-of-the-unit"
REQUIREMENTS = ["skyness==1.2", "oldness==0.1 ; python_full_version < '3.0'"]

# A cluster manager that only says what it was given.
CLUSTER_MANAGER = """
import json, os, skyness, sys
command = open("/proc/self/cmdline").read().split(chr(0))
print(json.dumps({"arguments": sys.argv[1:], "key": sys.stdin.readline().strip(), "command": command,
                  "code": __file__, "skyness": skyness.VALUE}))
"""
RECIPES = """
import os, sys, time
print("compiled once", file=open(os.environ["COMPILE_LOG"], "a"))
time.sleep(float(os.environ.get("COMPILE_SECONDS", 0)))
"""


def write_tree(root: Path, **changed: str) -> Path:
    """Write a standard code of three packages; ``changed`` has other texts of files."""
    texts = {
        "processing_units/__init__.py": "",
        "processing_units/cluster_manager/__init__.py": "",
        "processing_units/cluster_manager/__main__.py": CLUSTER_MANAGER,
        "processing_units/joining/requirements.txt": "\n".join(REQUIREMENTS),
        "recipes/__init__.py": "",
        "recipes/__main__.py": RECIPES,
        "recipes/tables/sky.toml": "height = 1",
        **changed,
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def write_wheel(folder: Path, version: str = "1.2") -> None:
    """Write a package that pip can install from a folder."""
    folder.mkdir(exist_ok=True)
    about = f"skyness-{version}.dist-info"
    with zipfile.ZipFile(folder / f"skyness-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("skyness.py", "VALUE = 21.5\n")
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: skyness\nVersion: {version}\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", f"skyness.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")


class Unit:
    """The frontend's two answers over real HTTP."""

    def __init__(self, tree: Path) -> None:
        self.code = pack(tree)
        self.python = "3.11"
        self.asked: list[str] = []
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        unit = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(json.dumps(unit.manifest()).encode())

            def do_GET(self) -> None:
                self._answer(unit.code.bundle)

            def _answer(self, body: bytes) -> None:
                unit.asked.append(self.path)
                known = self.headers["Authorization"] == f"Bearer {KEY}"
                if not known:
                    body = json.dumps({"error": "this is not the unit's key", "hint": "ask for it"}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def manifest(self) -> dict:
        return {
            "digest": self.code.digest,
            "sha256": self.code.sha256,
            "size": len(self.code.bundle),
            "python": self.python,
            "requirements": list(self.code.requirements),
        }


class Machine:
    """A machine: the single file, a home of its own, a folder of wheels and no package index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.program = folder / "awworker"
        self.program.write_bytes(single_file())
        self.key_file = folder / "key"
        self.key_file.write_text(KEY + "\n")
        self.compile_log = folder / "compiled"
        self.software = folder / "cache" / "awportal" / "software"
        write_wheel(folder / "wheels")

    def start(self, *arguments: str, program: list[str] | None = None, **more: str) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        environment |= {
            "HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PIP_NO_INDEX": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
            "COMPILE_LOG": str(self.compile_log),
            **more,
        }
        return subprocess.Popen(
            [*(program or [sys.executable, str(self.program)]), *arguments],
            env=environment,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, key: str = "", **more: str) -> tuple[str, str]:
        process = self.start(*arguments, **more)
        out, said = process.communicate(key, timeout=120)
        assert process.returncode == code, f"{process.returncode}\n{out}\n{said}"
        assert "Traceback" not in said
        return out, said

    def compiled(self) -> int:
        return self.compile_log.read_text().count("once") if self.compile_log.exists() else 0

    def left_over(self) -> list[str]:
        return [path.name for path in self.software.iterdir() if path.name.startswith("building")]


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(write_tree(tmp_path / "portal"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


@pytest.fixture
def make_machine(tmp_path: Path) -> Callable[[str], Machine]:
    return lambda name: Machine(tmp_path / name)
