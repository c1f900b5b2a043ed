"""The form of a recipe, made from its signature: inputs, parameters, unit, and what was wrong with them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from archive.context import Context, visible
from archive.filter_texts import BadSelection
from archive.models import Privilege, Product, SavedSelection
from archive.queries import Selection, select
from archive.saved_selections import NoSelection, find, parse
from awportal.command_line import parse_ranges
from awportal.environment import Setting, environment_for, settings_of
from awportal.filters import FIELDS, LINKED, Holding, given_filters, holding
from awportal.listing import nights_of, with_pictures
from awportal.parameter_start import SetChoice, overscan_note, read_set
from processing_units.contract import Submission
from processing_units.frontend.environment import privilege_called
from recipes.errors import UsageError
from recipes.recipe import Input, Parameter, Recipe

# The filters that the form has fields for, and those that come with a selection of the archive page.
FILTERS = ("instrument", "night", "filter", "chip", "object")
CARRIED = tuple(name for name in (*FIELDS, *LINKED) if name not in {*FILTERS, "kind"})
SHOWN = 60
# Jobs are counted before any is made; this bounds what one form may ask for.
MAXIMUM_INPUTS = 20_000


@dataclass
class ParameterField:
    """A parameter with what the user wrote, and what is wrong with it."""

    parameter: Parameter
    text: str
    error: str = ""
    environment: str | None = None  # what the user's Environment.cfg says
    in_set: str | None = None  # what the chosen parameter set says
    note: str = ""  # what it comes to on the frames of the chosen instrument

    @property
    def changed(self) -> bool:
        """Whether the text is another than what would hold without it: Environment.cfg's, or else the default."""
        return self.text != (self.default_text if self.environment is None else self.environment)

    @property
    def limits(self) -> str:
        """The limits as a person says them."""
        low, high = self.parameter.minimum, self.parameter.maximum
        if low is not None and high is not None:
            return f"{low:g} to {high:g}"
        return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else ""

    @property
    def choices(self) -> list[tuple[str, bool]]:
        """The allowed values of a choice, with the chosen one marked."""
        values = (
            ["yes", "no"] if self.parameter.type == "bool" else [_as_text(value) for value in self.parameter.choices]
        )
        return [(value, value == self.text) for value in values]

    @property
    def default_text(self) -> str:
        """The default as the form writes it."""
        return _as_text(self.parameter.default)


@dataclass
class RoleField:
    """An input of the recipe: what is chosen, and what the archive has to choose from."""

    input: Input
    chosen: list[Product] = field(default_factory=list)
    matches: list[Product] = field(default_factory=list)
    total: int = 0
    all_chosen: bool = False
    error: str = ""
    kind: str = ""
    kinds_there: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the form's checkboxes."""
        return f"in-{self.input.role}"

    @property
    def words(self) -> str:
        """The role as words."""
        return self.input.role.replace("_", " ")

    @property
    def needed(self) -> str:
        """How many are needed, in words."""
        low, high = self.input.minimum, self.input.maximum
        if high == 1:
            return "one a job" if low else "one a job, optional"
        least = f"at least {low}" if low else "optional, any number"
        return f"{least}, at most {high} a job" if high else (f"{least} a job" if low > 1 else least)

    @property
    def chosen_ids(self) -> set[int]:
        """Numbers of the chosen products."""
        return {product.pk for product in self.chosen}

    @property
    def others(self) -> list[Product]:
        """Chosen products that the list below does not show."""
        shown = {product.pk for product in self.matches}
        return [product for product in self.chosen if product.pk not in shown]


@dataclass
class RecipeForm:
    """All fields of the form."""

    recipe: Recipe
    given: dict[str, str]
    roles: list[RoleField]
    parameters: list[ParameterField]
    unit: str
    privilege: int
    comment: str
    key: str
    plan: str = ""  # fingerprint of the dry run that the page showed
    then: str = ""
    code: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    sets: SetChoice = field(default_factory=SetChoice)
    saved: SavedSelection | None = None
    error: str = ""
    hint: str = ""

    @property
    def settings(self) -> list[Setting]:
        """What comes from Environment.cfg, as the form shows it."""
        return settings_of(self.environment)

    @property
    def carried(self) -> dict[str, str]:
        """Filters that came with a selection and have no field here."""
        return {name: value for name, value in self.given.items() if name in CARRIED}

    @property
    def carried_words(self) -> list[Holding]:
        """The same, in words."""
        return holding(self.carried, self.saved)

    @property
    def primary(self) -> list[RoleField]:
        """Inputs that the user picks."""
        return [role for role in self.roles if role.input.primary]

    @property
    def calibrations(self) -> list[RoleField]:
        """Inputs that the archive picks, unless the user names one."""
        return [role for role in self.roles if not role.input.primary]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong as far as the form can tell."""
        return not (self.error or any(f.error for f in self.parameters) or any(role.error for role in self.roles))

    @property
    def changed_parameters(self) -> dict[str, Any]:
        """The parameters that differ from the recipe's defaults, as a set keeps them."""
        return {f.parameter.name: f.text for f in self.parameters if f.text != f.default_text}

    def submission(self, context: Context) -> Submission:
        """Return the message that the frontend understands."""
        inputs = {role.input.role: self._numbers(role, context) for role in self.roles}
        return Submission(
            recipe=f"{self.recipe.name}>{self.then}" if self.then else self.recipe.name,
            inputs={role: numbers for role, numbers in inputs.items() if numbers},
            parameters={f.parameter.name: f.parameter.parse(f.text) for f in self.parameters if f.changed},
            unit=self.unit or None,
            privilege=self.privilege,
            idempotency_key=self.key,
            plan=self.plan,
            comment=self.comment,
            code=self.code,
            environment=self.environment,
        )

    def _numbers(self, role: RoleField, context: Context) -> list[int]:
        numbers = list(dict.fromkeys(product.pk for product in role.chosen))
        if role.all_chosen:
            matching = select(context, _selection(role.input, self.given, context, role.kind)).order_by(
                "date_obs", "pk"
            )
            numbers += [pk for pk in matching.values_list("pk", flat=True)[:MAXIMUM_INPUTS] if pk not in set(numbers)]
        return numbers


def read_form(recipe: Recipe, data: QueryDict, context: Context) -> RecipeForm:
    """Read the form's fields from a query string or a posted form; what is missing begins with a good default.

    That is what the user's Environment.cfg says, unless the form leaves it out (``environment`` is ``no``).
    """
    code = _text_of(data, "code", 64)
    environment = {} if data.get("environment") == "no" else environment_for(context, code)
    given = _one_night(given_filters(data, FILTERS + CARRIED))
    ids = sorted(parse_ranges(data.getlist("product"), MAXIMUM_INPUTS))
    if not data.keys() - {"set"}:
        given = _newest_night(recipe, context)
    sets = SetChoice() if code else read_set(recipe, data, context)
    form = RecipeForm(
        recipe=recipe,
        given=given,
        roles=[],
        parameters=[_read_parameter(recipe, parameter, data, environment, sets) for parameter in recipe.parameters],
        unit=_text_of(data, "unit", 40) if "unit" in data else environment.get("unit", ""),
        privilege=_privilege(data.get("privilege", ""), context, environment),
        comment=_text_of(data, "comment", 500),
        key=_text_of(data, "key", 100) or uuid.uuid4().hex,
        plan=_text_of(data, "plan", 64),
        then=_text_of(data, "then", 200).replace(" ", ""),
        code=code,
        environment=environment,
        sets=sets,
        saved=_saved(given, context),
    )
    form.roles = [_read_role(entry, data, ids, form, context) for entry in recipe.inputs]
    frames = [frame for role in form.primary for frame in role.chosen or role.matches]
    for read in form.parameters:
        if read.parameter.name == "overscan_correction":
            read.note = overscan_note(read.text, frames)
    return form


def _text_of(data: QueryDict, name: str, longest: int) -> str:
    """Return a field's text; no database holds a NUL, and no browser sends one but by malice."""
    return data.get(name, "").replace("\0", "")[:longest]


def _saved(given: dict[str, str], context: Context) -> SavedSelection | None:
    """Return the saved selection that is named; one that may not be opened is refused where it is asked."""
    try:
        return find(context, given["selection"]) if "selection" in given else None
    except NoSelection:
        return None


def _one_night(given: dict[str, str]) -> dict[str, str]:
    """Return the filters with a range of one night as that night, for which the form has a field."""
    if given.get("night_from") and given["night_from"] == given.get("night_to"):
        return {name: value for name, value in given.items() if name not in {"night_from", "night_to"}} | {
            "night": given["night_from"]
        }
    return given


def check_inputs(form: RecipeForm) -> None:
    """Mark the primary inputs of which nothing is chosen."""
    for role in form.primary:
        if role.input.minimum and not role.chosen and not (role.all_chosen and role.total):
            role.error = f"choose {role.needed}: tick frames below, or all that match"


def _read_role(entry: Input, data: QueryDict, ids: list[int], form: RecipeForm, context: Context) -> RoleField:
    role = RoleField(entry)
    wanted = parse_ranges(data.getlist(role.name), MAXIMUM_INPUTS) | set(ids)
    if wanted:
        role.chosen = with_pictures(
            list(
                visible(context)
                .filter(pk__in=sorted(wanted)[:MAXIMUM_INPUTS], kind__in=entry.kinds)
                .order_by("date_obs", "pk")
            )
        )
    # Who comes with a saved selection means all of it; once the form is sent its own box says so.
    whole = data.get("all") or (data.get("selection") and "key" not in data)
    role.all_chosen = bool(data.get(f"all-{entry.role}") or (whole and entry.primary))
    try:
        if entry.primary and len(entry.kinds) > 1:
            role.kinds_there = _kinds_there(entry, form.given, context)
            # The kind that the recipe names first is the usual one: biases before the darks that may stand in for them.
            asked = data.get(f"kind-{entry.role}") or data.get("kind", "")
            role.kind = asked if asked in role.kinds_there else next(iter(role.kinds_there), "")
        selection = _selection(entry, form.given, context, role.kind)
    except BadSelection as refused:
        form.error = str(refused)
        return role
    matching = select(context, selection).defer("parameters")
    role.matches = with_pictures(list(matching[:SHOWN]))
    role.total = len(role.matches) if len(role.matches) < SHOWN else matching.order_by()[: MAXIMUM_INPUTS + 1].count()
    return role


def _kinds_there(entry: Input, given: dict[str, str], context: Context) -> list[str]:
    """Return the input's kinds, in its order, of which the archive has any with these properties."""
    matching = select(context, _selection(entry, given, context)).order_by()
    there = set(matching.values_list("kind", flat=True).distinct())
    return [kind for kind in entry.kinds if kind in there]


def _selection(entry: Input, given: dict[str, str], context: Context, kind: str = "") -> Selection:
    """Return what the archive offers for an input; a calibration of another night and object may serve as well."""
    if entry.primary:
        return parse(context, {**given, "kind": kind or ",".join(entry.kinds)})
    kept = {name: value for name, value in given.items() if name in {"instrument", "chip"}}
    return Selection.parse({**kept, "kind": ",".join(entry.kinds), "order": "-created"})


def _newest_night(recipe: Recipe, context: Context) -> dict[str, str]:
    kinds = tuple(kind for entry in recipe.primary_inputs for kind in entry.kinds)
    found = nights_of(context, kinds)
    return {"instrument": found[0], "night": found[1].isoformat()} if found else {}


def _read_parameter(
    recipe: Recipe, parameter: Parameter, data: QueryDict, environment: dict[str, str], sets: SetChoice
) -> ParameterField:
    known = {name.lower(): value for name, value in environment.items()}
    own = _normal(parameter, known.get(f"{recipe.name}.{parameter.name}".lower()))
    start = _as_text(parameter.default) if own is None else own
    in_set = _as_text(sets.entries[parameter.name]) if parameter.name in sets.entries else None
    if sets.fills_in:
        text = start if in_set is None else in_set
    else:
        text = data.get(f"p-{parameter.name}", start).strip()[:200]
    read = ParameterField(parameter, text, environment=own, in_set=in_set)
    try:
        parameter.parse(text)
    except UsageError as refused:
        read.error = refused.message.removeprefix(f"{parameter.name}: ")
    return read


def _normal(parameter: Parameter, text: str | None) -> str | None:
    """Return a value of Environment.cfg as the form writes it; what cannot be is left for the form to refuse."""
    try:
        return None if text is None else _as_text(parameter.parse(text))
    except UsageError:
        return text


def _privilege(text: str, context: Context, environment: dict[str, str]) -> int:
    if text in {str(level.value) for level in Privilege}:
        return int(text)
    said = environment.get("privilege", "")
    return privilege_called(said) or int(context.privilege)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
