"""The node's unpacked bundles: each once, as the standard recipes with the user's own laid over them; bounded."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processing_units.cluster_manager.faults import FaultError
from processing_units.cluster_manager.scratch import remove_tree
from processing_units.code_shipping.rules import BundleError
from processing_units.code_shipping.unpacking import unpack
from processing_units.contract import FaultKind

MOST_BUNDLES = 16


@dataclass(frozen=True)
class ShippedCode:
    """A bundle ready to run: the user's files as they are, and the package ``recipes`` with them laid over it."""

    bundle: Path
    recipes: Path


class CodeCache:
    """Unpacked bundles by digest, below `root`; nobody but this cluster manager writes there."""

    def __init__(self, root: Path, standard: Path) -> None:
        self._root = root
        self._standard = standard
        self._users: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def unpacked(self, digest: str, packed: Path) -> Iterator[ShippedCode]:
        """Give the code of a bundle whose verified file is `packed`; it stays as long as the context.

        Raises
        ------
        FaultError
            The bundle breaks a rule, which its portal should have seen.
        """
        with self._lock:
            code = self._unpack(digest, packed)
            self._users[digest] = self._users.get(digest, 0) + 1
            self._users.move_to_end(digest)
            self._remove_oldest()
        try:
            yield code
        finally:
            with self._lock:
                self._users[digest] -= 1

    def _unpack(self, digest: str, packed: Path) -> ShippedCode:
        place = self._root / digest
        code = ShippedCode(place / "bundle", place / "recipes")
        if place.is_dir():
            return code
        draft = self._root / f".{secrets.token_hex(8)}"
        draft.mkdir(mode=0o700)
        try:
            with packed.open("rb") as stream:
                unpack(stream, draft / "bundle")
            _lay_over(self._standard, draft / "bundle" / "recipes", draft / "recipes")
            draft.rename(place)
        except BundleError as error:
            raise FaultError(
                FaultKind.FATAL, f"The shipped code is refused: {error.message}", hint=error.hint
            ) from error
        finally:
            remove_tree(draft)
        return code

    def _remove_oldest(self) -> None:
        for digest in [digest for digest, users in self._users.items() if not users]:
            if len(self._users) <= MOST_BUNDLES:
                return
            del self._users[digest]
            remove_tree(self._root / digest)


def _lay_over(standard: Path, own: Path, target: Path) -> None:
    """Make `target` the standard package with the files of `own` in place of its, or beside them.

    The standard files are linked, and keep their times, by which compiled modules and kernels are found.
    """
    shutil.copytree(standard, target, copy_function=_link_or_copy, ignore=_not_code)
    if not own.is_dir():
        return
    for place, _, names in os.walk(own):
        folder = target / Path(place).relative_to(own)
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).unlink(missing_ok=True)
            shutil.copy2(Path(place, name), folder / name)


def _link_or_copy(source: str, target: str) -> None:
    with contextlib.suppress(OSError):  # another file system, or another user's file
        os.link(source, target)
        return
    shutil.copy2(source, target)


def _not_code(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(".")]
