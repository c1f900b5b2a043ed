"""The recipes of a bundle, as its own code told them in the sandbox: hostile words, held to a strict schema.

The portal never imports shipped code. A process beside it asks the bundle (``processing_units.cluster_manager.
describe``), once; the answer is kept with it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from archive.context import Context
from dataserver.errors import DataServerError
from dataserver.store import Store
from processing_units.frontend.bundles import bundle_to_run
from processing_units.frontend.models import CodeBundle
from processing_units.wording import first_fault
from recipes.catalogue import all_recipes, find_recipe
from recipes.errors import UsageError
from recipes.kinds import KINDS
from recipes.recipe import Input, Parameter, Recipe, Scalar

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 120.0
_NO_SANDBOX = 3
_LONGEST_REASON = 500

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
_Text = Annotated[str, StringConstraints(max_length=20_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
_Short = Annotated[str, StringConstraints(max_length=40, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Input(_Strict):
    role: _Name
    kinds: list[_Name] = Field(min_length=1, max_length=len(KINDS))
    minimum: int = Field(ge=0, le=10_000)
    maximum: int | None = Field(ge=1, le=100_000)
    primary: bool
    preferred: bool
    chosen_by: Literal["validity", "sky", "job", "run"]
    use: Literal["", "astrometry", "photometry"]


class _Parameter(_Strict):
    name: _Name
    type: Literal["float", "int", "bool", "str", "choice"]
    default: float | int | bool | _Short
    unit: _Short
    minimum: float | int | None
    maximum: float | int | None
    choices: list[float | int | bool | _Short] = Field(max_length=50)
    description: _Text

    @model_validator(mode="after")
    def _default_fits(self) -> _Parameter:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a choice has choices, and nothing else has")
        try:
            _parameter(self).parse(self.default)
        except UsageError as error:
            raise ValueError(error.message) from None
        return self


class _Told(_Strict):
    name: _Name
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,20}$")]
    documentation: _Text
    inputs: list[_Input] = Field(min_length=1, max_length=30)
    outputs: list[_Name] = Field(min_length=1, max_length=20)
    split_by: list[_Name] = Field(max_length=5)
    runs_on: Literal["cluster", "node"]
    needs_any_of: list[_Name] = Field(max_length=30)
    parameters: list[_Parameter] = Field(max_length=60)

    @model_validator(mode="after")
    def _is_possible(self) -> _Told:
        roles = [entry.role for entry in self.inputs]
        known_splits = {name for recipe in all_recipes().values() for name in recipe.split_by} | {"product"}
        for wrong, what in (
            ({kind for entry in self.inputs for kind in entry.kinds} - set(KINDS), "kind of input"),
            ({kind for kind in self.outputs if kind not in KINDS or KINDS[kind].is_raw}, "kind of product"),
            (set(self.split_by) - known_splits, "way to split"),
            (set(self.needs_any_of) - set(roles), "role"),
        ):
            if wrong:
                raise ValueError(f"{self.name}: {sorted(wrong)[0]} is no {what}")
        if len(set(roles)) != len(roles) or not any(entry.primary for entry in self.inputs):
            raise ValueError(f"{self.name}: a role is there twice, or no input is primary")
        if len({parameter.name for parameter in self.parameters}) != len(self.parameters):
            raise ValueError(f"{self.name}: a parameter is there twice")
        return self


_ALL_TOLD = TypeAdapter(Annotated[list[_Told], Field(max_length=100)])


@dataclass(frozen=True)
class OwnRecipe(Recipe):
    """A recipe of a bundle: what it told of itself, and nothing that could be called."""

    told_parameters: tuple[Parameter, ...] = ()
    told_documentation: str = ""

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters as they were told."""
        return self.told_parameters

    @cached_property
    def documentation(self) -> str:
        """The documentation as it was told."""
        return self.told_documentation

    @cached_property
    def summary(self) -> str:
        """First line of the documentation."""
        return self.told_documentation.split("\n", 1)[0].strip()[:200]


def find_recipe_of(name: str, code: str, context: Context) -> Recipe:
    """Return the recipe of that name as the user's shipped code has it; of the standard code where `code` is "".

    Raises
    ------
    UsageError
        There is none, or the bundle cannot be asked; the reason is told.
    """
    bundle = bundle_to_run(code, context)
    if bundle is None or not changes_recipes(bundle):
        return find_recipe(name)
    describe(bundle)
    if bundle.description_problem:
        raise UsageError(bundle.description_problem, hint="run `python -m recipes list` in a checkout with your files")
    by_name = recipes_of(bundle)
    if not by_name:  # this portal has no sandbox to ask the bundle in
        return find_recipe(name)
    if name not in by_name:
        raise UsageError(f"your code has no recipe {name[:40]!r}", hint=f"its recipes are: {', '.join(by_name)}")
    return by_name[name]


def changes_recipes(bundle: CodeBundle) -> bool:
    """Whether a bundle has recipes of its own: modules right below ``recipes/``, or what these are made with."""
    return any(
        entry["path"].startswith("recipes/") and entry["path"].endswith(".py") and entry["change"] != "same"
        for entry in bundle.contents
    )


def recipes_of(bundle: CodeBundle) -> dict[str, Recipe]:
    """Return the recipes that a bundle told by name."""
    return {told.name: _recipe(told) for told in _ALL_TOLD.validate_python(bundle.description)}


def describe(bundle: CodeBundle) -> None:
    """Ask a bundle for its recipes in the sandbox, once, and keep what it tells, or why it cannot be asked."""
    if bundle.description or bundle.description_problem:
        return
    told, problem = _ask(bundle)
    if told is None and not problem:
        return  # no sandbox here: asked again when there is one
    bundle.description, bundle.description_problem = told or [], problem
    bundle.save(update_fields=["description", "description_problem"])


def _ask(bundle: CodeBundle) -> tuple[list[dict[str, Any]] | None, str]:
    """Return what the bundle tells, or the problem; neither where there is no sandbox."""
    try:
        packed = Store(settings.DATA_ROOT).path(bundle.digest)
        asked = subprocess.run(
            [sys.executable, "-m", "processing_units.cluster_manager.describe", str(packed)],
            cwd=settings.BASE_DIR,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, DataServerError, subprocess.TimeoutExpired) as error:
        log.warning("the bundle %s could not be asked for its recipes: %s", bundle.digest, error)
        return None, ""
    said = asked.stderr.decode(errors="replace").strip().splitlines()
    reason = "".join(letter for letter in (said[-1] if said else "it said nothing") if letter.isprintable())
    if asked.returncode == _NO_SANDBOX:
        log.warning("no sandbox works here, so bundles cannot be asked for their recipes: %s", reason)
        return None, ""
    if asked.returncode:
        return None, f"your code cannot be loaded: {reason}"[:_LONGEST_REASON]
    try:
        return [told.model_dump(mode="json") for told in _ALL_TOLD.validate_json(asked.stdout)], ""
    except (ValidationError, ValueError, RecursionError) as error:
        what = first_fault(error) if isinstance(error, ValidationError) else "it is not JSON"
        printable = "".join(letter for letter in what if letter.isprintable())
        return None, f"what your code tells of its recipes is wrong at {printable}"[:_LONGEST_REASON]


def _recipe(told: _Told) -> OwnRecipe:
    standard = all_recipes().get(told.name)
    parameters = tuple(_parameter(parameter) for parameter in told.parameters)
    names = {parameter.name for parameter in parameters}
    # What the portal itself has to decide over all jobs of a run it decides as for the standard recipe of that name.
    alike = standard is not None and {parameter.name for parameter in standard.parameters} <= names
    return OwnRecipe(
        name=told.name,
        version=told.version,
        function=_not_here,
        inputs=tuple(Input(**{**entry.model_dump(), "kinds": tuple(entry.kinds)}) for entry in told.inputs),
        outputs=tuple(told.outputs),
        split_by=tuple(told.split_by),
        runs_on=told.runs_on,
        needs_any_of=tuple(told.needs_any_of),
        settle=standard.settle if standard is not None and alike else None,
        choose_in_run=standard.choose_in_run if standard is not None and alike else None,
        told_parameters=parameters,
        told_documentation=told.documentation,
    )


def _parameter(told: _Parameter) -> Parameter:
    choices: tuple[Scalar, ...] = tuple(told.choices)
    return Parameter(
        told.name, told.type, told.default, told.unit, told.minimum, told.maximum, choices, told.description
    )


def _not_here(*_: object, **__: object) -> None:
    raise AssertionError("shipped code is never called by the portal")
