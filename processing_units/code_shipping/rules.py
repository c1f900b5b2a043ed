"""What a bundle of a user's code may hold; the bounds hold for whoever packs, uploads, stores or unpacks one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAXIMUM_FILES = 5_000
MAXIMUM_BYTES = 50 * 10**6
MAXIMUM_RATIO = 100
# A zip file's own records beside the files' bytes: about 100 bytes and twice the name a file.
MAXIMUM_ARCHIVE_BYTES = MAXIMUM_BYTES + MAXIMUM_FILES * 1_200
LONGEST_PATH = 400
LONGEST_NAME = 200

_COMPILED = (".so", ".pyc", ".pyo", ".pyd", ".dll", ".dylib", ".exe", ".o", ".a", ".nbi", ".nbc")
_SHARED_LIBRARY = re.compile(r"\.so(\.\d+)*$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PROGRAMS = {
    b"\x7fELF": "a compiled program or library (ELF)",
    b"MZ": "a Windows program",
    b"\xfe\xed\xfa": "a compiled program (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a compiled program (Mach-O)",
    b"\xca\xfe\xba\xbe": "a compiled program",
}


class BundleError(Exception):
    """What is wrong with a bundle, with which file of it, and how to mend it."""

    def __init__(self, message: str, *, hint: str = "", file: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.file = file


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle."""

    path: str
    size: int
    sha256: str


def checked_path(name: str) -> str:
    """Return the path of a file within a bundle, or raise BundleError: relative, plain, below the bundle's folder."""
    shown = printable(name)
    mend = "rename it with letters, digits and . _ + - and pack it anew"
    if _CONTROL.search(name) or "\\" in name or ":" in name:
        raise BundleError(
            f"{shown}: its name holds a character that no file of a bundle may have", hint=mend, file=shown
        )
    if name.startswith("/"):
        raise BundleError(f"{shown}: an absolute name", hint="pack the files relative to one folder", file=shown)
    parts = name.split("/")
    if ".." in parts:
        raise BundleError(f"{shown}: a name that leaves its folder by ..", hint="pack one folder alone", file=shown)
    if any(part in {"", "."} for part in parts):
        raise BundleError(f"{shown}: an empty part in its name", hint=mend, file=shown)
    if len(name) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in parts):
        raise BundleError(f"{shown[:80]}...: its name is too long", hint=mend, file=shown)
    if name.lower().endswith(_COMPILED) or _SHARED_LIBRARY.search(name.lower()):
        raise BundleError(f"{shown}: compiled code is not taken", hint="ship the source, and remove it", file=shown)
    return name


def check_content(path: str, head: bytes) -> None:
    """Raise BundleError if a file begins like a program."""
    for magic, what in _PROGRAMS.items():
        if head.startswith(magic) and (magic != b"MZ" or b"\0" in head):
            raise BundleError(f"{path}: {what} is not taken", hint="ship the source, and remove it", file=path)
    if b"\0" in head:
        raise BundleError(
            f"{path}: it is not a text file",
            hint="a bundle holds Python and configuration files; frames and tables go into the archive",
            file=path,
        )


class Names:
    """The names in a bundle so far: none twice, none that another system would take for the same, no file a folder."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def add(self, path: str) -> None:
        """Take a file's name, or raise BundleError."""
        same = _alike(path)
        other = self._seen.get(same)
        if other is not None:
            how = "is there twice" if other == path else f"and {other} differ only in upper and lower case or accents"
            raise BundleError(f"{path} {how}", hint="rename or remove one of them", file=path)
        if same in self._folders:
            raise BundleError(f"{path} is a file and a folder", hint="rename one of them", file=path)
        self._seen[same] = path
        parts = path.split("/")
        for length in range(1, len(parts)):
            folder = "/".join(parts[:length])
            alike = _alike(folder)
            if alike in self._seen:
                raise BundleError(f"{self._seen[alike]} is a file and a folder", hint="rename one of them", file=path)
            if self._folders.setdefault(alike, folder) != folder:
                raise BundleError(
                    f"the folders {folder} and {self._folders[alike]} differ only in upper and lower case or accents",
                    hint="rename one of them",
                    file=path,
                )


class Budget:
    """Counts files and bytes as they come, against the bounds."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0

    def add_file(self, path: str) -> None:
        """Count a file."""
        self.files += 1
        if self.files > MAXIMUM_FILES:
            raise BundleError(
                f"{path} is one file too many: a bundle holds at most {MAXIMUM_FILES:,}",
                hint="ship the folder with your recipes alone",
                file=path,
            )

    def add_bytes(self, path: str, number: int) -> None:
        """Count bytes of a file."""
        self.bytes += number
        if self.bytes > MAXIMUM_BYTES:
            raise BundleError(
                f"with {path} the files have more than {MAXIMUM_BYTES // 10**6} MB",
                hint="ship code and configuration alone; frames and tables go into the archive",
                file=path,
            )


def printable(name: str) -> str:
    """Return a name as it may be shown on any terminal or page."""
    return _CONTROL.sub("?", name)


def _alike(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
