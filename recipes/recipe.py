"""A recipe's declaration, and what is read from its signature: inputs, parameters, schema, help.

A recipe is one pure function and one :class:`Recipe` beside it. Inputs are positional, parameters keyword-only with a
unit; form, command-line option, JSON schema and documentation are all made from that one signature.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, get_args, get_origin

from recipes.errors import UsageError
from recipes.kinds import KINDS

Scalar = float | int | bool | str


@dataclass(frozen=True)
class Unit:
    """Unit of a parameter: ``Annotated[float, Unit("sigma")]``."""

    name: str


@dataclass(frozen=True)
class Bounds:
    """Closed interval a parameter lies in: ``Annotated[int, Bounds(1, 50)]``."""

    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class Input:
    """One input of a recipe, by its role: the name of the function's positional argument.

    Parameters
    ----------
    role : str
        Name of the argument.
    kinds : tuple of str
        Kinds of product that may fill it.
    minimum, maximum : int or None
        How many; ``minimum`` 0 makes it optional, ``maximum`` None means any number (the argument is a sequence
        unless ``maximum`` is 1).
    primary : bool
        A primary input is picked by the user, and jobs are split along it; the others are chosen by the archive
        among the valid calibrations, unless the user names one.
    preferred : bool
        Only for optional inputs: the product says "made without" when it is missing.
    chosen_by : {"validity", "sky", "job", "run"}
        How one that is not primary is chosen where the user names none: a calibration by its validity; a reference
        catalogue by the sky that it covers; what belongs to the primary input, like its weight, as made by the same
        job; or another primary input of the same run, by the recipe's ``choose_in_run``.
    use : {"", "astrometry", "photometry"}
        What a catalogue that is chosen by the sky is wanted for.
    """

    role: str
    kinds: tuple[str, ...]
    minimum: int = 1
    maximum: int | None = 1
    primary: bool = False
    preferred: bool = True
    chosen_by: Literal["validity", "sky", "job", "run"] = "validity"
    use: Literal["", "astrometry", "photometry"] = ""

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"input {self.role!r}: no such kind of product: {', '.join(unknown)}")

    @property
    def many(self) -> bool:
        """Whether the function takes a sequence here."""
        return self.maximum != 1


@dataclass(frozen=True)
class Parameter:
    """One parameter of a recipe, as its signature and docstring give it."""

    name: str
    type: Literal["float", "int", "bool", "str", "choice"]
    default: Scalar
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Scalar, ...] = ()
    description: str = ""

    def parse(self, value: Any) -> Scalar:
        """Return `value` (a form's or command line's text, or JSON) in this parameter's type, or raise UsageError."""
        try:
            parsed = self._convert(value)
        except (TypeError, ValueError):
            raise UsageError(f"{self.name}: {value!r} is not {self._expected()}") from None
        if self.choices and parsed not in self.choices:
            raise UsageError(f"{self.name}: {value!r} is not {self._expected()}")
        too_low = self.minimum is not None and not parsed >= self.minimum  # type: ignore[operator]
        too_high = self.maximum is not None and not parsed <= self.maximum  # type: ignore[operator]
        if too_low or too_high:
            raise UsageError(f"{self.name}: {value!r} is not {self._expected()}")
        return parsed

    def _convert(self, value: Any) -> Scalar:
        if self.type == "choice":
            return type(self.choices[0])(value)
        if self.type == "bool":
            return _parse_bool(value)
        if self.type == "str":
            return str(value)
        if isinstance(value, bool):
            raise ValueError
        if self.type == "int":
            as_float = float(value)
            if as_float != int(as_float):
                raise ValueError
            return int(as_float)
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number

    def _expected(self) -> str:
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        text = {"float": "a number", "int": "a whole number", "bool": "yes or no", "str": "a text"}[self.type]
        if self.minimum is not None and self.maximum is not None:
            return f"{text} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{text} of at least {self.minimum:g}"
        if self.maximum is not None:
            return f"{text} of at most {self.maximum:g}"
        return text


def _parse_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ValueError


@dataclass(frozen=True)
class Recipe:
    """Declaration of a recipe.

    Parameters
    ----------
    name : str
        Astro-WISE's name, as users type it.
    version : str
        Changes whenever the same inputs and parameters could give other bytes.
    function : callable
        The pure function; its docstring (numpydoc) is the documentation.
    inputs : tuple of Input
        In the order of the positional arguments.
    outputs : tuple of str
        Kinds of product that it returns.
    split_by : tuple of str
        The attributes that the primary inputs of one job share (``chip``, ``filter``, ...); ``product`` means one
        job for each primary input.
    runs_on : {"cluster", "node"}
        Where it runs best: many small jobs, or one large one.
    needs_any_of : tuple of str
        Optional roles of which at least one must be filled.
    settle : callable, optional
        Given the parameters and the attributes of all primary inputs of a run, returns the parameters with those
        settled that must be the same for all its jobs (the grid of the sky). A pure function.
    choose_in_run : callable, optional
        Given the attributes of all primary inputs of a run, returns for each the place in that list of the one that
        fills the role ``chosen_by="run"``, or None. A pure function.
    """

    name: str
    version: str
    function: Callable[..., Any]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    split_by: tuple[str, ...]
    runs_on: Literal["cluster", "node"] = "cluster"
    needs_any_of: tuple[str, ...] = ()
    settle: Callable[[dict[str, Any], Sequence[Mapping[str, Any]]], dict[str, Any]] | None = None
    choose_in_run: Callable[[Sequence[Mapping[str, Any]]], list[int | None]] | None = None
    auxiliary: bool = field(default=False)

    @cached_property
    def summary(self) -> str:
        """First line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0].strip()

    @cached_property
    def documentation(self) -> str:
        """The function's docstring, unindented."""
        return inspect.getdoc(self.function) or ""

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The keyword-only arguments, in the order of the signature."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        descriptions = _described_parameters(self.documentation)
        return tuple(
            _parameter(name, hints[name], argument.default, descriptions.get(name, ""))
            for name, argument in inspect.signature(self.function).parameters.items()
            if argument.kind is inspect.Parameter.KEYWORD_ONLY
        )

    def input(self, role: str) -> Input:
        """Return the input of that role, or raise UsageError."""
        for candidate in self.inputs:
            if candidate.role == role:
                return candidate
        roles = ", ".join(candidate.role for candidate in self.inputs)
        raise UsageError(f"{self.name} has no input {role!r}", hint=f"its inputs are: {roles}")

    @property
    def primary_inputs(self) -> tuple[Input, ...]:
        """The inputs that a user picks and along which jobs are split."""
        return tuple(candidate for candidate in self.inputs if candidate.primary)

    def parse_parameters(self, given: dict[str, Any]) -> dict[str, Scalar]:
        """Return all parameters, those given checked, the rest by default; raise UsageError naming the wrong one."""
        known = {parameter.name: parameter for parameter in self.parameters}
        unknown = sorted(set(given) - set(known))
        if unknown:
            names = ", ".join(known) or "none"
            raise UsageError(f"{self.name} has no parameter {unknown[0]!r}", hint=f"its parameters are: {names}")
        return {
            name: parameter.parse(given[name]) if name in given else parameter.default
            for name, parameter in known.items()
        }

    def told(self) -> dict[str, Any]:
        """Return all that a form or a command line needs of the recipe, as JSON takes it."""
        return {
            "name": self.name,
            "version": self.version,
            "documentation": self.documentation,
            "inputs": [asdict(entry) for entry in self.inputs],
            "outputs": list(self.outputs),
            "split_by": list(self.split_by),
            "runs_on": self.runs_on,
            "needs_any_of": list(self.needs_any_of),
            "parameters": [asdict(parameter) for parameter in self.parameters],
        }

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the parameters."""
        properties: dict[str, Any] = {}
        for parameter in self.parameters:
            kind = {"float": "number", "int": "integer", "bool": "boolean", "str": "string"}.get(parameter.type)
            entry: dict[str, Any] = {"default": parameter.default, "description": parameter.description}
            if kind:
                entry["type"] = kind
            if parameter.choices:
                entry["enum"] = list(parameter.choices)
            if parameter.unit:
                entry["unit"] = parameter.unit
            if parameter.minimum is not None:
                entry["minimum"] = parameter.minimum
            if parameter.maximum is not None:
                entry["maximum"] = parameter.maximum
            properties[parameter.name] = entry
        return {"type": "object", "properties": properties, "additionalProperties": False}


def _parameter(name: str, hint: Any, default: Any, description: str) -> Parameter:
    if default is inspect.Parameter.empty:
        raise TypeError(f"parameter {name!r} has no default")
    unit, bounds = "", Bounds()
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        unit = next((mark.name for mark in marks if isinstance(mark, Unit)), "")
        bounds = next((mark for mark in marks if isinstance(mark, Bounds)), bounds)
    if get_origin(hint) is Literal:
        return Parameter(name, "choice", default, unit, choices=get_args(hint), description=description)
    kind = {float: "float", int: "int", bool: "bool", str: "str"}.get(hint)
    if kind is None:
        raise TypeError(f"parameter {name!r}: a parameter is a float, int, bool, str or Literal, not {hint!r}")
    return Parameter(name, kind, default, unit, bounds.minimum, bounds.maximum, (), description)  # type: ignore[arg-type]


def _described_parameters(docstring: str) -> dict[str, str]:
    """Return name -> text of the numpydoc section ``Parameters``."""
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    lines = docstring.splitlines()
    inside = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following.startswith("---"):
            inside = line.strip() == "Parameters"
            continue
        if not inside or line.startswith("---"):
            continue
        if line and not line[0].isspace():
            names = [name.strip() for name in line.split(":", 1)[0].split(",")]
            texts.update({name: [] for name in names})
        elif line.strip():
            for name in names:
                texts[name].append(line.strip())
    return {name: " ".join(parts) for name, parts in texts.items()}
