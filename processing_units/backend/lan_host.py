"""A processing machine that is reached by ssh: what is registered of it, and the shell's words that follow from it."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from processing_units.backend.kind import KindSettings
from processing_units.backend.ssh_connection import SshConnection, Target
from processing_units.joining.single_file import single_file

# No word may begin with a dash: the ssh client would take it for an option.
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]*$", max_length=200)]
UserName = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*)?$", max_length=60)]
RemotePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_./][A-Za-z0-9_./+@ -]*$", max_length=300)]
_BYTES = re.compile(r"(\d+(?:\.\d+)?) *([kmgt]?)i?b?", re.IGNORECASE)
CLEAN_SECONDS = 600.0
LOCK_SECONDS = 10  # a cluster manager that was killed this moment still has its lock
_SCALES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _bytes(given: Any) -> Any:
    """Take ``20G`` for a number of bytes."""
    match = _BYTES.fullmatch(given.strip()) if isinstance(given, str) else None
    return int(float(match[1]) * _SCALES[match[2].lower()]) if match else given


def _numbers(given: Any) -> Any:
    """Take ``0,1`` for a list."""
    return [word.strip() for word in given.split(",") if word.strip()] if isinstance(given, str) else given


Gpus = Annotated[list[Annotated[int, Field(ge=0, le=255)]], BeforeValidator(_numbers), Field(max_length=64)]
Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=1 << 20, le=1 << 60)]


class LanHost(KindSettings):
    """A machine; named twice, it gives two cluster managers."""

    name: HostName | Literal[""] = Field(default="", description="how it is called; empty: as its host")
    host: HostName = Field(description="name or address to which ssh connects")
    user: UserName = Field(default="", description="empty: as the backend's ssh configuration says")
    port: int = Field(default=0, ge=0, le=65535, description="0: as the backend's ssh configuration says")
    slots: int = Field(default=1, ge=1, le=1000, description="jobs at a time")
    gpus: Gpus = Field(
        default_factory=list, description="numbers of its GPUs as nvidia-smi shows them, as 0,1: one job each at a time"
    )
    niceness: int = Field(default=0, ge=0, le=19, description="of the cluster manager and its jobs: 19 yields to all")
    remote_path: RemotePath = Field(
        default="awportal", description="folder for software and logs; relative to the user's home"
    )
    python: RemotePath = Field(default="python3", description="path of a Python 3.11 or newer")
    system_python: bool = Field(default=False, description="it has the requirements: none are installed")
    through: Literal["tunnels", "session"] = Field(
        default="tunnels",
        description="tunnels need an sshd that allows forwarding; session carries all through one ssh session, and "
        "files by sftp",
    )
    data_folder: RemotePath | Literal[""] = Field(
        default="", description="folder for inputs and running jobs; empty: the folder for software and logs"
    )
    data_bytes: Bytes = Field(default=20 << 30, description="bound of the inputs that are kept there, as 20G")
    owner: UserName = Field(
        default="", description="user there to whom folders and processes belong; empty: who logs in"
    )

    @model_validator(mode="after")
    def _owner_needs_an_absolute_path(self) -> Self:
        if self.owner and self.owner != self.user and not (self.remote_path[0] == self.data[0] == "/"):
            raise ValueError(f"remote_path and data_folder must begin with / where everything belongs to {self.owner}")
        return self

    @property
    def target(self) -> Target:
        """Where the ssh client is to connect to."""
        return Target(self.host, self.user, self.port)

    @property
    def title(self) -> str:
        """How it is called."""
        return self.name or self.host

    @property
    def data(self) -> str:
        """Folder of inputs and running jobs, relative to the user's home where it is not absolute."""
        return self.data_folder or self.remote_path

    # ------------------------------------------------------------------------------------------------------- on it

    def as_owner(self, command: str) -> str:
        """Return a command line for who logs in, which is done as the owner."""
        if not self.owner:
            return command
        owner, quoted = shlex.quote(self.owner), shlex.quote(command)
        # A name has no character that a shell knows, and only unquoted does it find the home of its user.
        theirs = f"HOME=~{self.owner} USER={owner} LOGNAME={owner}"
        return (
            f'if [ "$(id -un)" = {owner} ]; then sh -c {quoted}; '
            f"else cd / && {theirs} runuser -u {owner} -- sh -c {quoted}; fi"
        )

    @property
    def sftp_server(self) -> str:
        """The command that serves sftp as the owner; "" where that is who logs in."""
        if not self.owner or self.owner == self.user:
            return ""
        places = "/usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server"
        return self.as_owner(f'for each in {places}; do [ -x "$each" ] && exec "$each"; done; exit 1')

    def prepare(self, connection: SshConnection) -> None:
        """Make its folders, which belong to the owner alone, and bring ``awworker`` there. Raises `SshError`."""
        for folder in dict.fromkeys([self.remote_path, self.data]):
            connection.run(_make_folder(folder, self.owner))
        folder = shlex.quote(self.remote_path)
        take = f"mkdir -p {folder}/logs && cd {folder} && cat > awworker.part && mv awworker.part awworker"
        connection.run(self.as_owner(f"umask 077 && {take}"), single_file())

    def clean(self, connection: SshConnection) -> bool:
        """Remove inputs and what jobs left, unless another unit's cluster manager works there. Raises `SshError`.

        Returns
        -------
        bool
            Whether nobody works there: a cluster manager holds the lock of its scratch as long as it lives.
        """
        command = (
            f"cd {shlex.quote(self.data)} 2>/dev/null || exit 0; "
            "for each in scratch/awworker-* scratch/.awworker-*; do "
            f'if [ -e "$each/lock" ] && ! flock -w {LOCK_SECONDS} "$each/lock" true; then echo used; exit 0; fi; done; '
            "chmod -Rf u+rwX scratch; rm -rf -- node-cache scratch"
        )
        return not connection.run(self.as_owner(command), seconds=CLEAN_SECONDS).strip()

    def shares_data_with(self, other: LanHost) -> bool:
        """Whether both keep their data in the same folder of the same machine."""
        return (self.target, self.data) == (other.target, other.data)


def _make_folder(folder: str, owner: str) -> str:
    quoted, whose = shlex.quote(folder), shlex.quote(owner)
    if not owner:
        return f"umask 077 && mkdir -p -- {quoted}"
    chown = f'$([ "$(id -u)" = 0 ] && echo "-o "{whose})'
    return (
        f"now=$(stat -c %U -- {quoted} 2>/dev/null); "
        f'if [ -z "$now" ]; then install -d -m 700 {chown} -- {quoted} || exit 1; now=$(stat -c %U -- {quoted}); fi; '
        f'[ "$now" = {whose} ] || {{ echo {quoted} belongs to "$now", not to {whose}: '
        f"sudo install -d -o {whose} -m 700 {quoted}, or log in as root or {whose} >&2; exit 1; }}"
    )
