"""The standard code as this frontend gives it: packed once, and again when a file of it was changed."""

from __future__ import annotations

import threading

from processing_units.contract import CodeManifest
from processing_units.frontend.refusals import WrongCode
from processing_units.joining.standard_code import PYTHON, StandardCode, installed_root, pack, stamp_of

_lock = threading.Lock()
_packed: tuple[object, StandardCode] | None = None


def packed() -> StandardCode:
    """Return the standard code of this installation."""
    global _packed  # noqa: PLW0603 - one a process, as its files are
    root = installed_root()
    with _lock:
        stamp = stamp_of(root)
        if _packed is None or _packed[0] != stamp:
            _packed = stamp, pack(root)
        return _packed[1]


def manifest() -> CodeManifest:
    """Say which code a node of this installation is to run."""
    code = packed()
    return CodeManifest(
        digest=code.digest,
        sha256=code.sha256,
        size=len(code.bundle),
        python=".".join(map(str, PYTHON)),
        requirements=list(code.requirements),
    )


def check(digest: str) -> None:
    """Raise `WrongCode` if a cluster manager runs another code than this installation; one that says none may."""
    ours = packed().digest
    if digest and digest != ours:
        raise WrongCode(digest, ours)
