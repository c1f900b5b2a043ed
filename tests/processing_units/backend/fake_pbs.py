"""STAND-IN for PBS, which no machine of the tests has: ``qsub``, ``qstat`` and ``qdel`` on this machine, for one user.

Called as ``fake_pbs.py COMMAND ARGUMENTS...``; keeps its jobs in the directory ``FAKE_PBS``. Speaks as PBS Pro does, as
far as PSI/J listens: numbers with the server's name, JSON of ``qstat -f -F json -x``, exit code 153 for what it does
not know, SIGTERM to all processes of a job before SIGKILL. A file ``hold`` keeps jobs from starting.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.environ["FAKE_PBS"])
KILL_DELAY_SECONDS = 5


def qsub(script: str) -> int:
    text = Path(script).read_text()
    if (queue := re.search(r"^#PBS -q (\S+)", text, re.MULTILINE)) and queue[1] != "workq":
        print("qsub: Unknown queue", file=sys.stderr)
        return 170
    number = f"{len(list(HERE.glob('*.json'))) + 1}.fake"
    job = HERE / f"{number}.json"
    job.write_text(json.dumps({"job_state": "H" if (HERE / "hold").exists() else "Q"}))
    (HERE / f"{number}.sh").write_text(text)
    subprocess.Popen(
        [sys.executable, __file__, "run", number], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    print(number)
    return 0


def run(number: str) -> int:
    while (HERE / "hold").exists():
        time.sleep(0.1)
    if _state(number) == "F":
        return 0
    nodes = HERE / f"{number}.nodes"
    nodes.write_text("localhost\n")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PBS_JOBID": number,
                   "PBS_NODEFILE": str(nodes)}  # fmt: skip
    process = subprocess.Popen(
        ["/bin/bash", HERE / f"{number}.sh"], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _note(number, job_state="R", session=process.pid)
    code = process.wait()
    _note(number, job_state="F", Exit_status=265 if _noted(number).get("deleted") else code)
    return 0


def qstat(*arguments: str) -> int:
    numbers = [argument for argument in arguments if argument.endswith(".fake")]
    for number in numbers:
        if not (HERE / f"{number}.json").exists():
            print(f"qstat: Unknown Job Id {number}", file=sys.stderr)
            return 153
    print(json.dumps({"Jobs": {number: _noted(number) for number in numbers}}))
    return 0


def qdel(number: str) -> int:
    job = _noted(number)
    if job["job_state"] != "R":
        _note(number, job_state="F", Exit_status=265)
        return 0
    _note(number, deleted=True)
    for how in (signal.SIGTERM, signal.SIGKILL):
        subprocess.run(["pkill", f"-{how.value}", "--session", str(job["session"])], check=False)
        until = time.monotonic() + KILL_DELAY_SECONDS
        while time.monotonic() < until and _state(number) != "F":
            time.sleep(0.1)
    return 0


def _noted(number: str) -> dict:
    return json.loads((HERE / f"{number}.json").read_text())


def _state(number: str) -> str:
    return _noted(number)["job_state"]


def _note(number: str, **values: object) -> None:
    draft = HERE / f"{number}.{os.getpid()}.part"
    draft.write_text(json.dumps({**_noted(number), **values}))
    draft.replace(HERE / f"{number}.json")


if __name__ == "__main__":
    sys.exit({"qsub": qsub, "qstat": qstat, "qdel": qdel, "run": run}[sys.argv[1]](*sys.argv[2:]))
