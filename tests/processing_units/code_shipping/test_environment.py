"""Environment.cfg: what travels, what overrules it, and what stays at home."""

from __future__ import annotations

import pytest

from processing_units.code_shipping.environment import read_environment
from processing_units.code_shipping.rules import BundleError

FILE = """
; as Astro-WISE writes it
[global]
database_user : AWANNA
database_password : secret
project : KIDS
privileges : 2
[Bias]
sigma_clip = 4.5
"""


def test_the_file_gives_context_and_parameters() -> None:
    read = read_environment(FILE)
    assert read.entries == {"project": "KIDS", "privilege": "2", "Bias.sigma_clip": "4.5"}


def test_a_password_never_travels_and_what_is_passed_over_is_named() -> None:
    read = read_environment(FILE + "[Bias2]\nmy_password = x\n")
    assert "secret" not in str(read)
    assert read.passed_over == ("[global] database_user", "[global] database_password", "[Bias2] my_password")


def test_variables_overrule_the_file() -> None:
    variables = {"AWE_PROJECT": "OMEGA", "AWE_BIAS_SIGMA_CLIP": "2", "AWE_DARK_SIGMA_CLIP": "9", "HOME": "/x"}
    read = read_environment(FILE, variables, {"Bias": ["sigma_clip", "other"]})
    assert read.entries["project"] == "OMEGA"
    assert read.entries["Bias.sigma_clip"] == "2"
    assert "Dark.sigma_clip" not in read.entries
    assert read.overruled == ("AWE_PROJECT", "AWE_BIAS_SIGMA_CLIP")


def test_without_a_file_the_variables_serve_alone() -> None:
    assert read_environment("", {"AWE_UNIT": "hpc"}).entries == {"unit": "hpc"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("project = KIDS", "no section headers"),
        ("[global]\nproject", "project"),
        ("[global]\nproject=a\nproject=b", "already exists"),
        ("[global]\nproject = a\x1b[31m", "cannot be printed"),
        ("[Bias]\n" + "".join(f"p{n} = 1\n" for n in range(400)), "more than 300 entries"),
        ("[global]\nproject = " + "x" * 501, "longer than 500"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, said: str) -> None:
    with pytest.raises(BundleError) as refused:
        read_environment(text)
    assert said in refused.value.message
    assert "\x1b" not in refused.value.message
    assert refused.value.hint
