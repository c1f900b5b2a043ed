"""What a node makes of its backend's answers, and what it lays out for the backend to take."""

from __future__ import annotations

import fcntl
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dataserver.cache import ReadThroughCache
from dataserver.client import UploadRefused
from dataserver.errors import CacheFull, DiskFull, FetchFailed, WrongDigest
from processing_units.cluster_manager.carrying import Carrier
from processing_units.contract import CarryAnswer, CarryRequest

BYTES = b"a frame of the night\n" * 1000
SHA256 = hashlib.sha256(BYTES).hexdigest()
URL = "http://portal/data/files/1?signature=1"
STAGING = "http://portal/data/staging/1?signature=1"
CARRIED = CarryAnswer().model_dump_json().encode() + b"\n"


class Backend:
    """Takes requests, does with each what the test says, and answers in the pieces that the test gives."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.requests: list[CarryRequest] = []
        self.work: Callable[[CarryRequest], object] = self._fill
        self.says = [CARRIED]
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = ("127.0.0.1", self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _fill(self, request: CarryRequest) -> None:
        if request.way == "in":
            (self.cache / "incoming" / request.name).write_bytes(BYTES)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.requests.append(CarryRequest.model_validate_json(lines.readline()))
                self.work(self.requests[-1])
                for piece in self.says:
                    connection.sendall(piece)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    made = Backend(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def carrier(backend: Backend) -> Carrier:
    return Carrier(backend.address, backend.cache)


@pytest.fixture
def cache(backend: Backend, carrier: Carrier) -> ReadThroughCache:
    return ReadThroughCache(backend.cache, 1 << 20, bring=carrier.bring)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    path = tmp_path / "p.fits"
    path.write_bytes(BYTES)
    return path


def test_a_file_is_asked_for_once(backend: Backend, cache: ReadThroughCache) -> None:
    for _ in range(2):
        with cache.fetch(SHA256, len(BYTES), URL) as lease:
            assert lease.path.read_bytes() == BYTES
    [request] = backend.requests
    assert (request.way, request.url, request.sha256, request.size) == ("in", URL, SHA256, len(BYTES))


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\n", b"\n\n", CARRIED],
        [CARRIED[:1], CARRIED[1:]],
        [b"\n" + CARRIED[:-1]],  # a backend that says no more and hangs up
    ],
)
def test_an_answer_may_come_in_pieces_after_signs_of_life(
    backend: Backend, cache: ReadThroughCache, pieces: list[bytes]
) -> None:
    backend.says = pieces
    cache.fetch(SHA256, len(BYTES), URL).close()


def test_an_answer_is_read_to_its_end(backend: Backend, carrier: Carrier, product: Path) -> None:
    said = CarryAnswer(error="{a brace}", hint="{and another}").model_dump_json().encode()
    middle = said.index(b"}") + 1
    backend.says = [said[:middle], said[middle:] + b"\n"]
    with pytest.raises(FetchFailed, match=r"\{a brace\}"):
        carrier.stage(STAGING, "p.fits", product, SHA256)


@pytest.mark.parametrize(
    ("answer", "error", "is_transient"),
    [
        (CarryAnswer(error="away", hint="wait"), FetchFailed, True),
        (CarryAnswer(error="not registered", hint="register it", transient=False), FetchFailed, False),
        (CarryAnswer(error="other bytes", hint="look", wrong_digest=True), WrongDigest, True),
    ],
)
def test_what_is_told_is_raised_as_if_fetched_by_oneself(
    backend: Backend, cache: ReadThroughCache, answer: CarryAnswer, error: type[FetchFailed], is_transient: bool
) -> None:
    backend.says = [answer.model_dump_json().encode() + b"\n"]
    with pytest.raises(error, match=answer.error) as raised:
        cache.fetch(SHA256, len(BYTES), URL)
    assert (raised.value.hint, raised.value.transient) == (answer.hint, is_transient)
    assert list((backend.cache / "incoming").iterdir()) == []


@pytest.mark.parametrize("pieces", [[], [b"\n"], [b"{}x\n"], [b'{"error": 7}\n'], [CARRIED[:-3]], [b"x" * (1 << 17)]])
def test_a_backend_that_hangs_up_or_talks_nonsense_is_asked_again(
    backend: Backend, carrier: Carrier, product: Path, pieces: list[bytes]
) -> None:
    backend.says = pieces
    with pytest.raises(FetchFailed, match=r"hung up|does not answer") as raised:
        carrier.stage(STAGING, "p.fits", product, SHA256)
    assert raised.value.transient
    assert list((backend.cache / "outgoing").iterdir()) == []


def test_a_backend_that_is_away_is_told(backend: Backend, carrier: Carrier, product: Path) -> None:
    backend.close()
    with pytest.raises(FetchFailed, match=r"carries files to and from this node, does not answer .*refused") as raised:
        carrier.stage(STAGING, "p.fits", product, SHA256)
    assert (raised.value.hint, raised.value.transient) == ("is awbackend running?", True)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (lambda path: path.write_bytes(BYTES[::-1]), WrongDigest),
        (lambda path: path.write_bytes(BYTES[:-1]), WrongDigest),
        (lambda path: path.write_bytes(BYTES + b"x"), WrongDigest),
        (lambda path: (path.unlink(), path.write_bytes(BYTES)), FetchFailed),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), FetchFailed),
        (lambda _: None, WrongDigest),  # it says that it carried, and has not
    ],
    ids=["other", "shorter", "longer", "another file", "a device", "nothing"],
)
def test_wrong_bytes_never_get_into_the_cache(
    backend: Backend, cache: ReadThroughCache, how: Callable[[Path], object], error: type[Exception]
) -> None:
    backend.work = lambda request: how(backend.cache / "incoming" / request.name)
    with pytest.raises(error):
        cache.fetch(SHA256, len(BYTES), URL)
    assert cache.names() == []
    assert list((backend.cache / "incoming").iterdir()) == []
    backend.work = backend._fill
    cache.fetch(SHA256, len(BYTES), URL).close()


def test_what_has_no_room_is_not_asked_for(
    backend: Backend, cache: ReadThroughCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CacheFull):
        cache.fetch(SHA256, 2 << 20, URL)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dataserver.cache.reserve_room", full)
    with pytest.raises(DiskFull):
        cache.fetch(SHA256, len(BYTES), URL)
    assert backend.requests == []


def test_a_product_is_laid_out_held_and_taken_back(backend: Backend, carrier: Carrier, product: Path) -> None:
    seen = []

    def look(request: CarryRequest) -> None:
        place = backend.cache / "outgoing" / request.name
        seen.append(place.read_bytes())
        Carrier(backend.address, backend.cache)  # another one begins, and tidies up
        assert place.exists()

    backend.work = look
    stored = carrier.stage(STAGING, "p q.fits", product, SHA256)
    assert (stored.sha256, stored.size, seen) == (SHA256, len(BYTES), [BYTES])
    [request] = backend.requests
    assert (request.way, request.url) == ("out", "http://portal/data/staging/1/p%20q.fits?signature=1")
    assert list((backend.cache / "outgoing").iterdir()) == []
    assert product.read_bytes() == BYTES


def test_a_product_on_another_file_system_is_copied(
    backend: Backend, carrier: Carrier, product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", elsewhere)
    test_a_product_is_laid_out_held_and_taken_back(backend, carrier, product)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        carrier.stage(STAGING, "p.fits", product, SHA256)
    assert list((backend.cache / "outgoing").iterdir()) == []


def test_a_refused_product_is_told_with_the_status(backend: Backend, carrier: Carrier, product: Path) -> None:
    answer = CarryAnswer(error="its disk is full", hint="make room", refused=507)
    backend.says = [answer.model_dump_json().encode() + b"\n"]
    with pytest.raises(UploadRefused, match="its disk is full") as raised:
        carrier.stage(STAGING, "p.fits", product, SHA256)
    assert (raised.value.status, raised.value.hint) == (507, "make room")


def test_what_a_killed_one_left_is_removed_and_what_is_held_stays(backend: Backend, carrier: Carrier) -> None:
    left, held = (backend.cache / "outgoing" / name for name in ("left", "held"))
    left.touch()
    with held.open("xb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        Carrier(backend.address, backend.cache)
        assert not left.exists()
        assert held.exists()
