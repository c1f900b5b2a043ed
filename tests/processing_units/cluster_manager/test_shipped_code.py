"""Shipped code on a real node: its recipes run, override the standard ones, and leave nothing."""

import hashlib
import json
import sys
from pathlib import Path

import pytest
from fake_unit import eventually

from processing_units.code_shipping.packing import pack
from processing_units.contract import InputFile
from tests.recipes.synthetic import Camera, write_fits

pytestmark = [pytest.mark.processes, pytest.mark.program("bwrap", "bubblewrap")]

OWN = b'''
"""A recipe of somebody's own."""
import os
from recipes.bias import RECIPE as STANDARD
from recipes.recipe import Input, Recipe
from recipes.bias import bias

def my_bias(*inputs, sigma_clip: float = 3.0):
    """Combine as the standard recipe does, and say so.

    Parameters
    ----------
    sigma_clip : float
        As there.
    """
    print("configured:", open(os.environ["AWPORTAL_CODE"] + "/mine.toml").read())
    print("GPU of mine:", os.environ["CUDA_VISIBLE_DEVICES"])
    return bias(*inputs, sigma_clip=sigma_clip)

RECIPE = Recipe(name="MyBias", version="7", function=my_bias, inputs=STANDARD.inputs, outputs=STANDARD.outputs,
                split_by=STANDARD.split_by)
'''


@pytest.fixture
def node(start_worker):
    """A cluster manager with the real recipes."""
    return start_worker("--python", sys.executable, "--cache-bytes", "200M", "--gpus", "3")


@pytest.fixture
def biases(unit, tmp_path):
    camera = Camera(height=60, width=80, seed=5)
    files = []
    for number in range(4):
        path = write_fits(tmp_path / f"b{number}.fits", camera.pixels().astype("u2"))
        file = unit.add_file(path.name, path.read_bytes())
        files.append(InputFile(**file.model_dump() | {"role": "raw_bias", "product": number + 1,
                     "attributes": camera.attributes(date_obs=f"2026-01-02T03:04:0{number}")}))  # fmt: skip
    return files


def test_a_recipe_of_one_s_own_runs_from_the_bundle_and_its_product_tells_the_digest(unit, node, biases, done):
    assert unit.ups[-1].sandbox
    bundle = pack([("recipes/my_bias.py", OWN), ("mine.toml", b"gain = 2\n")])
    job = done(unit.ship(bundle.content, "MyBias", {"sigma_clip": 4.0}, biases), seconds=90)
    [commit] = job.commits
    [product] = commit.products
    content = unit.store.path(product.sha256).read_bytes()
    assert product.kind == "BiasFrame"
    assert bundle.digest.encode() in content
    assert b"MyBias" in content
    assert "configured: gain = 2" in job.log
    assert "GPU of mine: 3" in job.log
    assert commit.peak_memory_mib > 10
    eventually(lambda: all("code" in path.parts for path in node.leftovers()), what="only the unpacked code is left")


def test_a_changed_recipe_is_used_in_place_of_the_standard_one_and_only_for_that_job(unit, node, biases, done):
    from recipes import bias

    changed = Path(bias.__file__).read_text().replace("RECIPE = Recipe", 'print("changed by hand")\nRECIPE = Recipe')
    bundle = pack([("recipes/bias.py", changed.encode())])
    shipped = done(unit.ship(bundle.content, "Bias", inputs=biases), seconds=90)
    assert "changed by hand" in shipped.log
    standard = done(unit.ship(None, "Bias", inputs=biases), seconds=60)
    assert "changed by hand" not in standard.log
    digests = [job.commits[0].products[0].attributes for job in (shipped, standard)]
    assert json.dumps(digests[0]) == json.dumps(digests[1])


def test_a_bundle_that_breaks_a_rule_fails_the_job_with_the_reason(unit, node, done):
    job = done(unit.ship(b"this is no bundle"), "failed")
    assert "cannot be read" in job.failures[0].message
    assert job.failures[0].fault == "fatal"


def test_a_node_whose_sandbox_does_not_work_says_so_and_refuses(unit, start_worker, done, tmp_path):
    fake = tmp_path / "bin" / "bwrap"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    node = start_worker("--python", sys.executable, PATH=f"{fake.parent}:/usr/bin:/bin")
    assert not unit.ups[-1].sandbox
    assert "takes no shipped code, its sandbox does not work" in node.said
    assert "Permission denied" in node.said
    job = unit.ship(pack([("recipes/x.py", b"1")]).content)
    eventually(lambda: job.failures, 20, "it is given back")
    assert "takes no shipped code" in job.failures[0].message
    assert job.failures[0].fault == "node_lost"


def test_one_tree_is_unpacked_once(unit, node, done):
    bundle = pack([("recipes/quick.py", b"raise SystemExit(7)\n")])
    for _ in range(2):
        job = done(unit.ship(bundle.content), "failed")
        assert job.failures[0].fault == "crashed"
    assert hashlib.sha256(bundle.content).hexdigest() == bundle.digest
    [unpacked] = node.scratch.glob("awworker-*/code/*")
    assert unpacked.name == bundle.digest
