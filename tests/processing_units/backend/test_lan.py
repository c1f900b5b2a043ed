"""Hosts by ssh that are not as they should be: each is refused with the commands that mend it, or waited for."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from processing_units.backend.host_checks import check_host
from processing_units.backend.kind import BringUpError, Directions
from processing_units.backend.kinds.lan import Lan, LanSettings
from processing_units.backend.lan_host import LanHost
from processing_units.backend.ssh_connection import SSH_CONFIG, SshConnection, SshError, Target, control_folder, explain
from processing_units.contract import BackendDirections
from tests.ways import hosts as ways

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# Stands for the one file: it says what it was given, then waits as a cluster manager does.
WORKER = """
import json, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit(0)))
print(json.dumps({"arguments": sys.argv[1:], "key": sys.stdin.readline().strip()}), flush=True)
while True:
    time.sleep(0.1)
"""
KEY = "the-key-of-this-one"


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture
def lan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ways.Lan]:
    ways.needs_hosts()
    made = ways.Lan(tmp_path / "lan")
    monkeypatch.setenv(SSH_CONFIG, str(made.configuration))
    yield made
    made.close()


@pytest.fixture
def host(lan: ways.Lan) -> ways.Host:
    return lan.add("dome")


@pytest.fixture
def frontend() -> Iterator[str]:
    """Something that answers on this machine's loopback alone."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def connection(tmp_path: Path, host: ways.Host) -> Iterator[SshConnection]:
    made = SshConnection(Target(host.address, "root", ways.PORT), control_folder(tmp_path / "state", "lan"))
    yield made
    made.close()


def test_the_tunnel_goes_where_the_host_itself_does_not_reach(
    connection: SshConnection, host: ways.Host, frontend: str
) -> None:
    connection.open()
    reached = connection.reach(frontend)
    assert connection.reach(frontend) == reached  # one tunnel
    answered = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], method='HEAD'), timeout=3)"
    connection.run(f"{sys.executable} -c {ways.quoted(answered)} {reached}")
    port = frontend.rpartition(":")[2]
    with pytest.raises(SshError):
        connection.run(f"{sys.executable} -c {ways.quoted(answered)} http://{host.ours}:{port}")


def test_a_host_that_is_well(connection: SshConnection, host: ways.Host, frontend: str) -> None:
    checks = check_host(connection, sys.executable, str(host.home / "aw"), [frontend])
    assert [(check.what, check.is_well) for check in checks] == [
        ("key", True), ("Python", True), ("disk", True), ("clock", True), ("reach", True)
    ]  # fmt: skip


def test_a_host_that_lacks_much(connection: SshConnection, frontend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        nobody = f"redis://127.0.0.1:{probe.getsockname()[1]}"
    checks = check_host(connection, sys.executable, "/proc/no/folder", [frontend, nobody])
    wrong = {check.what: check.says for check in checks if not check.is_well}
    assert wrong["disk"].endswith("set remote_path to a folder of this user's") or "make room" in wrong["disk"]
    assert wrong["reach"].startswith(f"{nobody} does not answer through the tunnel")
    [_, no_python] = check_host(connection, "/no/python3", "aw", [])
    assert no_python.what == "Python"
    assert "set its path in the unit's settings" in no_python.says


def test_a_host_that_needs_a_password(connection: SshConnection, host: ways.Host) -> None:
    host.authorized_keys.write_text("")
    [check] = check_host(connection, "python3", "aw", [])
    assert not check.is_well
    assert "make one with `ssh-keygen -t ed25519`" in check.says
    assert f"`ssh-copy-id -p {ways.PORT} root@{host.address}`" in check.says


def test_a_host_whose_key_is_not_known(connection: SshConnection, lan: ways.Lan, host: ways.Host) -> None:
    lan.known_hosts.write_text("")
    with pytest.raises(SshError, match=f"`ssh -p {ways.PORT} root@{host.address}` once, compare the fingerprint"):
        connection.open()


def test_a_host_that_is_another_now(connection: SshConnection, lan: ways.Lan, host: ways.Host) -> None:
    other = subprocess.run(["ssh-keygen", "-y", "-f", str(lan.user_key)], capture_output=True, text=True, check=True)
    lan.known_hosts.write_text(f"[{host.address}]:{ways.PORT} {other.stdout}")
    with pytest.raises(SshError, match="shows another host key than the known one"):
        connection.open()


def test_a_host_that_allows_no_tunnels(connection: SshConnection, host: ways.Host, frontend: str) -> None:
    with (host.folder / "sshd_config").open("a") as configuration:
        configuration.write("AllowTcpForwarding no\n")
    host.restart_sshd()
    checks = check_host(connection, sys.executable, "aw", [frontend])
    assert checks[-1].what == "tunnels"
    assert "AllowTcpForwarding yes" in checks[-1].says


def test_a_host_that_is_not_there(tmp_path: Path, lan: ways.Lan) -> None:
    connection = SshConnection(Target("127.0.0.1", "root", 1), control_folder(tmp_path / "state", "lan"))
    with pytest.raises(SshError, match=r"127\.0\.0\.1 is not reached: .*Connection refused"):
        connection.open()


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "a b", "", "$(id)", "a;b"])
def test_names_that_are_no_names_are_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        LanHost(host=host)


def test_what_ssh_says_is_explained() -> None:
    assert explain("ssh: Could not resolve hostname dome: Name or service not known\n", Target("dome")) == (
        "dome is not reached: ssh: Could not resolve hostname dome: Name or service not known"
    )
    assert "ssh-copy-id dome`" in explain("anna@dome: Permission denied (publickey,password).", Target("dome"))


class Managed:
    """The kind with its directions, and hosts that run what stands for the one file."""

    def __init__(self, folder: Path, frontend: str, hosts: list[LanHost]) -> None:
        key_file = folder / "key"
        key_file.write_text(KEY + "\n")
        self.directions = Directions(
            number=1, unit="lan", url=frontend, key_file=key_file, log_file=folder / "log", state=folder / "state",
            slots=1, arguments=("--quit-when-idle", "60"),
        )  # fmt: skip
        self.hosts = hosts
        self.kind = self.begun()

    def begun(self) -> Lan:
        kind = Lan()
        kind.begin(self.directions)
        kind.configure(LanSettings(hosts=self.hosts))
        return kind


@pytest.fixture
def managed(tmp_path: Path, host: ways.Host, frontend: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Managed]:
    monkeypatch.setattr("processing_units.backend.lan_host.single_file", WORKER.encode)
    entry = LanHost(
        host=host.address, user="root", port=ways.PORT, remote_path=str(host.home / "a w"), python=sys.executable,
        niceness=7, slots=3,
    )  # fmt: skip
    made = Managed(tmp_path, frontend, [entry, entry])
    yield made
    made.kind.close()


def workers(host: ways.Host) -> list[str]:
    return [line for line in host.command_lines() if " awworker " in line]  # one that has ended has none


def test_a_cluster_manager_from_its_start_to_its_end(managed: Managed, host: ways.Host) -> None:
    handle = managed.kind.bring_up(managed.directions)
    log = host.home / "a w" / "logs" / "lan-1.log"
    wait_for(lambda: log.exists() and KEY in log.read_text())
    [line] = workers(host)
    assert KEY not in line
    assert "--key-file - --slots 3" in line
    assert line.rstrip().count("--quit-when-idle 60") == 1
    number = int(handle.split()[1])
    assert Path(f"/proc/{number}/stat").read_text().split()[18] == "7"  # its niceness
    assert managed.kind.ended([handle]) == {}
    assert managed.kind.standing([handle])[handle].node == host.address
    managed.kind.drain(handle)
    wait_for(lambda: managed.kind.ended([handle]))
    assert workers(host) == []


def test_one_that_ends_says_its_last_words(managed: Managed, host: ways.Host) -> None:
    handle = managed.kind.bring_up(managed.directions)
    log = host.home / "a w" / "logs" / "lan-1.log"
    wait_for(lambda: log.exists() and KEY in log.read_text())
    managed.kind.drain(handle)
    wait_for(lambda: "drained" in log.read_text())
    wait_for(lambda: workers(host) == [])
    assert managed.kind.ended([handle]) == {handle: "ended; its log ends: drained"}


def test_one_that_ends_without_a_word_has_ended(managed: Managed, host: ways.Host) -> None:
    handle = managed.kind.bring_up(managed.directions)
    managed.kind.kill(handle)
    (host.home / "a w" / "logs" / "lan-1.log").write_text("")
    wait_for(lambda: handle in managed.kind.ended([handle]))


def test_a_host_named_twice_gives_two_and_no_third(managed: Managed, host: ways.Host) -> None:
    handles = [managed.kind.bring_up(replace(managed.directions, number=number)) for number in (1, 2)]
    wait_for(lambda: len(workers(host)) == 2)
    with pytest.raises(BringUpError, match="all hosts have their cluster managers"):
        managed.kind.bring_up(managed.directions)
    for handle in handles:
        managed.kind.kill(handle)
    wait_for(lambda: len(managed.kind.ended(handles)) == 2)


def test_the_hosts_say_how_many_unless_none_is_wanted(managed: Managed) -> None:
    one = BackendDirections(unit="lan", kind="lan", cluster_managers=1, slots=1)
    none = one.model_copy(update={"cluster_managers": 0})
    kind = managed.kind
    assert (kind.wanted(one), kind.allowed(one), kind.wanted(none), kind.allowed(none)) == (2, 2, 0, 0)


def test_a_backend_that_is_started_anew_knows_it_again(managed: Managed, host: ways.Host) -> None:
    handle = managed.kind.bring_up(managed.directions)
    again = managed.begun()
    assert again.ended([handle]) == {}
    again.kill(handle)
    wait_for(lambda: handle in again.ended([handle]))


def test_a_host_that_vanishes_is_waited_for(
    managed: Managed, host: ways.Host, frontend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = managed.kind.bring_up(managed.directions)
    wait_for(lambda: len(workers(host)) == 1)
    port = managed.kind.connection(Target.read(handle.split()[0])).reach(frontend)
    host.stop_sshd()
    managed.kind.connection(Target.read(handle.split()[0])).hang_up()
    assert managed.kind.ended([handle]) == {}
    assert "is not reached" in managed.kind.standing([handle])[handle].reason
    host.start()
    assert managed.kind.ended([handle]) == {}
    assert managed.kind.standing([handle])[handle].reason == ""
    assert managed.kind.connection(Target.read(handle.split()[0])).reach(frontend) == port
    host.stop_sshd()
    managed.kind.connection(Target.read(handle.split()[0])).hang_up()
    monkeypatch.setattr("processing_units.backend.kinds.lan.LOST_SECONDS", 0.0)
    assert "was lost with its host" in managed.kind.ended([handle])[handle]
    host.start()
    new = managed.kind.bring_up(managed.directions)
    wait_for(lambda: len(workers(host)) == 1)  # the lost one was ended first
    managed.kind.kill(new)
    wait_for(lambda: workers(host) == [])
