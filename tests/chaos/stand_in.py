"""The fork server of the chaos suite: its jobs last a moment, and what they make depends on their job file alone.

Started as ``PYTHON -m recipes.fork_server SOCKET`` by a wrapper script, like the fake fork server that it is made of.
"""

import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "processing_units" / "cluster_manager"))

import fake_fork_server  # noqa: E402

LONGEST_SECONDS = 2.0


def content_of(recipe, parameters, inputs):
    """Return the bytes of the product of a job; `inputs` are pairs of role and sha256."""
    told = json.dumps([recipe, parameters, sorted(inputs)], sort_keys=True).encode()
    return told + hashlib.shake_256(told).digest(4000 + len(told) % 1000)


def run_job(job_file):
    """Work for a moment, on inputs that are what they should be, and make one product."""
    job = json.loads(Path(job_file).read_text())
    inputs = []
    for entry in job["inputs"]:
        if hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest() != entry["sha256"]:
            raise ValueError(f"the input {entry['path']} is not what it should be")
        inputs.append((entry["role"], entry["sha256"]))
    content = content_of(job["recipe"], job["parameters"], inputs)
    time.sleep(LONGEST_SECONDS * float(os.environ.get("CHAOS_TIMES", "1")) * content[-1] / 255)
    first = job["inputs"][0]["attributes"]
    attributes = {name: first[name] for name in ("instrument", "chip", "night", "readout_mode", "date_obs")}
    Path("outputs", "noise.fits").write_bytes(content)
    product = {
        "kind": "ReadNoise", "path": "noise.fits", "name": f"ReadNoise_{first['chip']}.fits", "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "attributes": {**attributes, "read_noise": 3.5},
        "measurements": [{"name": "read_noise", "value": 3.5, "unit": "adu", "verdict": "good"}],
    }  # fmt: skip
    result = {"recipe": job["recipe"], "state": "done", "products": [product], "left_out": []}
    Path("outputs/result.json").write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fake_fork_server.run_job = run_job
    fake_fork_server.main(sys.argv[-1])
