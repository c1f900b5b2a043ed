"""Files are carried by real sftp to and from a node that lets nothing out, and nothing else is touched."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_unit import DATA_KEY, FakeUnit, eventually

from dataserver.cache import ReadThroughCache
from dataserver.client import UploadRefused
from dataserver.errors import FetchFailed, WrongDigest
from dataserver.signing import below, signed_url
from processing_units.backend.carrier import Carrier
from processing_units.backend.relay import Relay
from processing_units.backend.ssh_connection import SSH_CONFIG, SshConnection, Target, control_folder
from processing_units.cluster_manager.carrying import Carrier as NodeCarrier
from processing_units.contract import CarryAnswer, CarryRequest
from tests.ways import hosts as ways
from tests.ways.machines import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.timeout(300)]

NAME = "0123456789abcdef" * 2
BYTES = b"a frame of the night\n" * 10_000
MIB = 1 << 20


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ways.Host]:
    """A machine whose sshd takes commands and sftp; nothing else goes in or out."""
    ways.needs_hosts(("nft", "nftables"))
    lan = ways.Lan(tmp_path_factory.mktemp("lan"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SSH_CONFIG, str(lan.configuration))
        made = lan.add("dome")
        made.forbid_all_but_ssh()
        yield made
        lan.close()


@pytest.fixture(scope="module")
def shared_connection(tmp_path_factory: pytest.TempPathFactory, host: ways.Host) -> Iterator[SshConnection]:
    made = SshConnection(
        Target(host.address, "root", ways.PORT), control_folder(tmp_path_factory.mktemp("state"), "lan")
    )
    yield made
    made.close()


@pytest.fixture
def connection(shared_connection: SshConnection, host: ways.Host) -> SshConnection:
    if not host.answers():
        host.start()
    shared_connection.open()
    return shared_connection


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The node's cache, as a cluster manager has made it; its path has what a shell or sftp might take for its own."""
    folder = tmp_path / "the node's *cache*"
    for name in ("incoming", "outgoing"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def make_carrier(tmp_path: Path, connection: SshConnection, cache: Path, unit: FakeUnit) -> Callable[..., Carrier]:
    def make(server: str = "") -> Carrier:
        return Carrier(connection, str(cache), [unit.url], tmp_path / 'carried "files"', 100 * MIB, server)

    return make


@pytest.fixture
def carrier(make_carrier: Callable[..., Carrier]) -> Carrier:
    return make_carrier()


def bring(unit: FakeUnit, content: bytes = BYTES, **other: object) -> CarryRequest:
    """Ask for a file of the data server."""
    file = unit.add_file("frame.fits", content)
    return CarryRequest.model_validate(
        {"way": "in", "name": NAME, "url": file.url, "sha256": file.sha256, "size": file.size, **other}
    )


def staging(unit: FakeUnit) -> str:
    return signed_url(DATA_KEY, f"{unit.url}/data", "PUT", "/staging/1-1-abc")


def take(unit: FakeUnit, content: bytes, **other: object) -> CarryRequest:
    """Ask for a product to be handed in."""
    url = below(staging(unit), "p.fits")
    sha256 = hashlib.sha256(content).hexdigest()
    return CarryRequest.model_validate(
        {"way": "out", "name": NAME, "url": url, "sha256": sha256, "size": len(content), **other}
    )


def taken(tmp_path: Path) -> list[Path]:
    """What lies on the backend of products on their way."""
    return list((tmp_path / 'carried "files"').glob("taken/*"))


def test_a_file_is_brought_and_kept_for_other_nodes(carrier: Carrier, cache: Path, unit: FakeUnit) -> None:
    request = bring(unit)
    assert carrier.carry(request) == CarryAnswer()
    assert (cache / "incoming" / NAME).read_bytes() == BYTES
    unit.stop()  # the data server may be away: the file is here
    assert carrier.carry(request.model_copy(update={"name": NAME[::-1]})) == CarryAnswer()
    assert (cache / "incoming" / NAME[::-1]).read_bytes() == BYTES


def test_a_product_is_handed_in(carrier: Carrier, cache: Path, unit: FakeUnit, tmp_path: Path) -> None:
    (cache / "outgoing" / NAME).write_bytes(BYTES)
    request = take(unit, BYTES)
    assert carrier.carry(request) == CarryAnswer()
    unit.store.promote("1-1-abc", [request.sha256])
    assert unit.store.path(request.sha256).read_bytes() == BYTES
    assert taken(tmp_path) == []


def test_wrong_bytes_are_told(carrier: Carrier, cache: Path, unit: FakeUnit, tmp_path: Path) -> None:
    brought = carrier.carry(bring(unit, sha256="0" * 64))
    assert (brought.wrong_digest, brought.transient) == (True, True)
    assert list((cache / "incoming").iterdir()) == []
    (cache / "outgoing" / NAME).write_bytes(BYTES[::-1])
    handed_in = carrier.carry(take(unit, BYTES))
    assert (handed_in.refused, handed_in.transient) == (422, True)
    (cache / "outgoing" / NAME).write_bytes(BYTES[:-1])
    assert carrier.carry(take(unit, BYTES)).error == f"{len(BYTES) - 1} bytes came from the node, not {len(BYTES)}"
    assert taken(tmp_path) == []


def test_what_the_data_server_refuses_is_told_in_its_words(carrier: Carrier, cache: Path, unit: FakeUnit) -> None:
    request = bring(unit)
    forged = carrier.carry(request.model_copy(update={"url": request.url[:-1]}))
    assert (forged.transient, "answered 403" in forged.error) == (False, True)
    (cache / "outgoing" / NAME).write_bytes(BYTES)
    handed_in = take(unit, BYTES)
    refused = carrier.carry(handed_in.model_copy(update={"url": handed_in.url[:-1]}))
    assert (refused.refused, refused.transient) == (403, False)


def test_no_other_server_is_asked(carrier: Carrier, cache: Path, unit: FakeUnit, files: Path) -> None:
    (cache / "outgoing" / NAME).write_bytes(BYTES)
    other = FakeUnit(files / "other", "redis://127.0.0.1:1/0")
    other.start()
    try:
        for request in (bring(other), take(other, BYTES)):
            answer = carrier.carry(request)
            assert "is not below a registered data server" in answer.error
            assert not answer.transient
        for address in ("file:///etc/passwd", f"{unit.url}/data/../admin", "http:"):
            assert not carrier.carry(bring(unit, url=address)).transient
        assert other.refused == []
        assert list((other.store.root / "staging").iterdir()) == []
    finally:
        other.stop()


@pytest.mark.parametrize(
    "name", ["", "../" + NAME, NAME + "/x", NAME + "\n", NAME + "-" + "1" * 20, '"', NAME[:-1] + "*", NAME.upper()]
)
def test_names_that_lead_elsewhere_are_no_request(carrier: Carrier, unit: FakeUnit, name: str) -> None:
    text = bring(unit).model_dump_json().replace(NAME, name.replace("\n", "\\n").replace('"', '\\"'))
    with carrier.connected() as connection:
        connection.settimeout(60)
        connection.sendall(text.encode() + b"\n")
        answer = CarryAnswer.model_validate_json(connection.recv(4096))
    assert answer.error.startswith("no request: ")
    assert not answer.transient


@pytest.mark.parametrize("what", ["a device", "a pipe", "a folder", "a larger file", "nothing"])
def test_what_is_no_product_fills_no_disk_and_holds_up_nothing(
    carrier: Carrier, cache: Path, unit: FakeUnit, tmp_path: Path, what: str
) -> None:
    place = cache / "outgoing" / NAME
    if what == "a device":
        place.symlink_to("/dev/zero")
    elif what == "a pipe":
        os.mkfifo(place)
    elif what == "a folder":
        place.mkdir()
    elif what == "a larger file":
        with place.open("wb") as stream:
            stream.truncate(1 << 40)
    answer = carrier.carry(take(unit, BYTES))
    assert answer.error
    assert taken(tmp_path) == []
    (place.rmdir if what == "a folder" else place.unlink)(*([] if what == "a folder" else [True]))
    place.write_bytes(BYTES)
    assert carrier.carry(take(unit, BYTES)) == CarryAnswer()


def test_a_connection_that_is_cut_in_mid_file_is_told_and_comes_back(
    carrier: Carrier, cache: Path, unit: FakeUnit, host: ways.Host, connection: SshConnection
) -> None:
    request = bring(unit, os.urandom(8 * MIB))
    place = cache / "incoming" / NAME
    with host.slow_link("8mbit"), ThreadPoolExecutor(1) as pool:
        carrying = pool.submit(carrier.carry, request)
        wait_for(lambda: place.exists() and place.stat().st_size, "a part of it")
        host.stop_sshd()
        answer = carrying.result()
    assert "a file could not be carried by sftp" in answer.error
    assert answer.transient
    assert place.stat().st_size < request.size
    host.start()
    connection.open()
    assert carrier.carry(request) == CarryAnswer()
    assert hashlib.sha256(place.read_bytes()).hexdigest() == request.sha256


def test_a_product_of_which_a_part_came_is_not_handed_in(
    carrier: Carrier, cache: Path, unit: FakeUnit, host: ways.Host, tmp_path: Path
) -> None:
    content = os.urandom(8 * MIB)
    (cache / "outgoing" / NAME).write_bytes(content)
    with host.slow_link("8mbit"), ThreadPoolExecutor(1) as pool:
        carrying = pool.submit(carrier.carry, take(unit, content))
        wait_for(lambda: any(path.stat().st_size for folder in taken(tmp_path) for path in folder.iterdir()), "a part")
        host.stop_sshd()
        answer = carrying.result()
    assert "a file could not be carried by sftp" in answer.error
    assert answer.transient
    assert taken(tmp_path) == []
    assert all(stored.size != len(content) for stored in unit.store.staged("1-1-abc"))


def test_a_full_disk_of_the_node_is_told(
    carrier: Carrier, cache: Path, unit: FakeUnit, connection: SshConnection
) -> None:
    incoming = ways.quoted(str(cache / "incoming"))
    connection.run(f"mount -t tmpfs -o size=1m tmpfs {incoming}")
    try:
        answer = carrier.carry(bring(unit, os.urandom(2 * MIB)))
    finally:
        connection.run(f"umount {incoming}")
    assert "a file could not be carried by sftp" in answer.error
    assert answer.transient


def test_a_full_disk_of_the_backend_is_told(carrier: Carrier, unit: FakeUnit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processing_units.backend.carrier.LEAST_FREE_BYTES", 1 << 60)
    for request in (bring(unit), take(unit, BYTES)):
        answer = carrier.carry(request)
        assert answer.error.startswith(f"the backend has no room for {len(BYTES)} bytes")
        assert answer.transient


def test_a_node_without_sftp_is_told_what_to_install(make_carrier: Callable[..., Carrier], unit: FakeUnit) -> None:
    answer = make_carrier("exit 1").carry(bring(unit))
    assert "Subsystem sftp internal-sftp`, and install openssh-sftp-server" in answer.error


# ------------------------------------------------------------------------------------------------ with the node's end


@pytest.fixture
def node(carrier: Carrier, cache: Path) -> Iterator[NodeCarrier]:
    """The node's end, which reaches the backend's through a relay."""
    relay = Relay(
        [sys.executable, "-m", "processing_units.joining.stream_relay", "carrier=127.0.0.1:0"],
        lambda _: carrier.connected(),
    )
    port = relay.start()["carrier"]
    yield NodeCarrier(("127.0.0.1", port), cache)
    relay.stop()


def test_the_cache_of_a_node_is_filled_and_products_leave_it(
    node: NodeCarrier, cache: Path, unit: FakeUnit, tmp_path: Path
) -> None:
    files = ReadThroughCache(cache, 10 * MIB, bring=node.bring)
    wanted = [unit.add_file(f"{number}.fits", bytes([number]) * MIB) for number in range(6)]
    with ThreadPoolExecutor(len(wanted)) as pool:
        leases = list(pool.map(lambda file: files.fetch(file.sha256, file.size, file.url), wanted))
    assert [lease.path.read_bytes()[:1] for lease in leases] == [bytes([number]) for number in range(6)]
    assert list((cache / "incoming").iterdir()) == []
    product = tmp_path / "p.fits"
    product.write_bytes(BYTES)
    sha256 = hashlib.sha256(BYTES).hexdigest()
    stored = node.stage(staging(unit), "p.fits", product, sha256)
    assert (stored.sha256, stored.size) == (sha256, len(BYTES))
    unit.store.promote("1-1-abc", [sha256])
    assert unit.store.path(sha256).read_bytes() == BYTES
    assert list((cache / "outgoing").iterdir()) == []


def test_the_node_hears_what_went_wrong(
    node: NodeCarrier, cache: Path, unit: FakeUnit, host: ways.Host, tmp_path: Path
) -> None:
    files = ReadThroughCache(cache, 10 * MIB, bring=node.bring)
    file = unit.add_file("f.fits", BYTES)
    with pytest.raises(WrongDigest):
        files.fetch("0" * 64, file.size, file.url)
    with pytest.raises(FetchFailed, match="is not below a registered data server"):
        files.fetch(file.sha256, file.size, file.url.replace("127.0.0.1", "127.0.0.2"))
    product = tmp_path / "p.fits"
    product.write_bytes(BYTES)
    with pytest.raises(UploadRefused) as refused:
        node.stage(staging(unit), "p.fits", product, "0" * 64)
    assert refused.value.status == 422
    host.stop_sshd()
    with pytest.raises(FetchFailed, match="a file could not be carried by sftp") as cut:
        files.fetch(file.sha256, file.size, file.url)
    assert cut.value.transient
    assert [list((cache / name).iterdir()) for name in ("incoming", "outgoing")] == [[], []]


def test_who_says_nothing_or_leaves_holds_up_no_other(carrier: Carrier, unit: FakeUnit) -> None:
    silent = carrier.connected()
    gone = carrier.connected()
    gone.sendall(bring(unit).model_dump_json().encode() + b"\n")
    gone.close()
    assert carrier.carry(bring(unit)) == CarryAnswer()
    silent.close()
    eventually(lambda: not any(thread.name == "carrier" for thread in threading.enumerate()), 20, "their ends")
