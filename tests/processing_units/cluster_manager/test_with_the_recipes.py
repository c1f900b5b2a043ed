"""The cluster manager with the real fork server: what the recipes say arrives as they said it."""

import sys

import pytest

pytestmark = pytest.mark.processes


def test_what_the_real_recipes_refuse_is_told_as_they_told_it(unit, start_worker, done):
    raw = unit.add_file("bias.fits", b"this is no FITS file")
    start_worker("--python", sys.executable)
    unknown = done(unit.submit(inputs=[raw]), "failed", 30)
    [failure] = unknown.failures
    assert failure.fault == "usage"
    assert "Fake" in failure.message
    assert "failed: " in unknown.log
