"""Every role through every page, at 1280 and 390 px, in both themes."""

from __future__ import annotations

import pytest

from tests.walk.conftest import Filled
from tests.walk.filling import OWNER, ROLES
from tests.walk.looking import Walker
from tests.walk.places import paths

pytestmark = [pytest.mark.processes, pytest.mark.browser, pytest.mark.timeout(900)]
VISITOR = "visitor"
REFUSED = {"/nowhere/", "/archive/?kind=Nothing"}


# The owner first: who shows axe a page first is who it is named after.
@pytest.mark.parametrize("role", [OWNER, VISITOR, *(role for role in ROLES if role != OWNER)])
def test_a_role_walks_through_every_page(walker: Walker, filled: Filled, role: str) -> None:
    walker.faults.clear()
    walker.log_in_as(filled.told["cookie"], filled.told["sessions"].get(role, ""))
    for path in paths(filled.told["places"], thorough=role == OWNER):
        walker.visit(role, path)
    if role == OWNER:  # who sees all that there is, but for what managers do
        assert {status for path, status in walker.statuses.items() if path not in REFUSED} <= {200, 403}
    assert not walker.faults, "\n".join(walker.faults)
