"""What ``python -m recipes job.json`` reads and writes: the job file and the result file.

A job is a pure function of its job file: recipe, parameters and inputs with their attributes. Paths are relative to the
job file's folder. The result file is written beside the products, whatever happened.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# In the place of a recipe: a job without inputs or products, which shows that a machine runs jobs.
CANARY = "canary"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JobInput(_Strict):
    """One input file of a job with what the archive knows of it."""

    role: str
    kind: str
    path: str
    name: str
    sha256: str = ""
    attributes: dict[str, Any] = Field(default_factory=dict)


class JobFile(_Strict):
    """The directions: everything that decides the bytes of the products, and where to put them."""

    recipe: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[JobInput]
    output_directory: str = "outputs"
    threads: int = Field(default=1, ge=1)
    quality_limits: dict[str, float] = Field(default_factory=dict)
    limit_origins: dict[str, dict[str, str]] = Field(default_factory=dict)
    code_digest: str = ""


class Measurement(_Strict):
    """One QC value with the limits it was held to and the verdict."""

    name: str
    value: float
    error: float | None = None
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    verdict: Literal["good", "bad", "unlimited"] = "unlimited"
    limit_source: Literal["", "published", "learned", "set"] = ""
    limit_since: str = ""


class MadeProduct(_Strict):
    """One product that the job wrote."""

    kind: str
    path: str
    name: str
    sha256: str
    size: int
    attributes: dict[str, Any] = Field(default_factory=dict)
    measurements: list[Measurement] = Field(default_factory=list)
    quality_flags: int = 0
    made_without: list[str] = Field(default_factory=list)


class LeftOut(_Strict):
    """An input that the recipe did not use, and why."""

    name: str
    reason: str


class JobError(_Strict):
    """Why the job failed: whose fault, what, and how to mend it."""

    kind: Literal["usage", "fatal", "transient"]
    message: str
    hint: str = ""


class ResultFile(_Strict):
    """What came out: ``result.json`` in the output directory."""

    recipe: str
    version: str = ""
    state: Literal["done", "failed"]
    products: list[MadeProduct] = Field(default_factory=list)
    left_out: list[LeftOut] = Field(default_factory=list)
    error: JobError | None = None
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
