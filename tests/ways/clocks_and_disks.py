"""``make clocks-and-disks``: a unit whose nodes read through a caching data server, with wrong clocks and full disks.

Real processes: a portal, a unit's frontend, a caching data server, cluster managers. Each scene runs a recipe on the
raw biases of a simulated chip, sees what the fault does, takes it away, and holds that the run ended with one product
and nothing left. Prints the tables of docs/reliability.md.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from awclient.client import Portal
from awclient.configuration import Configuration
from processing_units.contract import RunStatus, Submission
from tests.night.installation import TREE, Installation, observe
from tests.ways.folder import run_in_folder
from tests.ways.machines import wait_for
from tests.ways.workers import SMALL, serving
from tests.wrong_clock import HOUR, wrong_clock

UNIT = "far"
LEASE_SECONDS = 4.0
LATE_SECONDS = 2.5 * LEASE_SECONDS
_LEFT_BYTES = 64 << 10
# The first frames of a night are its biases.
_INGESTED = 5


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a small disk at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Stage:
    """The installation, its data server's disk, the cache, and what a scene needs of them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._started = 0
        self.data = stack.enter_context(small_disk(folder / "data", "64m"))
        seconds = {"AWPORTAL_LEASE_SECONDS": str(LEASE_SECONDS), "AWPORTAL_HEARTBEAT_SECONDS": str(LEASE_SECONDS / 4)}
        self.portal = Installation(
            folder / "portal", AWPORTAL_DATA_ROOT=str(self.data), AWPORTAL_CANARY_SECONDS="0", **seconds
        )
        stack.callback(self.portal.stop)
        self.portal.start()
        self.cache_port = self.portal.port + 4
        self.manage("data_server", "register", "near", f"http://127.0.0.1:{self.cache_port}")
        serve = serving(self.portal, UNIT, self.portal.port + 3, "--data-server", "near")
        self.unit_url, self.key_file = stack.enter_context(serve)
        self.cache_root = stack.enter_context(small_disk(folder / "cache", "16m"))
        self.cache: subprocess.Popen[bytes] | None = None
        stack.callback(self.kill_cache)
        night = observe(folder / "night", *SMALL)
        self.portal.awrecipe("ingest", *map(str, sorted(night.glob("*.fits"))[:_INGESTED]))
        token = (self.portal.home / "secrets" / "token").read_text().strip()
        self.client = stack.enter_context(Portal(Configuration(self.portal.url, token)))
        self.raw = sorted(each["id"] for each in self.client.products() if each["kind"] == "RawBias")

    def manage(self, *words: str) -> None:
        """Run a command of the portal."""
        environment = {**self.portal.environment, **self.portal.servers}
        subprocess.run(
            [sys.executable, str(TREE / "manage.py"), *words], env=environment, check=True, capture_output=True
        )

    def start_cache(self, environment: dict[str, str] | None = None) -> None:
        """Start the caching data server."""
        command = [sys.executable, "-m", "dataserver", "serve", "--root", str(self.cache_root), "--max-bytes", "12M"]
        command += ["--port", str(self.cache_port), "--upstream", f"{self.portal.url}/data"]
        command += ["--key-file", str(self.portal.home / "secrets" / "data-server-near")]
        with (self.folder / "cache.log").open("ab") as log:
            self.cache = subprocess.Popen(
                command, cwd=TREE, env={**os.environ, **(environment or {})}, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill_cache(self) -> None:
        """Kill -9 all of its processes."""
        if self.cache is not None:
            os.killpg(self.cache.pid, 9)
            self.cache.wait()
            self.cache = None

    def forget_cached(self) -> None:
        """Empty the cache, so that what a scene reads comes the whole way."""
        self.kill_cache()
        for each in self.cache_root.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    @contextmanager
    def node(self, environment: dict[str, str] | None = None) -> Iterator[Path]:
        """Run a cluster manager with nothing in its cache; yield its scratch folder, on a small disk."""
        self._started += 1
        name = f"node{self._started}"
        with small_disk(self.folder / name, "16m") as scratch, (self.folder / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "processing_units.cluster_manager", self.unit_url, "--slots", "1"]
            command += ["--key-file", str(self.key_file), "--scratch", str(scratch), "--minimum-free", "1K"]
            command += ["--cache", str(self.folder / f"{name}.cache"), "--node", name]
            worker = subprocess.Popen(
                command, cwd=TREE, env={**os.environ, **(environment or {})}, stdout=log, stderr=log
            )
            try:
                yield scratch
            finally:
                worker.terminate()
                code = worker.wait(60)
            assert code == 0, (self.folder / f"{name}.log").read_text()

    def submit(self, recipe: str) -> int:
        """Submit a run on the raw biases; return its number."""
        inputs = {"": self.raw}
        wanted = Submission(recipe=recipe, inputs=inputs, unit=UNIT, idempotency_key=secrets.token_hex(8))
        return self.client.submit(wanted).id

    def status(self, run: int) -> RunStatus:
        """Return how a run stands."""
        return self.client.run(run)

    def wait_until_done(self, run: int) -> int:
        """Wait for the end of a run; hold that it is complete, and return how many attempts its job took."""
        wait_for(lambda: self.status(run).state not in {"queued", "running"}, f"the end of run {run}", 180)
        status = self.status(run)
        assert status.state == "done", status
        products = [each for each in self.client.products() if each["run"] == run]
        assert len(products) == 1, products
        assert list((self.data / "incoming").iterdir()) == []
        wait_for(lambda: list((self.data / "staging").iterdir()) == [], "the end of what was staged")
        return status.jobs[0].attempt

    def products_of(self, run: int) -> int:
        """Count what a run has made so far."""
        return sum(each["run"] == run for each in self.client.products())


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a disk but for some kilobytes, as long as this lasts."""
    filler = folder / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(folder).free - _LEFT_BYTES)))
    try:
        yield
    finally:
        filler.unlink()


Row = tuple[str, str]


def _which(seconds: int) -> str:
    return "fast" if seconds > 0 else "slow"


def node_clock(stage: Stage, seconds: int) -> Row:
    """A node whose clock is off, and whose input comes later than a lease lasts."""
    stage.forget_cached()
    with stage.node(wrong_clock(stage.folder, seconds)):
        run = stage.submit("ReadNoise")
        wait_for(lambda: stage.status(run).state == "running", "the job")
        time.sleep(LATE_SECONDS)
        stage.start_cache()
        attempts = stage.wait_until_done(run)
    assert attempts == 1
    return (f"node an hour {_which(seconds)}, its inputs come after 2.5 leases",
            "links and lease hold: done in the first attempt, one product")  # fmt: skip


def cache_clock(stage: Stage, seconds: int) -> Row:
    """A caching data server whose clock is off."""
    stage.forget_cached()
    stage.start_cache(wrong_clock(stage.folder, seconds))
    with stage.node():
        attempts = stage.wait_until_done(stage.submit("ReadNoise"))
    assert attempts == 1
    assert any((stage.cache_root / "objects").rglob("?" * 64)), "the inputs came through it"
    return f"caching data server an hour {_which(seconds)}", "links hold: done in the first attempt, one product"


def cache_killed(stage: Stage) -> Row:
    """The caching data server is killed before the node has its inputs, and comes back."""
    stage.forget_cached()
    with stage.node():
        run = stage.submit("ReadNoise")
        wait_for(lambda: stage.status(run).state == "running", "the job")
        stage.start_cache()
        stage.kill_cache()
        stage.start_cache()
        attempts = stage.wait_until_done(run)
    assert attempts == 1
    return "caching data server killed -9 and started again", "the node waits: done in the first attempt, one product"


def full_node(stage: Stage) -> Row:
    """The node's scratch is full when the job writes."""
    stage.forget_cached()
    stage.start_cache()
    with stage.node() as scratch:
        wait_for(lambda: any(scratch.iterdir()), "the node")
        with full(scratch):
            run = stage.submit("Bias")
            reason = _reason(stage, run, "disk full")
            assert stage.products_of(run) == 0
        attempts = stage.wait_until_done(run)
    return "node's scratch", f"“{reason}”; with room again done in attempt {attempts}, one product"


def full_cache(stage: Stage) -> Row:
    """The caching data server's disk is full when it is to fetch."""
    stage.forget_cached()
    stage.start_cache()
    wait_for((stage.cache_root / "objects" / "ff").is_dir, "the cache")
    with full(stage.cache_root), stage.node():
        run = stage.submit("ReadNoise")
        wait_for(lambda: stage.status(run).state == "running", "the job")
        time.sleep(LATE_SECONDS)
        assert stage.status(run).state == "running"
        (stage.cache_root / "filler").write_bytes(b"")
        attempts = stage.wait_until_done(run)
    assert attempts == 1
    return "caching data server's", "it answers 507, the node waits; with room again done in the first attempt"


def full_data_server(stage: Stage) -> Row:
    """The portal's data server is full when the product is handed in."""
    stage.forget_cached()
    stage.start_cache()
    with stage.node():
        with full(stage.data):
            run = stage.submit("Bias")
            reason = _reason(stage, run, "no room")
            assert stage.products_of(run) == 0
            assert list((stage.data / "incoming").iterdir()) == []
        attempts = stage.wait_until_done(run)
    return "portal's data server", f"“{reason}”; with room again done in attempt {attempts}, one product"


def _reason(stage: Stage, run: int, words: str) -> str:
    """Wait until a run says these words of its job; return the sentence up to its details."""

    def said() -> str:
        job = stage.status(run).jobs[0]
        return job.reason if job.attempt else ""

    wait_for(lambda: words in said().lower(), f"run {run} saying {words!r}", 120)
    return said().split(" (/")[0].split(" below /")[0][:160]


CLOCKS: Sequence[Callable[[Stage], Row]] = (
    lambda stage: node_clock(stage, HOUR),
    lambda stage: node_clock(stage, -HOUR),
    lambda stage: cache_clock(stage, HOUR),
    lambda stage: cache_clock(stage, -HOUR),
    cache_killed,
)
DISKS: Sequence[Callable[[Stage], Row]] = (full_node, full_cache, full_data_server)


def play(folder: Path, clocks: Sequence[Callable[[Stage], Row]], disks: Sequence[Callable[[Stage], Row]]) -> str:
    """Play scenes in one installation; return the tables."""
    lines: list[str] = []
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        for title, scenes in (("clock", clocks), ("full disk", disks)):
            lines += [f"| {title} | what happened |", "|-|-|"]
            for scene in scenes:
                lines.append("| {} | {} |".format(*scene(stage)))
                print(lines[-1], file=sys.stderr, flush=True)
            lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Play all scenes in a folder of their own."""
    return run_in_folder("clocks-and-disks", lambda folder: play(folder, CLOCKS, DISKS))


if __name__ == "__main__":
    sys.exit(main())
