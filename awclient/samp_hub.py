"""A hub of SAMP on this machine, by the Standard Profile of SAMP 1.3 (section 4): calls of XML-RPC, nothing else.

Who only sends needs no address of its own, and so no server: astropy's client, which brings one, is deprecated.
"""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from xmlrpc import client as xmlrpc

from awclient.errors import RecipeFailed, UsageProblem

_HOW_TO_START = "start TOPCAT or Aladin, which bring one, or DS9 and there File, SAMP, Connect"


class Hub:
    """A connection to the hub, to be used in a ``with`` block."""

    def __init__(self) -> None:
        lock = _read_lock(lock_file())
        proxy: Any = xmlrpc.ServerProxy(lock["samp.hub.xmlrpc.url"])
        self._hub = proxy.samp.hub
        try:
            self._key = str(self._hub.register(lock["samp.secret"])["samp.private-key"])
        except (OSError, http.client.HTTPException, xmlrpc.Error):
            raise UsageProblem("the SAMP hub that ran here has ended", hint=_HOW_TO_START) from None

    def __enter__(self) -> Self:
        self._call("declareMetadata", {"samp.name": "awrecipe"})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("unregister")

    def programs(self, mtype: str) -> dict[str, str]:
        """Return the programs that take such messages: identifier and name."""
        found = self._call("getSubscribedClients", mtype)
        return {each: str(self._call("getMetadata", each).get("samp.name") or each) for each in found}

    def load(self, program: str, message: dict[str, Any], seconds: int) -> str:
        """Let a program load something; return what it says went wrong, or nothing."""
        answer = self._call("callAndWait", program, message, str(seconds))
        if answer["samp.status"] == "samp.ok":
            return ""
        return str(answer.get("samp.error", {}).get("samp.errortxt") or "it does not say why")

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._hub, name)(self._key, *arguments)
        except xmlrpc.Fault as fault:
            raise RecipeFailed(f"the SAMP hub says: {fault.faultString}") from None
        except (OSError, http.client.HTTPException, xmlrpc.Error) as problem:
            raise RecipeFailed(f"the SAMP hub does not answer any more ({problem})", hint=_HOW_TO_START) from None


def lock_file() -> Path:
    """Return where the hub says how it is reached: as SAMP_HUB tells, else ~/.samp."""
    told = os.environ.get("SAMP_HUB", "")
    parts = urlsplit(told.removeprefix("std-lockurl:"))
    return Path(unquote(parts.path)) if told and parts.scheme == "file" else Path.home() / ".samp"


def _read_lock(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    lock = {name.strip(): value.strip() for name, value in pairs}
    if not {"samp.secret", "samp.hub.xmlrpc.url"} <= set(lock):
        raise UsageProblem("no SAMP hub runs on this machine", hint=_HOW_TO_START)
    return lock
