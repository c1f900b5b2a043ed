"""The benches of units run through to their end on a few jobs: what they measure is nothing here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from awportal.tokens import make_token
from tests.bench.recipes.table import BenchTable
from tests.bench.units.measurements import idle_unit, no_op_jobs, sent_code
from tests.bench.units.simulation import simulate, tell
from tests.bench.units.unit_under_test import Portal, UnitUnderTest, make_biases
from tests.processing_units.frontend.conftest import Redis, environment, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def portal(
    settings: Any, redis: Redis, live_data_server: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Portal:
    """A portal of the test's own process, with a user who ships code."""
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    url = request.getfixturevalue("live_server").url  # looks for the folder when it starts
    settings.BASE_URL, settings.DATA_URL = url, live_data_server
    token = make_token(make_user("ann", user_type=3), "bench")[1]
    return Portal(tmp_path, url, token, environment(AWPORTAL_DATA_URL=live_data_server))


def test_the_benches_of_units_run_through(portal: Portal, tmp_path: Path) -> None:
    table = BenchTable("a few jobs")
    unit = UnitUnderTest(portal, "bench", workers=2)
    try:
        no_op_jobs(table, unit, "ann", jobs=4, slots=2, a_core=0.0, submit_of=2)
        idle_unit(table, unit, "ann", runs=2)
        unit.stop_cluster_managers()
        sent_code(table, portal, tmp_path / "tree", files=3)
        unit.submit(make_biases("ann", 20))
        outcome = simulate(unit, slots=4, slots_a_node=2, seconds=0.5, job_seconds=(0.05, 0.1))
        tell(table, outcome)
    finally:
        unit.stop()
    assert 0.0 < outcome.busy <= 1.0
    assert outcome.taken_away == 0
    table.show()
