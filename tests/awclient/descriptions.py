"""Recipes as the portal describes them, for tests without one."""

from __future__ import annotations

from typing import Any


def an_input(role: str, *kinds: str, minimum: int = 0, maximum: int | None = 1, primary: bool = False,
             preferred: bool = True) -> dict[str, Any]:  # fmt: skip
    """Return one input."""
    return {"role": role, "kinds": list(kinds), "minimum": minimum, "maximum": maximum, "primary": primary,
            "preferred": preferred, "chosen_by": "validity"}  # fmt: skip


def a_recipe(name: str, outputs: str, split_by: str, *inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return one recipe."""
    return {"name": name, "version": "1", "summary": f"Make {outputs}.", "inputs": list(inputs),
            "outputs": outputs.split(), "split_by": split_by.split(), "parameters": [], **more}  # fmt: skip


def a_parameter(name: str, kind: str, default: Any, **more: Any) -> dict[str, Any]:
    """Return one parameter."""
    return {"name": name, "type": kind, "default": default, "unit": "", "minimum": None, "maximum": None,
            "choices": [], "description": "", **more}  # fmt: skip


BIAS = a_recipe(
    "Bias", "BiasFrame", "chip",
    an_input("raw_bias", "RawBias", minimum=3, maximum=None, primary=True), an_input("read_noise", "ReadNoise"),
    parameters=[
        a_parameter("sigma_clip", "float", 3.0, unit="sigma", minimum=1, maximum=50, description="How far."),
        a_parameter("overscan_correction", "choice", 6, choices=[0, 6]),
        a_parameter("interpolate", "bool", False),
    ],
)  # fmt: skip
DOME = a_recipe(
    "DomeFlat", "DomeFlatFrame", "chip filter",
    an_input("raw_flat", "RawDomeFlat", minimum=1, maximum=None, primary=True), an_input("bias_frame", "BiasFrame"),
    an_input("cold", "ColdPixelMap", preferred=False), an_input("previous", "DomeFlatFrame", preferred=False),
)  # fmt: skip
TWILIGHT = a_recipe(
    "TwilightFlat", "TwilightFlatFrame", "chip filter",
    an_input("raw_flat", "RawTwilightFlat", minimum=1, maximum=None, primary=True),
    an_input("bias_frame", "BiasFrame"), an_input("cold", "ColdPixelMap"),
)  # fmt: skip
COLD = a_recipe(
    "ColdPixels", "ColdPixelMap", "product",
    an_input("flat", "DomeFlatFrame", "TwilightFlatFrame", minimum=1, primary=True),
)  # fmt: skip
MASTER = a_recipe(
    "MasterFlat", "MasterFlatFrame", "chip filter",
    an_input("dome_flat", "DomeFlatFrame", primary=True), an_input("twilight_flat", "TwilightFlatFrame", primary=True),
    an_input("cold", "ColdPixelMap"),
)  # fmt: skip
REDUCE = a_recipe(
    "Reduce", "ReducedScienceFrame WeightFrame", "product",
    an_input("raw_science", "RawScience", minimum=1, primary=True), an_input("bias_frame", "BiasFrame"),
    an_input("master_flat", "MasterFlatFrame"),
)  # fmt: skip
RECIPES = [BIAS, COLD, DOME, MASTER, REDUCE, TWILIGHT]


def a_product(number: int, kind: str, **given: Any) -> dict[str, Any]:
    """Return one product."""
    temperature = given.pop("temperature", None)
    return {
        "id": number, "kind": kind, "name": f"{kind}{number}", "instrument": "cam", "chip": "1", "filter": "",
        "readout_mode": "default", "date_obs": f"2024-05-13T04:{number % 60:02d}:00Z", "night": "2024-05-12",
        "is_valid": 2, "quality_flags": 0, "attributes": {"temperature": temperature}, "inputs": {}, "recipe": "",
        "recipe_version": "", "parameters": {}, "made_without": [], "code_digest": "", "run": None, "measurements": [],
        "valid_from": None, "page": f"http://portal/products/{number}/", "sha256": "0" * 64, "size": 1, **given,
    }  # fmt: skip
