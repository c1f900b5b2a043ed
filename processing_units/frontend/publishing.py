"""Publishing: products rise from MyDB to the project, all users, the world; what rests on code nobody accepted stays.

Levels only go up, one step after the other, and each step is kept with who took it (``archive.audit``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from archive.audit import Subject, Told, changes_of, record_all
from archive.context import Context, visible, why_not_raise
from archive.facets import note
from archive.models import Change, Privilege, Product, Project
from archive.queries import codes_behind
from processing_units.frontend.bundles import is_accepted
from processing_units.frontend.models import CodeBundle, Run
from processing_units.frontend.refusals import NotAllowed, NotFound, TooLate
from recipes.errors import UsageError

MOST_AT_ONCE = 5000
PRIVILEGE = "privilege"  # what the log calls a step; its values are the levels
_BATCH = 500


@dataclass(frozen=True)
class Unaccepted:
    """A user's code that no project manager has accepted."""

    owner: str
    owner_id: int
    digest: str

    def __str__(self) -> str:
        return f"the code {self.digest[:12]} of {self.owner}, which no project manager has accepted"


def unaccepted_code(numbers: Iterable[int]) -> list[Unaccepted]:
    """Return the code that keeps these products in MyDB: what made them, or anything that they were made from."""
    held = sorted((owner, digest) for owner, digest in codes_behind(numbers) if not is_accepted(digest, owner))
    names = dict(User.objects.filter(pk__in={owner for owner, _ in held}).values_list("pk", "username"))
    return [Unaccepted(names.get(owner, "?"), owner, digest) for owner, digest in held]


def results_context(run: Run, inputs: Iterable[int]) -> Context:
    """Return the context in which what a job of `run` made of these products enters the archive.

    It is the run's, but for what rests on code that nobody accepted: that goes to MyDB, whatever the run asked.
    """
    level = run.privilege
    if level > Privilege.MYDB and unaccepted_code(inputs):
        level = Privilege.MYDB
    return Context(run.user, run.project, level)


def told_beforehand(inputs: Iterable[int], results: Context) -> str:
    """Return what a plan says of results that will stay in MyDB though more was asked for, or "".

    Who has no code that waits for acceptance is not looked at further: nobody else's unaccepted results can be seen.
    """
    waiting = CodeBundle.objects.filter(owner=results.user, accepted_at__isnull=True)
    if results.privilege == Privilege.MYDB or not waiting.exists():
        return ""
    codes = unaccepted_code(inputs)
    return f"results of some jobs stay in MyDB: inputs were made with {codes[0]}" if codes else ""


def open_levels(product: Product, context: Context) -> list[Privilege]:
    """Return the levels to which this context may raise a product, as far as its rights go."""
    user = context.user
    if user is None:
        return []
    projects = [product.project] if product.project else [*Project.objects.filter(memberships__user=user), None]
    higher = [level for level in Privilege if level > product.privilege]
    return [
        level for level in higher if any(not why_not_raise(context, product, level, project) for project in projects)
    ]


def publish(numbers: Iterable[int], privilege: int, context: Context, project: str = "") -> int:
    """Raise products to a privilege level, all of them or none; return how many were below it.

    Parameters
    ----------
    numbers : iterable of int
        The products.
    privilege : int
        2 (project) to 5 (VO). The levels between are passed through, each with its own right and its line in the log.
    context : Context
        Who publishes.
    project : str, optional
        The project to which products without one belong from now on; else that of the context.

    Raises
    ------
    NotFound
        A product that is not there, or may not be seen.
    NotAllowed
        The user may not do this, or the products rest on code that no project manager has accepted.
    UsageError
        There is no such level, or there are too many products.
    TooLate
        Somebody else published one of them at this moment.
    """
    if context.user is None or not context.user.is_active:
        raise NotAllowed("visitors publish nothing", hint="log in")
    if privilege not in Privilege.values or privilege == Privilege.MYDB:
        raise UsageError(
            f"{privilege} is no level to publish to",
            hint="2 project, 3 all users, 4 world, 5 Virtual Observatory; levels only go up",
        )
    wanted = sorted(set(numbers))
    if len(wanted) > MOST_AT_ONCE:
        raise UsageError(f"{len(wanted)} products are more than {MOST_AT_ONCE}", hint="publish them in parts")
    rising = [product for product in _found(wanted, context) if product.privilege < privilege]
    named = _project(project) if project else None
    steps = {product.pk: _steps(product, privilege, context, named) for product in rising}
    codes = unaccepted_code(steps)
    if codes:
        raise NotAllowed(
            f"{_named(rising)} cannot be published: made with {codes[0]}",
            hint=f"a manager of a project that {codes[0].owner} is in can read and accept it, on the page of the code",
        )
    _write(rising, steps, privilege, context.user)
    return len(rising)


def publish_run(run: Run, privilege: int, context: Context, project: str = "") -> int:
    """Raise all products of a run that this context sees, all of them or none; as :func:`publish` does."""
    made = visible(context).filter(made_by_run=run.pk).values_list("pk", flat=True)
    return publish(made, privilege, context, project)


def _found(wanted: list[int], context: Context) -> list[Product]:
    found: dict[int, Product] = {}
    for begin in range(0, len(wanted), _BATCH):
        found |= visible(context).select_related("project").defer("parameters").in_bulk(wanted[begin : begin + _BATCH])
    missing = next((number for number in wanted if number not in found), None)
    if missing is not None:
        raise NotFound(
            f"there is no product {missing}, or none that you may see", hint="`awrecipe products` lists them"
        )
    return [found[number] for number in wanted]


def _project(name: str) -> Project:
    """Return the project of that name; whether the user is in it is for the steps to say."""
    project = Project.objects.filter(name=name).first()
    if project is None:
        raise NotAllowed(f"you are in no project {name[:40]}", hint="`awrecipe whoami --json` lists yours")
    return project


def _steps(product: Product, privilege: int, context: Context, named: Project | None) -> list[Told]:
    """Return the steps of one product, or raise NotAllowed at the first that its user may not take."""
    what = f"{product.name} ({product.pk})"
    if named and product.project and named != product.project:
        raise NotAllowed(f"{what} belongs to project {product.project}", hint="a product's project stays: name none")
    project = product.project or named or context.project
    steps: list[Told] = []
    before = product.privilege
    for level in range(before + 1, privilege + 1):
        if level == Privilege.PROJECT and project is None and privilege > level:
            continue  # what belongs to no project can be for all users
        why_not = why_not_raise(context, product, level, project)
        if why_not:
            raise NotAllowed(f"{what}: {why_not}", hint="ask who may, or choose a lower level")
        steps.append(Told(Subject.PRODUCT, product.pk, product.name, PRIVILEGE, str(before), str(level), project))
        before = level
    return steps


def _write(rising: list[Product], steps: dict[int, list[Told]], privilege: int, user: User) -> None:
    alike: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    for product in rising:
        alike[product.privilege, _number_of(steps[product.pk][-1].project)].append(product.pk)
    with transaction.atomic():
        for (before, project), numbers in alike.items():
            for begin in range(0, len(numbers), _BATCH):
                some = numbers[begin : begin + _BATCH]
                changed = Product.objects.filter(pk__in=some, privilege=before).update(
                    privilege=privilege, project=project
                )
                if changed < len(some):
                    raise TooLate("somebody else published one of these at this moment", hint="look, then try again")
        record_all(user, (step for own in steps.values() for step in own))
        for begin in range(0, len(rising), _BATCH):
            note(Product.objects.filter(pk__in=[product.pk for product in rising[begin : begin + _BATCH]]))


def publications_of(product: Product) -> QuerySet[Change]:
    """Return the steps up of who sees a product, oldest first: levels before and after, and the project."""
    return changes_of(Subject.PRODUCT, product.pk).filter(what=PRIVILEGE).select_related("project")


def _number_of(project: Project | None) -> int | None:
    return project.pk if project else None


def _named(products: list[Product]) -> str:
    first = products[0]
    return f"{first.name} ({first.pk})" + (f" and {len(products) - 1} more" if len(products) > 1 else "")
