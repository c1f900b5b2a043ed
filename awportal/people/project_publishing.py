"""A project's products of one kind go up a level together: what goes, and what stays because it is in doubt."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from archive.context import Context, visible
from archive.models import Privilege, Product, Project, Validity
from awportal.people.projects import may_manage
from processing_units.frontend.publishing import MOST_AT_ONCE, publish
from processing_units.frontend.refusals import NotAllowed
from recipes.errors import UsageError
from recipes.kinds import KINDS

_FIRST_SHOWN = 10
_SEEN_BY = {
    Privilege.PROJECT: "the project's members",
    Privilege.ALL_USERS: "all users",
    Privilege.WORLD: "the world",
    Privilege.VO: "the Virtual Observatory",
}


@dataclass(frozen=True)
class Rising:
    """Products of a kind that can go from a level to the next; ``up_to`` is the newest of them, by number."""

    kind: str
    level: Privilege
    numbers: list[int]
    first: list[Product]
    left_out: int

    @property
    def next_level(self) -> Privilege:
        """The level to which they go."""
        return Privilege(self.level + 1)

    @property
    def seen_by(self) -> str:
        """Who sees them now."""
        return _SEEN_BY[self.level]

    @property
    def seen_by_then(self) -> str:
        """Who sees them afterwards."""
        return _SEEN_BY[self.next_level]

    @property
    def up_to(self) -> int:
        """The last of them: what comes in while somebody looks is not published unseen."""
        return self.numbers[-1] if self.numbers else 0

    @property
    def is_cut(self) -> bool:
        """Whether there may be more than go at a time."""
        return len(self.numbers) == MOST_AT_ONCE

    @property
    def more(self) -> int:
        """How many go beside those that are named."""
        return len(self.numbers) - len(self.first)


def rising(project: Project, kind: str, level: str, context: Context, up_to: int | None = None) -> Rising:
    """Return the products of a project and kind that can go from a level to the next.

    What is flagged goes when somebody called it good; what was called bad, or rests on such, never does.

    Raises
    ------
    NotAllowed
        Only the project's managers and administrators publish it.
    UsageError
        There is no such kind, or nothing goes up from that level.
    """
    if not may_manage(project, context):
        raise NotAllowed(f"only a manager of {project} or an administrator publishes it", hint="ask one")
    if kind not in KINDS or level not in {"2", "3", "4"}:
        raise UsageError("there is no such kind, or no level above", hint="begin at the table of the project's page")
    there = visible(context).filter(project=project, kind=kind, privilege=int(level))
    if up_to is not None:
        there = there.filter(pk__lte=up_to)
    sound = Q(quality_flags=0, is_valid=Validity.PROPOSED) | Q(is_valid=Validity.GOOD)
    good = there.filter(sound, stale_because__isnull=True).order_by("pk")
    numbers = list(good.values_list("pk", flat=True)[:MOST_AT_ONCE])
    return Rising(kind, Privilege(int(level)), numbers, list(good[:_FIRST_SHOWN]), there.count() - good.count())


def publish_rising(wanted: Rising, context: Context) -> int:
    """Let them go up, all or none; return how many did."""
    return publish(wanted.numbers, wanted.next_level, context)
