"""The command line against the portal itself (Django's test server, real database, real store; no unit behind it)."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User

from awclient.session import complete_recipe
from dataserver.signing import read_peer_key
from processing_units.frontend.join_keys import unit_joined
from processing_units.frontend.models import CachingDataServer, ParameterSet, ProcessingUnit, Quota, Run
from recipes.catalogue import all_recipes, find_recipe


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Four biases, one of them with a name that suggests evil, a text and a broken file."""
    folder = tmp_path / "night"
    folder.mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).normal(1000, 5, (16, 16)).astype(np.uint16)
        header = fits.Header({"INSTRUME": "testcam", "IMAGETYP": "bias", "EXPTIME": 0.0,
                              "DATE-OBS": f"2024-05-13T04:0{number}:00"})  # fmt: skip
        stream = io.BytesIO()
        fits.PrimaryHDU(pixels, header=header).writeto(stream)
        (folder / f"b{number}.fits").write_bytes(stream.getvalue())
    (folder / "notes.txt").write_text("cloudy")
    (folder / "broken.fits").write_text("SIMPLE")
    return folder


@pytest.mark.django_db(transaction=True)
def test_from_files_to_a_queued_run_and_its_cancel(awrecipe: Any, night: Path, tmp_path: Path) -> None:
    code, output, said = awrecipe("ingest", str(night))
    assert code == 0
    assert "4 ingested, 0 there already, 1 refused, 1 other files left alone" in said
    assert "refused: broken.fits" in said
    assert output.splitlines()[1].split() == ["testcam", "2024-05-12", "RawBias", "1", "-", "4"]
    assert "0 ingested, 4 there already" in awrecipe("ingest", str(night))[2]

    frames = json.loads(awrecipe("products", "--kind", "RawBias", "--json")[1])
    numbers = sorted(frame["id"] for frame in frames)
    assert {frame["attributes"]["instrument"] for frame in frames} == {"testcam"}

    published = awrecipe("publish", f"{numbers[0]}-{numbers[-1]}", "--privilege", "3")
    assert published == (0, "", "4 products published to level 3\n")
    assert awrecipe("publish", str(numbers[0]), "--privilege", "3")[2].endswith("; 1 was there before\n")
    code, _, said = awrecipe("publish", str(numbers[0]), "--privilege", "4")
    assert (code, "only a manager" in said) == (3, True)
    assert awrecipe("publish", "--privilege", "3")[0] == awrecipe("publish", str(numbers[0]))[0] == 2

    code, output, said = awrecipe("run", "Bias", "--night", "2024-05-12", "--sigma-clip", "4", "--dry-run", "--json")
    assert code == 0, said
    plan = json.loads(output)
    assert (code, plan["parameters"]["sigma_clip"]) == (0, 4.0)
    assert plan["jobs"][0]["inputs"] == {"raw_bias": numbers}
    told = awrecipe("run", "Bias", "--night", "2024-05-12", "--sigma-clip", "4", "--dry-run")[1]
    assert "1 job, 0 not possible, 0 would be made twice; 0.0 MiB in 4 files to move" in told
    assert f"--plan {plan['fingerprint']}" in told
    code, _, said = awrecipe("run", "Bias", "--night", "2024-05-12", "--plan", plan["fingerprint"])
    assert (code, "not what the dry run showed" in said) == (2, True)  # another sigma_clip
    assert not Run.objects.exists()

    assert awrecipe("params", "keep", "bias", "deep", "sigma-clip=7")[2].strip().endswith("--params-set 'deep'")
    planned = ("run", "Bias", "--night", "2024-05-12", "--params-set", "deep", "--dry-run", "--json")
    assert json.loads(awrecipe(*planned)[1])["parameters"]["sigma_clip"] == 7.0
    assert json.loads(awrecipe(*planned, "--sigma-clip", "8")[1])["parameters"]["sigma_clip"] == 8.0
    chain = ("run", "Bias>HotPixels", "--night", "2024-05-12", "--params-set", "Bias:deep", "--dry-run", "--json")
    assert json.loads(awrecipe(*chain)[1])["parameters"]["sigma_clip"] == 7.0
    ParameterSet.objects.update(entries={"colour": 1}, recipe_version="0")
    code, _, said = awrecipe(*planned)
    assert (code, "has no parameter colour (kept for version 0)" in said) == (2, True)
    assert awrecipe("params", "list")[1].splitlines()[1].startswith("Bias")
    assert awrecipe("params", "remove", "Bias", "deep")[0] == 0
    assert awrecipe(*planned)[0] == 2

    code, output, said = awrecipe("run", "Bias", f"{numbers[0]}-{numbers[-1]}", "--json")
    assert (code, json.loads(output)["state"]) == (0, "queued")
    run = str(json.loads(output)["id"])
    code, _, said = awrecipe("status", run, "--wait", "--timeout", "0.1")
    assert code == 4
    assert "it goes on" in said
    assert "waiting: " in awrecipe("status", run)[1]
    assert awrecipe("logs", run) == (0, "", "")
    assert json.loads(awrecipe("status", "--json")[1])[0]["id"] == int(run)
    assert json.loads(awrecipe("cancel", run, "--json")[1])["state"] == "cancelled"
    assert awrecipe("status", run, "--wait")[0] == 1
    code, _, said = awrecipe("retry", run)
    assert (code, "no failed job" in said) == (2, True)


@pytest.mark.django_db(transaction=True)
def test_products_are_found_and_selections_kept(awrecipe: Any, night: Path) -> None:
    assert awrecipe("ingest", str(night))[0] == 0
    found = json.loads(awrecipe("products", "--night-from", "2024-05-12", "--quality", "passed", "--order", "date_obs",
                                "--validity", "valid", "--json")[1])  # fmt: skip
    numbers = [product["id"] for product in found]
    assert len(numbers) == 4
    assert [product["date_obs"] for product in found] == sorted(product["date_obs"] for product in found)
    code, _, said = awrecipe("products", "--ra", "12:29:00", "--dec", "north")
    assert (code, "dec: 'north' is no coordinate; write it like -41.5" in said) == (2, True)

    code, _, said = awrecipe("selections", "save", "two of them", f"{numbers[0]}-{numbers[1]}")
    assert (code, said) == (0, "saved two of them: awrecipe run RECIPE --selection 'two of them'\n")
    assert awrecipe("selections", "save", "biases", "kind=RawBias", "night=2024-05-12")[0] == 0
    assert awrecipe("selections", "save", "both", "kind=RawBias", "12")[0] == 2
    rows = [line.split() for line in awrecipe("selections")[1].splitlines()]
    assert [row[0] for row in rows] == ["NAME", "biases", "two"]
    told = awrecipe("products", "--kind", "RawBias", "--order", "name", "--numbers")[1]
    assert [int(line) for line in told.splitlines()] == numbers
    assert awrecipe("judge", str(numbers[0]), "bad") == (0, "", f"{numbers[0]} is called bad\n")
    assert awrecipe("products", "--quality", "bad", "--numbers")[1].split() == [str(numbers[0])]
    assert json.loads(awrecipe("judge", str(numbers[0]), "good", "--json")[1])["verdict"] == "good"
    assert awrecipe("judge", str(numbers[0]), "nice")[0] == 2
    listed = json.loads(awrecipe("products", "--selection", "two of them", "--json")[1])
    assert {product["id"] for product in listed} == set(numbers[:2])
    plan = json.loads(awrecipe("run", "Bias", "--selection", "biases", "--dry-run", "--json")[1])
    assert plan["jobs"][0]["inputs"]["raw_bias"] == numbers
    code, _, said = awrecipe("selections", "change", "biases", "--name", "all biases", "--shared", "link")
    assert (code, "/archive/?selection=" in said) == (0, True)
    assert awrecipe("selections", "remove", "all biases")[0] == 0
    code, _, said = awrecipe("run", "Bias", "--selection", "all biases", "--dry-run")
    assert (code, "there is no selection 'all biases'" in said) == (2, True)


@pytest.mark.django_db(transaction=True)
def test_a_nights_log_is_a_table(awrecipe: Any, night: Path) -> None:
    assert awrecipe("ingest", str(night))[0] == 0
    assert [line.split() for line in awrecipe("nightlog")[1].splitlines()] == [
        ["NIGHT", "INSTRUMENT", "EXPOSURES"], ["2024-05-12", "testcam", "4", "Bias"]]  # fmt: skip
    code, output, _ = awrecipe("nightlog", "testcam", "2024-05-12")
    lines = [line.split() for line in output.splitlines()]
    assert (code, len(lines), lines[1][2:4]) == (0, 5, ["Bias", "-"])
    log = json.loads(awrecipe("nightlog", "testcam", "2024-05-12", "--json")[1])
    assert [entry["kind"] for entry in log["exposures"]] == ["RawBias"] * 4
    code, _, said = awrecipe("nightlog", "testcam", "2024-05-13")
    assert (code, "there is no raw frame of testcam of the night 2024-05-13" in said) == (2, True)
    assert awrecipe("nightlog", "nocam")[0] == 2


@pytest.mark.django_db(transaction=True)
def test_what_is_wrong_is_said_with_its_exit_code(awrecipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, code, word in (
        (("run", "Sofa", "1"), 2, "there is no recipe 'Sofa'"),
        (("run", "Bias", "999"), 2, "there is no product 999"),
        (("run", "Bias"), 2, "no inputs are named"),
        (("products", "--night", "May"), 2, "May"),
        (("get",), 2, "no product is named"),
        (("status", "x"), 2, "'run'"),
        (("status", "999999"), 2, "there is no run 999999"),
        (("frobnicate",), 2, "frobnicate"),
    ):
        assert (awrecipe(*arguments)[0], word in awrecipe(*arguments)[2]) == (code, True), arguments
    monkeypatch.setenv("AWPORTAL_TOKEN", "aw_wrong")
    code, _, said = awrecipe("list")
    assert (code, "not known" in said) == (3, True)


@pytest.mark.django_db(transaction=True)
def test_recipes_are_listed_described_and_completed(awrecipe: Any) -> None:
    code, output, _ = awrecipe("list")
    assert code == 0
    assert output.splitlines()[1].split()[:3] == ["ReadNoise", find_recipe("ReadNoise").version, "ReadNoise"]
    assert [name for name, _ in complete_recipe("read")] == ["ReadNoise"]
    code, output, _ = awrecipe("help", "bias")
    assert (code, "--sigma-clip" in output) == (0, True)
    assert json.loads(awrecipe("units", "--json")[1])[0]["state"] == "down"
    assert json.loads(awrecipe("whoami", "--json")[1])["user"] == "anna"


@pytest.mark.django_db(transaction=True)
def test_every_recipe_is_run_by_name_with_each_parameter_as_an_option(awrecipe: Any) -> None:
    for name in all_recipes():
        told = json.loads(awrecipe("help", name, "--json")[1])
        options = [
            word
            for parameter in told["parameters"]
            if parameter["default"] is not None
            for word in (f"--{parameter['name'].replace('_', '-')}", json.dumps(parameter["default"]).strip('"'))
        ]
        code, _, said = awrecipe("run", name, "999999", *options, "--dry-run")
        assert (code, "999999" in said) == (2, True), said


@pytest.mark.django_db(transaction=True)
def test_login_keeps_address_and_token(
    awrecipe: Any, live_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(os.environ["AWPORTAL_TOKEN"])
    monkeypatch.delenv("AWPORTAL_TOKEN")
    monkeypatch.delenv("AWPORTAL_URL")
    assert awrecipe("list")[0] == 2
    assert awrecipe("login", live_server.url, "--token-file", str(tmp_path / "token"))[0] == 0
    assert awrecipe("whoami")[0] == 0


def test_it_starts_fast_and_without_the_rest_of_the_house() -> None:
    heavy = ("django", "httpx", "rich", "recipes", "pydantic")
    code = f"import sys, awclient.main; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.django_db(transaction=True)
def test_a_catalogue_goes_in_by_its_name(awrecipe: Any, tmp_path: Path) -> None:
    stars = tmp_path / "stars.csv"
    stars.write_text("a,d,mag\n10,2,12.5\n10.1,2,13.5\n")
    code, _, said = awrecipe("ingest", str(stars), "--catalogue", "mine", "--columns", "ra=a,dec=d,V=mag")
    assert code == 0, said
    assert "mine: 2 stars, for astrometry and photometry, V" in said
    code, _, said = awrecipe("ingest", str(stars), "--catalogue", "mine", "--columns", "ra=x,dec=d,V=mag")
    assert (code, "there are a, d, mag" in said) == (2, True)
    assert "--catalogue" in awrecipe("ingest", str(stars), "--columns", "ra=a")[2]
    (product,) = json.loads(awrecipe("products", "--kind", "ReferenceCatalogue", "--json")[1])
    assert product["attributes"]["bands"] == ["V"]


@pytest.mark.django_db(transaction=True)
def test_limits_are_shown_and_set_by_an_administrator(awrecipe: Any) -> None:
    asked = ("limits", "set", "BiasFrame", "stdev", "--instrument", "cam", "--maximum", "4.5")
    assert awrecipe(*asked)[0] == 3
    User.objects.update(is_staff=True)
    assert "BiasFrame stdev: at most 4.5" in awrecipe(*asked)[2]
    shown = awrecipe("limits", "show", "--kind", "BiasFrame")[1]
    assert "BiasFrame  stdev" in shown
    assert "set" in shown
    assert "0 limits learned" in awrecipe("limits", "learn", "--instrument", "cam")[2]
    assert "1 limits taken away" in awrecipe("limits", "clear", "--instrument", "cam")[2]
    assert awrecipe("limits", "learn", "--instrument", "cam", "--sigmas", "1")[0] == 2


@pytest.mark.django_db(transaction=True)
def test_a_process_manager_changes_a_unit(awrecipe: Any, night: Path) -> None:
    code, _, said = awrecipe("units", "set", "local", "slots=4")
    assert (code, "only a process manager changes unit local" in said) == (3, True)
    awrecipe("ingest", str(night))
    run = str(json.loads(awrecipe("run", "Bias", "--night", "2024-05-12", "--json")[1])["id"])
    User.objects.update(is_staff=True)
    code, _, said = awrecipe("units", "set", "local", "slots=4", "walltime=2h", "recipes=Reduce")
    assert (code, said.splitlines()) == (
        0,
        ["local: slots is 4, was 0", "local: walltime is 7200, was 3600", "local: recipes is Reduce, was empty"],
    )
    assert "unit local does not run Bias" in awrecipe("status", run)[1]
    ProcessingUnit.objects.create(name="other", port=2, key_hash="1" * 64)
    code, _, said = awrecipe("units", "move", run, "other")
    assert (code, f"run {run} waits for unit other now" in said) == (0, True)
    code, _, said = awrecipe("units", "set", "local", "slots=many", "alias=x")
    assert (code, "slots: 'many' is no whole number" in said) == (2, True)
    assert "accepting is no, was yes" in awrecipe("units", "drain", "local")[2]
    assert awrecipe("units", "list")[1].splitlines()[1].split()[:2] == ["local", "closed"]
    assert "all of it was so already" in awrecipe("units", "drain", "local")[2]
    assert "accepting is yes, was no" in awrecipe("units", "accept", "local")[2]
    shown = awrecipe("units", "show", "local")[1]
    assert "  slots=4\n" in shown
    assert "  alias=\n" in shown
    history = [line.split()[2:] for line in awrecipe("units", "history", "local")[1].splitlines()[1:]]
    assert history[0] == ["anna", "accepting", "no", "yes"]
    assert history[-1] == ["anna", "slots", "0", "4"]
    assert awrecipe("units", "show", "nowhere")[0] == 2
    code, _, said = awrecipe("cancel", "--all", "--unit", "other")
    assert (code, "1 job of 1 run cancelled" in said) == (0, True)
    assert "0 jobs of 0 runs cancelled" in awrecipe("cancel", "--all")[2]
    assert awrecipe("cancel")[0] == awrecipe("cancel", run, "--all")[0] == 2


@pytest.mark.django_db(transaction=True)
def test_what_one_may_have_is_shown_and_an_administrator_changes_it(awrecipe: Any, night: Path) -> None:
    code, shown, _ = awrecipe("units", "quota")
    assert code == 0
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["queued", "0", "20000", "(default)"],
        ["running", "0", "any", "(default)"],
        ["bytes", "0", "any", "(default)"],
    ]
    code, _, said = awrecipe("units", "quota", "anna", "bytes=1")
    assert (code, "only an administrator" in said) == (3, True)
    assert awrecipe("units", "quota", "ben")[0] == 3
    User.objects.update(is_staff=True, is_superuser=True)
    assert awrecipe("units", "quota", "ben")[0] == 2
    code, shown, _ = awrecipe("units", "quota", "anna", "bytes=1", "queued=10k", "--json")
    assert (code, json.loads(shown)["queued"]) == (0, {"used": 0, "limit": 10_000, "own": True})
    assert awrecipe("ingest", str(night / "b0.fits"))[0] == 0
    awrecipe("units", "quota", "anna")  # what was counted a moment ago counts for a minute
    Quota.objects.update(counted_at=None)
    said = "".join(awrecipe("ingest", str(night / "b1.fits"))[1:])
    assert "and you may keep 1 bytes" in said


@pytest.mark.django_db(transaction=True)
def test_an_administrator_registers_a_data_server(awrecipe: Any, tmp_path: Path) -> None:
    key_file = tmp_path / "far.key"
    register = ("data-servers", "far", "http://127.0.0.1:1", "--key-file", str(key_file))
    assert awrecipe(*register)[0] == 3
    assert not key_file.exists()
    User.objects.update(is_staff=True, is_superuser=True)
    code, out, told = awrecipe(*register)
    assert (code, out) == (0, "")
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert read_peer_key(key_file).peer == CachingDataServer.objects.get().peer
    assert "python -m dataserver serve" in told
    assert read_peer_key(key_file).key.decode() not in told
    code, _, told = awrecipe(*register, "--anew")
    assert (code, "cannot be written: File exists" in told) == (2, True)
    (listed,) = json.loads(awrecipe("data-servers", "--json")[1])
    assert (listed["name"], listed["is_well"]) == ("far", False)
    code, _, told = awrecipe("units", "set", "local", "data_server=far")
    assert (code, "far at http://127.0.0.1:1: it does not answer" in told) == (2, True)
    assert awrecipe("data-servers", "far", "--remove")[0] == 0
    assert "no caching data server" in awrecipe("data-servers")[2]


@pytest.mark.django_db(transaction=True)
def test_a_process_manager_makes_keys_for_workers(awrecipe: Any, tmp_path: Path) -> None:
    code, _, err = awrecipe("units", "keys", "local", "--new", "the lab")
    assert (code, "process manager" in err) == (3, True)
    User.objects.update(is_staff=True)
    file = tmp_path / "join.key"
    code, out, err = awrecipe("units", "keys", "local", "--new", "the lab", "-o", str(file))
    assert (code, file.stat().st_mode & 0o777) == (0, 0o600)
    key = file.read_text().strip()
    assert key not in out + err
    assert unit_joined(key, "worker") == ProcessingUnit.objects.get()
    [listed] = json.loads(awrecipe("units", "keys", "local", "--json")[1])
    assert (listed["note"], listed["made_by"]) == ("the lab", "anna")
    assert awrecipe("units", "keys", "local", "--new", "more", "-o", str(file))[0] == 2
    assert awrecipe("units", "keys", "local", "--revoke", str(listed["number"]))[0] == 0
    assert unit_joined(key, "worker") is None
    code, _, err = awrecipe("units", "keys", "local", "--revoke", str(listed["number"]))
    assert (code, "has no key" in err) == (2, True)
