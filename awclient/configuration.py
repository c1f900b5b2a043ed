"""Where the portal is and who we are: the environment first, then the file that `awrecipe login` writes.

The one place of the client that reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from awclient.errors import NotAllowed, UsageProblem

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Configuration:
    """A portal's address and the token to use there."""

    url: str
    token: str


def configuration_file() -> Path:
    """Return where the login is kept."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "awportal" / "config.toml"


def state_directory() -> Path:
    """Return where submissions are kept until the portal has acknowledged them."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "awportal"


def read_configuration(url: str = "", token_file: Path | None = None) -> Configuration:
    """Return address and token: from the arguments, then AWPORTAL_URL and AWPORTAL_TOKEN(_FILE), then the file."""
    kept = _read_file()
    address = check_url(url or os.environ.get("AWPORTAL_URL") or kept.get("url", ""))
    # A kept token belongs to the portal that gave it: it is never sent to another.
    kept_token = kept.get("token", "") if address == kept.get("url") else ""
    file = token_file or os.environ.get("AWPORTAL_TOKEN_FILE")
    if token_file is None and os.environ.get("AWPORTAL_TOKEN"):
        token = os.environ["AWPORTAL_TOKEN"].strip()
    elif file:
        token = _read_token(Path(file))
    else:
        token = kept_token
    if not token:
        raise NotAllowed(
            f"there is no token for {address}",
            hint=f"log in once with `awrecipe login {address}`, or set AWPORTAL_TOKEN or AWPORTAL_TOKEN_FILE",
        )
    return Configuration(address, check_token(token))


def check_url(url: str) -> str:
    """Return the portal's address without a slash at its end, or raise UsageProblem."""
    if not url:
        raise UsageProblem(
            "no portal is known", hint="log in once with `awrecipe login http://HOST:PORT`, or set AWPORTAL_URL"
        )
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageProblem(f"{url!r} is not a portal's address", hint="write it like https://portal.example.org")
    return url.strip().rstrip("/")


def check_token(token: str) -> str:
    """Return the token, or raise UsageProblem where it cannot be one (it travels in a header)."""
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageProblem("the token holds characters that no token has", hint="copy it anew from the portal")
    return token


def is_unprotected(url: str) -> bool:
    """Return whether a token sent there could be read on its way: plain HTTP to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def write_configuration(configuration: Configuration) -> Path:
    """Keep the login in a file that only its owner can read; return its path."""
    path = configuration_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f'url = "{_quoted(configuration.url)}"\ntoken = "{_quoted(configuration.token)}"\n')
    draft.replace(path)
    return path


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _read_file() -> dict[str, str]:
    path = configuration_file()
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise UsageProblem(f"{path} cannot be read: {problem}", hint="log in anew with `awrecipe login`") from None
    return {name: str(value) for name, value in content.items()}


def _read_token(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageProblem(f"the token's file {path} cannot be read: {problem}") from None
