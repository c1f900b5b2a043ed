"""Oracle compares no LOBs, as which it keeps JSON and long texts: rows that hold any are asked for without DISTINCT."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from archive.context import Context
from archive.models import Product
from awportal.api.runs import list_runs
from awportal.product_page import lists_on
from processing_units.frontend.cancel import cancel_on_unit
from processing_units.frontend.chains import continue_chains
from processing_units.frontend.models import ProcessingUnit
from tests.processing_units.frontend.conftest import submitted

LOBS = ("attributes", "parameters", "submission", "directions", "differences", "description", "kind_settings")


@pytest.mark.django_db
def test_rows_with_lobs_are_told_apart_otherwise(context: Context, unit: ProcessingUnit, user: User) -> None:
    run = submitted(context, jobs=2)
    request = RequestFactory().get("/api/v1/runs")
    request.auth = user
    with CaptureQueriesContext(connection) as asked:
        listed = list_runs(request, offset=0, limit=50, open=True)
        assert [entry.id for entry in listed.items] == [run.pk], "a run with two open jobs is listed once"
        continue_chains([run.pk])
        lists_on(Product(pk=1), context)
        user.is_staff = True
        assert cancel_on_unit(unit, Context(user)).runs == 1
    wrong = [sql["sql"] for sql in asked if "DISTINCT" in sql["sql"] and any(f'"{lob}"' in sql["sql"] for lob in LOBS)]
    assert wrong == []
