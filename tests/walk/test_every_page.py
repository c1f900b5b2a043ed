"""Every role through every page, at 1280 and 390 px, in both themes."""

from __future__ import annotations

import pytest

from tests.walk.conftest import Filled
from tests.walk.filling import OWNER, ROLES
from tests.walk.looking import Walker
from tests.walk.places import paths

pytestmark = [pytest.mark.processes, pytest.mark.browser, pytest.mark.timeout(900)]
VISITOR = "visitor"


# The owner first: who shows axe a page first is who it is named after.
@pytest.mark.parametrize("role", [OWNER, VISITOR, *(role for role in ROLES if role != OWNER)])
def test_a_role_walks_through_every_page(walker: Walker, filled: Filled, role: str) -> None:
    walker.faults.clear()
    walker.log_in_as(filled.told["cookie"], filled.told["sessions"].get(role, ""))
    for path in paths(filled.told["places"], thorough=role == OWNER):
        walker.visit(role, path)
    if role == OWNER:
        walker.faults += [f"{path}: {status}" for path, status in walker.statuses.items() if status not in (200, 404)]
    assert walker.faults == []
