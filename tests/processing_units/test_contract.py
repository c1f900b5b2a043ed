"""What crosses the wire is checked at its edge."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from processing_units.contract import ALLOWED_CHANGES, JobState, Submission


@pytest.mark.parametrize(
    "hostile",
    [
        {"recipe": "Bi\0as"},
        {"inputs": {"raw_bias\0": [1]}},
        {"comment": "a\0b"},
        {"idempotency_key": "\0"},
        {"unit": "lo\0cal"},
        {"parameters": {"sigma\0": 3}},
        {"unheard_of": 1},
        {"privilege": 6},
        {"comment": "x" * 501},
    ],
)
def test_a_strange_submission_is_refused(hostile: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Submission.model_validate({"recipe": "Bias", "inputs": {"": [1]}, **hostile})


def test_no_state_goes_back_from_an_end() -> None:
    ends = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}
    assert not [change for change in ALLOWED_CHANGES if change[0] in ends]
