"""What a unit on a queueing system needs to know; the process manager sets it in the unit."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from processing_units.backend.kind import KindSettings


def _plain(text: str) -> str:
    """Refuse what could end a line of a batch script and begin another."""
    if not text.isprintable():
        raise ValueError("only printable characters are possible")
    return text


Plain = Annotated[str, AfterValidator(_plain), Field(max_length=1000)]
OptionName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]


class QueueSettings(KindSettings):
    """How cluster managers are submitted."""

    queue: Plain = Field(default="", description="queue or partition; empty: the system's default")
    account: Plain = Field(default="", description="account or project that pays")
    walltime_minutes: int = Field(default=60, ge=1, le=60 * 24 * 60, description="of a queue job")
    slots: int = Field(default=0, ge=0, le=1024, description="cores of a queue job, one a slot; 0: as the unit says")
    memory_mib: int = Field(default=0, ge=0, description="of a queue job; 0: the system's default")
    attributes: dict[OptionName, Plain] = Field(
        default_factory=dict, description="more options of the system, as qos or constraint for Slurm"
    )
    environment: dict[VariableName, Plain] = Field(default_factory=dict, description="variables of queue jobs")
    login: Plain = Field(
        default="",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*(:[0-9]{1,5})?$|^$",
        description="login host of the cluster, by ssh, as user@host:port; empty: the backend runs there",
    )
    login_python: Plain = Field(default="python3", description="a Python on the login host, for the relay")
    relay_address: Plain = Field(
        default="", description="of the login host, as nodes reach it; empty: what its own name stands for"
    )
    system_python: bool = Field(default=False, description="with login: python has the requirements, install none")
    work_directory: Plain = Field(
        default="", description="on a file system shared with the nodes; empty: the state's; with login: ~/awportal"
    )
    node_directory: Plain = Field(default="", description="where nodes keep cache and scratch; empty: below /tmp")
    python: Plain = Field(
        default="",
        description="path of the Python with awportal on the nodes; empty: the backend's; with login: python3",
    )
    idle_seconds: int = Field(default=60, ge=1, description="a cluster manager leaves after so long without a job")
    poll_seconds: float = Field(default=10.0, ge=0.5, le=600.0, description="how often the system is asked")
