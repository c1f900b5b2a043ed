"""Registered machines: whose processes and files are there, how much is kept, and that nothing stays of one taken off.

Real sshd in network namespaces that let nothing out; the cluster managers are real, or a stand-in where their owner
could not read this interpreter.
"""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_unit import FakeUnit, eventually

from processing_units.backend.kind import BringUpError, Directions
from processing_units.backend.kinds.lan import Lan, LanSettings
from processing_units.backend.lan_host import LanHost
from processing_units.backend.ssh_connection import SSH_CONFIG
from processing_units.contract import CarryRequest, PlaceState
from processing_units.joining.single_file import single_file
from tests.ways import hosts as ways

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

OWNER = "nobody"
MIB = 1 << 20
KEY = "the-key-of-this-one"
NAME = "0123456789abcdef" * 2
# Stands for the one file, beside the relay that is in it: notes what it was given, holds a scratch, drains when told.
STAND_IN = """
import fcntl, json, os, pathlib, signal, sys, time
given = dict(zip(sys.argv[2::2], sys.argv[3::2]))
mine = pathlib.Path(given["--scratch"], f"awworker-{os.getpid()}")
mine.mkdir(parents=True)
lock = open(mine / "lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
for name in ("incoming", "outgoing"):
    pathlib.Path(given["--cache"], name).mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: signals.append(1))
signals = []
print(json.dumps({**given, "home": os.environ["HOME"], "key": sys.stdin.readline().strip()}), flush=True)
while len(signals) < 2 and not (signals and pathlib.Path(given["--cache"], "may-leave").exists()):
    time.sleep(0.02)
print("leaving: " + ("drained" if len(signals) < 2 else "stopped"), flush=True)
"""


@pytest.fixture
def unit(unit_with_code: FakeUnit) -> FakeUnit:
    return unit_with_code


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ways.Lan]:
    ways.needs_hosts(("nft", "nftables"), ("runuser", "util-linux"), ("flock", "util-linux"))
    made = ways.Lan(tmp_path_factory.mktemp("lan"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SSH_CONFIG, str(made.configuration))
        for name in ("dome", "barn"):
            made.add(name).forbid_all_but_ssh()
        yield made
        made.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others can reach, unlike those of a test."""
    folder = Path(tempfile.mkdtemp(prefix="awportal-machines-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


class Stage:
    """The kind with machines on which the stand-in runs."""

    def __init__(self, folder: Path, unit: FakeUnit) -> None:
        key_file = folder / "key"
        key_file.write_text(KEY + "\n")
        self.directions = Directions(
            number=1, unit="lan", url=unit.url, key_file=key_file, log_file=folder / "log", state=folder / "state",
            slots=1,
        )  # fmt: skip
        self.kinds: list[Lan] = []

    def begin(self, *hosts: LanHost) -> Lan:
        """Start a backend's kind, as the first one or as one that is started anew."""
        kind = Lan()
        self.kinds.append(kind)
        kind.begin(self.directions)
        kind.configure(LanSettings(hosts=list(hosts)))
        return kind

    def up(self, kind: Lan, number: int = 1) -> str:
        """Bring one up; return its handle when it works."""
        handle = kind.bring_up(replace(self.directions, number=number))
        eventually(lambda: KEY in self.log_of(handle).read_text(), 20, "the stand-in")
        return handle

    @staticmethod
    def log_of(handle: str) -> Path:
        return Path(handle.split(" ", 3)[3])


@pytest.fixture
def staged(tmp_path: Path, unit: FakeUnit, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(single_file())) as whole, zipfile.ZipFile(made, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, STAND_IN if name == "__main__.py" else whole.read(name))
    monkeypatch.setattr("processing_units.backend.lan_host.single_file", made.getvalue)
    monkeypatch.setattr("processing_units.backend.cleaning.SHORTEST_PAUSE_SECONDS", 0.1)
    stage = Stage(tmp_path, unit)
    yield stage
    for kind in stage.kinds:
        kind.close()


def machine(host: ways.Host, place: Path, **more: object) -> LanHost:
    about = {"name": host.name, "host": host.address, "user": "root", "port": ways.PORT, "python": "/usr/bin/python3"}
    folders = {"remote_path": str(place / host.name), "data_folder": str(place / f"{host.name}-data")}
    return LanHost.model_validate({**about, **folders, "through": "session", **more})


@pytest.fixture
def dome(lan: ways.Lan, place: Path) -> Iterator[LanHost]:
    [host, _] = lan.hosts
    yield machine(host, place)
    if not host.answers():
        host.start()
    end_workers(host)


@pytest.fixture
def barn(lan: ways.Lan, place: Path) -> Iterator[LanHost]:
    yield machine(lan.hosts[1], place)
    end_workers(lan.hosts[1])


def workers(host: ways.Host) -> list[int]:
    found = []
    for number in host.processes():
        try:
            if b"\0awworker\0" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(number)
        except OSError:
            continue
    return found


def end_workers(host: ways.Host) -> None:
    for number in workers(host):
        os.kill(number, signal.SIGKILL)


def let_go(host: LanHost) -> None:
    """Let the stand-in's last job end."""
    (Path(host.data) / "node-cache" / "may-leave").touch()


def owner_of(path: Path) -> str:
    return pwd.getpwuid(path.lstat().st_uid).pw_name


# -------------------------------------------------------------------------------------------------------- size bound


def test_no_more_is_kept_than_the_bound_and_nothing_when_it_is_taken_off(
    unit: FakeUnit, start_backend: Callable[..., Any], lan: ways.Lan, tmp_path: Path
) -> None:
    """Real cluster managers on a machine that reaches nothing: what they keep came by sftp."""
    about = {"python": sys.executable, "system_python": True}

    def register(**more: object) -> None:
        hosts = [machine(lan.hosts[0], tmp_path, **about, **more).model_dump(exclude_defaults=True)] if more else []
        unit.wanted = unit.wanted.model_copy(update={"kind": "lan", "settings": {"hosts": hosts}})

    frames = [unit.add_file(f"{number}.fits", bytes([number]) * MIB) for number in range(5)]
    jobs = [unit.submit(["product", "p.fits", 10], inputs=[frame], hint=False) for frame in frames]
    register(data_bytes=3 * MIB)
    backend = start_backend("--kind", "lan", fixed=(), worker=("--python", sys.executable))
    data = tmp_path / "dome-data"
    seen = []

    def kept() -> int:
        seen.append(sum(path.stat().st_size for path in (data / "node-cache" / "objects").glob("*/*")))
        return seen[-1]

    eventually(lambda: (kept(), all(job.state == "done" for job in jobs))[1], 60, lambda: backend.said)
    assert (max(seen), seen[-1]) == (3 * MIB, 3 * MIB)
    register(data_bytes=MIB)
    eventually(lambda: len(unit.ups) == 2 and kept() == MIB, 60, lambda: backend.said)
    register()
    eventually(lambda: "the data folder of dome is cleaned" in backend.said, 60, lambda: backend.said)
    assert list(data.iterdir()) == []
    assert [down.reason for down in unit.downs] == ["drained", "drained"]


# -------------------------------------------------------------------------------------------------------------- owner


def test_all_belongs_to_the_owner_where_root_logs_in(
    staged: Stage, lan: ways.Lan, dome: LanHost, unit: FakeUnit
) -> None:
    dome = dome.model_copy(update={"owner": OWNER, "data_bytes": 5 * MIB})
    kind = staged.begin(dome)
    handle = staged.up(kind)
    told = json.loads(staged.log_of(handle).read_text())
    home = pwd.getpwnam(OWNER).pw_dir
    assert (told["--cache-bytes"], told["home"], told["key"]) == (str(5 * MIB), home, KEY)
    software, data = Path(dome.remote_path), Path(dome.data)
    assert (told["--cache"], told["--scratch"]) == (str(data / "node-cache"), str(data / "scratch"))
    for folder in (software, data):
        assert (owner_of(folder), stat.S_IMODE(folder.stat().st_mode)) == (OWNER, 0o700)
    assert {owner_of(path) for folder in (software, data) for path in folder.rglob("*")} == {OWNER}
    assert {owner_of(Path(f"/proc/{number}")) for number in workers(lan.hosts[0])} == {OWNER}
    relay = int((software / "relay.lock").read_text())
    assert owner_of(Path(f"/proc/{relay}")) == OWNER
    let_go(dome)
    kind.drain(handle)
    eventually(lambda: kind.ended([handle]) == {handle: "drained"}, 20)


def test_files_are_carried_with_the_owners_rights_alone(
    staged: Stage, dome: LanHost, place: Path, unit: FakeUnit
) -> None:
    dome = dome.model_copy(update={"owner": OWNER})
    kind = staged.begin(dome)
    staged.up(kind)
    session = kind._session(dome)
    carrier = session._carrier
    assert carrier is not None
    file = unit.add_file("f.fits", b"a frame")
    request = CarryRequest(way="in", name=NAME, url=file.url, sha256=file.sha256, size=file.size)
    incoming = Path(dome.data) / "node-cache" / "incoming"
    assert carrier.carry(request).error == ""
    assert (owner_of(incoming / NAME), (incoming / NAME).read_bytes()) == (OWNER, b"a frame")
    roots = place / "of-root"
    roots.write_text("nobody may read or write this")
    roots.chmod(0o600)
    for way in ("incoming", "outgoing"):
        (Path(dome.data) / "node-cache" / way / NAME[::-1]).symlink_to(roots)
    for way in ("in", "out"):
        answer = carrier.carry(request.model_copy(update={"way": way, "name": NAME[::-1]}))
        assert "ermission denied" in answer.error
    assert roots.read_text() == "nobody may read or write this"


def test_a_folder_of_somebody_else_is_refused_with_the_mend(staged: Stage, dome: LanHost) -> None:
    dome = dome.model_copy(update={"owner": OWNER})
    Path(dome.data).mkdir()
    kind = staged.begin(dome)
    kind._reach = []
    mend = f"belongs to root, not to {OWNER}: sudo install -d -o {OWNER} -m 700 {dome.data}"
    with pytest.raises(BringUpError, match=mend):
        kind.bring_up(staged.directions)
    wrong = [check.says for check in kind.test(staged.directions) if not check.is_well]
    assert any(mend in says for says in wrong)
    unknown = dome.model_copy(update={"owner": "no-such-user", "data_folder": ""})
    with pytest.raises(BringUpError, match="no-such-user"):
        staged.begin(unknown).bring_up(staged.directions)


def test_a_look_at_a_machine_is_the_owners(staged: Stage, dome: LanHost, place: Path) -> None:
    """What root can run and write, its owner may not."""
    hidden = place / "hidden"
    hidden.mkdir(mode=0o700)
    (hidden / "python3").symlink_to("/usr/bin/python3")
    dome = dome.model_copy(update={"owner": OWNER})
    kind = staged.begin(dome)
    kind._reach = []
    well = {check.what for check in kind.test(staged.directions) if check.is_well}
    assert well == {"key", "owner", "Python", "disk", "clock", "reach", "sftp"}
    (hidden / "data").mkdir(mode=0o700)
    os.chown(hidden / "data", pwd.getpwnam(OWNER).pw_uid, -1)
    changes = {"python": str(hidden / "python3"), "data_folder": str(hidden / "data")}
    kind.configure(LanSettings(hosts=[dome.model_copy(update=changes)]))
    wrong = {check.what: check.says for check in kind.test(staged.directions) if not check.is_well}
    assert "set its path in the unit's settings (python)" in wrong["Python"]
    assert f"{hidden / 'data'} cannot be" in wrong["disk"]


# ---------------------------------------------------------------------------------------------------------- taken off


def left_on(host: LanHost) -> set[str]:
    return {path.name for path in Path(host.data).iterdir()}


def test_one_that_is_taken_off_finishes_its_jobs_and_is_cleaned(
    staged: Stage, lan: ways.Lan, dome: LanHost, barn: LanHost
) -> None:
    kind = staged.begin(dome, barn)
    handles = [staged.up(kind, number) for number in (1, 2)]
    sealed = Path(dome.data) / "scratch" / "awworker-1" / "7-1-abc"
    sealed.mkdir(parents=True)
    (sealed / "kept").touch()
    sealed.chmod(0)  # as a job may leave it
    (Path(dome.data) / "mine").touch()
    kind.configure(LanSettings(hosts=[barn]))
    standing = kind.standing(handles)
    assert [standing[handle].state for handle in handles] == [PlaceState.DRAINING, PlaceState.UP]
    for _ in range(3):
        assert kind.ended(handles) == {}
        kind.drain(handles[0])  # the supervision asks too: that is no second signal
    assert left_on(dome) == {"node-cache", "scratch", "mine"}
    let_go(dome)
    eventually(lambda: kind.ended(handles) == {handles[0]: "drained"}, 20)
    eventually(lambda: (kind.ended(handles[1:]), left_on(dome) == {"mine"})[1], 20, "the data folder is cleaned")
    assert {path.name for path in Path(dome.remote_path).iterdir()} >= {"logs", "awworker"}
    eventually(lambda: (kind.ended(handles[1:]), not relays(lan.hosts[0]))[1], 20, "its session is closed")
    assert workers(lan.hosts[1])
    again = dome.model_copy(update={"slots": 2})
    kind.configure(LanSettings(hosts=[barn, again]))
    staged.up(kind, 2)


def relays(host: ways.Host) -> list[str]:
    return [line for line in host.command_lines() if "stream_relay" in line]


def test_one_that_is_taken_off_while_its_backend_is_down_is_drained_and_cleaned_by_the_next(
    staged: Stage, lan: ways.Lan, dome: LanHost, barn: LanHost
) -> None:
    first = staged.begin(dome, barn)
    handles = [staged.up(first, number) for number in (1, 2)]
    second = staged.begin(barn)
    assert second.ended(handles) == {}
    third = staged.begin(barn)  # and one more: it asks for no second time
    assert third.ended(handles) == {}
    let_go(dome)
    eventually(lambda: third.ended(handles) == {handles[0]: "drained"}, 20)
    eventually(lambda: (third.ended(handles[1:]), left_on(dome) == set())[1], 20, "the data folder is cleaned")
    assert workers(lan.hosts[1])


def test_one_that_is_away_is_cleaned_when_it_answers(
    staged: Stage, lan: ways.Lan, dome: LanHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    [host, _] = lan.hosts
    kind = staged.begin(dome)
    handle = staged.up(kind)
    host.stop_sshd()
    kind.connection(dome.target).hang_up()
    kind.configure(LanSettings(hosts=[]))
    assert kind.ended([handle]) == {}
    monkeypatch.setattr("processing_units.backend.kinds.lan.LOST_SECONDS", 0.0)
    assert "was lost with its host" in kind.ended([handle])[handle]
    eventually(lambda: (kind.ended([]), "is not cleaned yet" in caplog.text)[1], 20)
    kind = staged.begin()  # and the backend is started anew meanwhile
    assert workers(host)  # it goes on there, and nobody knows
    host.start()
    eventually(lambda: (kind.ended([]), left_on(dome) == set())[1], 20, "the data folder is cleaned")
    assert workers(host) == []


def test_what_another_unit_works_with_is_left(
    staged: Stage, dome: LanHost, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = staged.begin(dome)
    handle = staged.up(kind)
    monkeypatch.setattr("processing_units.backend.lan_host.LOCK_SECONDS", 1)
    theirs = Path(dome.data) / "scratch" / "awworker-of-another-unit"
    theirs.mkdir()
    (theirs / "lock").touch()
    with subprocess.Popen(["flock", str(theirs / "lock"), "sleep", "120"], start_new_session=True) as holding:
        kind.configure(LanSettings(hosts=[]))
        let_go(dome)
        eventually(lambda: kind.ended([handle]), 20)
        eventually(lambda: (kind.ended([]), "another unit's cluster manager works there" in caplog.text)[1], 30)
        assert left_on(dome) == {"node-cache", "scratch"}
        os.killpg(holding.pid, signal.SIGKILL)


def test_a_cluster_manager_that_nobody_noted_is_asked_to_leave(staged: Stage, lan: ways.Lan, dome: LanHost) -> None:
    """The backend was killed between bringing it up and noting it."""
    staged.up(staged.begin(dome))
    [orphan] = workers(lan.hosts[0])
    kind = staged.begin(dome)
    assert kind.ended([]) == {}
    let_go(dome)
    eventually(lambda: (kind.ended([]), orphan not in workers(lan.hosts[0]))[1], 20)
    eventually(lambda: (kind.ended([]), kind._machines.held == {})[1], 20)
    staged.up(kind)
