"""A small camera with known truth, and job files for its frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.attributes import FrameAttributes
from recipes.frame import Frame

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Camera:
    """A chip with overscan columns on the right; levels in adu, noise as a CCD has it."""

    height: int = 200
    width: int = 240
    overscan: int = 32
    read_noise: float = 5.0
    gain: float = 2.0
    pedestal: float = 1000.0
    whole_numbers: bool = True
    seed: int = 1
    rng: np.random.Generator = field(init=False)
    structure: NDArray[np.float64] = field(init=False)
    response: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        y, x = np.mgrid[: self.height, : self.width]
        self.structure = 2.0 * np.sin(x / 40.0)
        pixels = 1 + 0.01 * self.rng.standard_normal((self.height, self.width))
        centred = ((x - self.width / 2) / self.width) ** 2 + ((y - self.height / 2) / self.height) ** 2
        self.response = pixels * (1 - 0.2 * centred)

    def attributes(self, **more: Any) -> dict[str, Any]:
        """Attributes as an archive would give them."""
        own: dict[str, Any] = {"instrument": "simcam", "chip": "1"}
        if self.overscan:
            own["data_section"] = f"[1:{self.width},1:{self.height}]"
            own["overscan_x"] = f"[{self.width + 1}:{self.width + self.overscan},1:{self.height}]"
        return own | more

    def expose(
        self, electrons: NDArray[np.float64] | float = 0.0, *, drift: float = 0.0, name: str = "frame.fits",
        kind: str = "", **attributes: Any,
    ) -> Frame:  # fmt: skip
        """Return a raw frame of that many expected electrons a pixel."""
        return Frame(
            self.pixels(electrons, drift),
            attributes=FrameAttributes(**self.attributes(**attributes)),
            name=name,
            kind=kind,
        )

    def pixels(self, electrons: NDArray[np.float64] | float = 0.0, drift: float = 0.0) -> NDArray[np.float64]:
        """Return the raw array of an exposure."""
        expected = np.broadcast_to(np.asarray(electrons, float), (self.height, self.width))
        light = self.rng.poisson(expected) / self.gain + self.structure
        raw = np.hstack([light, np.zeros((self.height, self.overscan))]) + self.pedestal + drift
        raw += self.read_noise * self.rng.standard_normal(raw.shape)
        return np.round(raw) if self.whole_numbers else raw

    def biases(self, number: int, **more: Any) -> list[Frame]:
        """Return bias exposures."""
        return [self.expose(name=f"bias{index}.fits", kind="RawBias", exposure_time=0.0, **more)
                for index in range(number)]  # fmt: skip

    def flats(self, levels: Sequence[float], kind: str = "RawDomeFlat", **more: Any) -> list[Frame]:
        """Return flats of these levels [adu] at response 1."""
        return [
            self.expose(
                level * self.gain * self.response,
                name=f"flat{index}.fits", kind=kind, **({"exposure_time": level / 1000.0, "filter": "V"} | more),
            )
            for index, level in enumerate(levels)
        ]  # fmt: skip


def write_fits(path: Path, pixels: NDArray[Any], **cards: Any) -> Path:
    """Write a raw frame as a camera would."""
    from astropy.io import fits

    fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(path)
    return path


def write_job(
    folder: Path, recipe: str, inputs: Sequence[tuple[str, str, Path, dict[str, Any]]],
    parameters: dict[str, Any] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """Write a job file for inputs of (role, kind, path, attributes)."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {"role": role, "kind": kind, "path": str(path), "name": path.name, "attributes": attributes}
        for role, kind, path, attributes in inputs
    ]
    job = {"recipe": recipe, "parameters": parameters or {}, "inputs": entries, **more}
    path = folder / "job.json"
    path.write_text(json.dumps(job), "utf-8")
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``python -m recipes`` as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "recipes", *map(str, arguments)],
        cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "error"}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip


def result_of(job: Path) -> dict[str, Any]:
    """Return the result file of a job."""
    result: dict[str, Any] = json.loads((job.parent / "outputs" / "result.json").read_text("utf-8"))
    return result


def measurement(result: dict[str, Any], name: str) -> float:
    """Return a measured value of the first product."""
    values = {entry["name"]: entry["value"] for entry in result["products"][0]["measurements"]}
    return float(values[name])


def width(pulls: NDArray[Any]) -> float:
    """Return the standard deviation of pulls."""
    return float(np.std(np.asarray(pulls, np.float64)))
