"""What all kinds of backend share: keep the wanted number of cluster managers up, and take them down in order.

What is wanted, and the settings of the kind, come from the unit's frontend, so that a process manager changes them
while all goes on; while the frontend is away the last directions hold. Handles of the cluster managers are kept in a
file, so that a backend which is restarted goes on with those that are there.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from processing_units.backend.frontend_link import FrontendAwayError, FrontendLink
from processing_units.backend.kind import (
    DRAINED,
    BringUpError,
    Check,
    Directions,
    Kind,
    SettingsError,
    Standing,
    settings_of,
)
from processing_units.contract import BackendDirections, BackendReport, CheckReport, KeyRequest, PlaceReport, PlaceState
from processing_units.named_points import reach

log = logging.getLogger(__name__)

SETTLED_SECONDS = 60.0
SHORTEST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STOP_SECONDS = 15.0
SHORTEST_WAIT_SECONDS = 0.5  # two signals in one moment may arrive as one
REPORT_SECONDS = 5.0
LEAST_REPORT_SECONDS = 4.0  # so much sooner when something has changed
LARGEST_LOG_BYTES = 10 * 1024 * 1024


@dataclass
class Place:
    """The place of one of the wanted cluster managers: what is in it now, and when to try again."""

    number: int
    handle: str = ""
    slots: int = 0
    since: float = field(default_factory=time.monotonic)
    pause: float = field(default=SHORTEST_PAUSE_SECONDS)
    not_before: float = 0.0
    reason: str = ""
    before: str = ""


@dataclass(frozen=True)
class Fixed:
    """What the command line says, which goes before what the frontend wants."""

    cluster_managers: int | None = None
    slots: int | None = None


class Backend:
    """Supervises the cluster managers of one unit.

    Parameters
    ----------
    kind : Kind
        How they are brought up.
    frontend : FrontendLink
        Where reports go, and directions and keys come from.
    directions : Directions
        The same for all, but for number, key, log file and slots.
    fixed : Fixed
        What the frontend may not change.
    drain_seconds : float
        How long jobs may go on when the backend is asked to end.
    """

    def __init__(
        self, kind: Kind, frontend: FrontendLink, directions: Directions, fixed: Fixed, drain_seconds: float
    ) -> None:
        self._kind = kind
        self._frontend = frontend
        self._directions = directions
        self._fixed = fixed
        self._drain_seconds = drain_seconds
        self._wanted: BackendDirections | None = None
        self._places: list[Place] = []
        self._surplus: list[str] = []
        self._void: list[int] = []
        self._keys: dict[str, int] = {}
        self._file = directions.state / f"{directions.unit}.cluster-managers.json"
        self._asked_to_end = 0
        self._report_at = 0.0
        self._reported: list[tuple[str, Standing]] = []
        self._complained = ""
        self._testing: threading.Thread | None = None
        self._found: tuple[int, list[CheckReport]] = (0, [])

    def ask_to_end(self) -> None:
        """Drain and end; asked a second time, stop at once."""
        self._asked_to_end += 1  # and no more: this runs in a signal handler

    def run(self) -> None:
        """Keep the cluster managers up until asked to end."""
        self._directions.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directions.log_file.parent.mkdir(parents=True, exist_ok=True)
        with (self._directions.state / f"{self._directions.unit}.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise FileExistsError(
                    f"another backend of unit {self._directions.unit} runs with the state in {self._directions.state}"
                ) from error
            self._kind.begin(self._directions)
            self._adopt()
            while not self._asked_to_end:
                self._look()
                time.sleep(self._kind.look_seconds)
            self._take_down()
            self._report()
            self._kind.close()

    # ----------------------------------------------------------------------------------------- what the frontend wants

    def _report(self) -> None:
        """Say how the cluster managers stand; learn what is wanted."""
        now = time.monotonic()
        self._report_at = now + REPORT_SECONDS
        standing = self._kind.standing([place.handle for place in self._places if place.handle])
        self._reported = [(place.handle, standing.get(place.handle, Standing())) for place in self._places]
        places = [self._report_of(place, standing.get(place.handle, Standing()), now) for place in self._places]
        places += [
            PlaceReport(number=0, state=PlaceState.DRAINING, handle=handle[:200], reason="more than are wanted")
            for handle in self._surplus
        ]
        tested, checks = self._found
        message = BackendReport(
            backend=f"{socket.gethostname()}:{os.getpid()}"[:200],
            kind=self._kind.name,
            places=places,
            tested=tested,
            checks=checks,
        )
        try:
            directions = self._frontend.report(message)
        except BringUpError as error:
            self._report_at = now + SHORTEST_PAUSE_SECONDS
            self._complain(str(error))
            return
        self._complain("")
        if tested:
            self._found = (0, [])
        self._take(directions)
        if directions.test and directions.test != tested:
            self._begin_test(directions.test)

    def _has_changed(self) -> bool:
        """Whether the cluster managers stand otherwise than was reported."""
        standing = self._kind.standing([place.handle for place in self._places if place.handle])
        return [(place.handle, standing.get(place.handle, Standing())) for place in self._places] != self._reported

    def _begin_test(self, number: int) -> None:
        """Look at what cluster managers need, beside all else, as a host that is away takes its time."""
        if self._testing is None or not self._testing.is_alive():
            self._testing = threading.Thread(target=self._test, args=(number,), name="test", daemon=True)
            self._testing.start()

    def _test(self, number: int) -> None:
        try:
            found = self._kind.test(self._directions)
        except Exception as error:  # the edge: whoever waits for the outcome hears of it
            log.exception("the test failed")
            found = [Check("backend", "test", False, f"defect of the backend: {error!r}")]
        self._found = (
            number,
            [
                CheckReport(where=each.where[:200], what=each.what[:40], is_well=each.is_well, says=each.says[:1000])
                for each in found
            ],
        )
        self._report_at = 0.0

    @staticmethod
    def _report_of(place: Place, standing: Standing, now: float) -> PlaceReport:
        return PlaceReport(
            number=place.number,
            state=standing.state if place.handle else PlaceState.WAITING,
            handle=place.handle[:200],
            node=standing.node[:120],
            reason=(standing.reason if place.handle else place.reason)[:1000],
            seconds=now - place.since,
            before=place.before[:1000],
        )

    def _take(self, directions: BackendDirections) -> None:
        """Follow new directions; settings that are not understood are complained of, and the old ones hold."""
        if self._fixed.cluster_managers is not None:
            directions = directions.model_copy(update={"cluster_managers": self._fixed.cluster_managers})
        before = self._wanted
        if before is None or before.settings != directions.settings:
            try:
                self._kind.configure(settings_of(type(self._kind), directions.settings))
            except SettingsError as error:
                self._complain(f"the unit's settings: {error}")
                if before is None:
                    return
                directions = directions.model_copy(update={"settings": before.settings})
        if directions.kind != self._kind.name:
            self._complain(f"the unit is of kind {directions.kind} now: start awbackend anew")
        self._wanted = directions
        self._make_places(self._kind.wanted(directions))

    def _make_places(self, wanted: int) -> None:
        """Make room for the wanted number; more than are allowed drain, what only waits is called back."""
        for place in self._not_wanted(wanted):
            if place.handle:
                log.info("cluster manager %d (%s) is not wanted any more: it drains", place.number, place.handle)
                self._retire(place)
            self._places.remove(place)
        numbers = {place.number for place in self._places}
        free = (number for number in itertools.count(1) if number not in numbers)
        self._places += [Place(next(free)) for _ in range(wanted - len(self._places))]
        self._places.sort(key=lambda place: place.number)
        for place in self._places:
            if place.handle and 0 < place.slots < self._share():
                log.info("cluster manager %d has %d slots of %d: replaced", place.number, place.slots, self._share())
                self._retire(place)

    def _not_wanted(self, wanted: int) -> list[Place]:
        """Return the places to give up: empty ones first, then what waits, what leaves, any above what is allowed."""
        standing = self._kind.standing([place.handle for place in self._places if place.handle])
        waiting = {handle for handle, how in standing.items() if how.state in (PlaceState.QUEUED, PlaceState.HELD)}
        leaving = {handle for handle, how in standing.items() if how.state == PlaceState.DRAINING}

        def order(place: Place) -> tuple[bool, bool, bool, int]:
            return bool(place.handle), place.handle not in waiting, place.handle not in leaving, -place.number

        surplus, over = len(self._places) - wanted, len(self._places) - self._allowed
        return [
            place
            for position, place in enumerate(sorted(self._places, key=order))
            if position < (surplus if not place.handle or place.handle in waiting else over)
        ]

    @property
    def _allowed(self) -> int:
        """Return how many cluster managers there may be."""
        return self._kind.allowed(self._wanted) if self._wanted is not None else 1

    def _retire(self, place: Place) -> None:
        self._kind.drain(place.handle)
        self._surplus.append(place.handle)
        place.handle, place.since, place.not_before = "", time.monotonic(), 0.0
        self._note()

    def _share(self) -> int:
        """Return the slots of one cluster manager."""
        if self._fixed.slots is not None:
            return self._fixed.slots
        slots = self._wanted.slots if self._wanted is not None else 1
        return self._kind.slots(math.ceil(slots / max(1, self._allowed)))

    def _complain(self, what: str) -> None:
        """Say a thing once, and that it is over."""
        if what and what != self._complained:
            log.warning("%s", what)
        elif not what and self._complained:
            log.info("the frontend answers again")
        self._complained = what

    # ------------------------------------------------------------------------------------------------ up and kept up

    def _adopt(self) -> None:
        """Go on with the cluster managers of a backend that died."""
        try:
            noted = [(str(handle), int(slots), int(key)) for handle, slots, key in json.loads(self._file.read_text())]
        except (OSError, ValueError, TypeError):
            return
        gone = self._kind.ended([handle for handle, _, _ in noted])
        for handle, slots, key in noted:
            self._keys[handle] = key
            if handle in gone:
                self._forget(handle)
            else:
                self._places.append(Place(len(self._places) + 1, handle, slots))
                log.info("cluster manager %d (%s) is still up", len(self._places), handle)

    def _look(self) -> None:
        """Note what has ended, ask what is wanted, bring it up."""
        gone = self._kind.ended([place.handle for place in self._places if place.handle])
        now = time.monotonic()
        for place in self._places:
            if place.handle in gone:
                self._has_ended(place, gone[place.handle], now)
        before = len(self._surplus)
        for handle in self._kind.ended(self._surplus) if self._surplus else ():
            self._surplus.remove(handle)
            self._forget(handle)
        if gone or before != len(self._surplus):
            self._note()
        if now >= self._report_at or (self._has_changed() and now >= self._report_at - LEAST_REPORT_SECONDS):
            self._report()
        for place in self._places if self._wanted is not None else []:
            if not place.handle and now >= place.not_before:
                self._bring_up(place)

    def _has_ended(self, place: Place, how: str, now: float) -> None:
        in_order = how == DRAINED
        if in_order or now - place.since > SETTLED_SECONDS:
            place.pause = SHORTEST_PAUSE_SECONDS
        log.log(
            logging.INFO if in_order else logging.WARNING,
            "cluster manager %d (%s) %s; a new one in %.0f s, see %s",
            *(place.number, place.handle, how, place.pause, self._log_of(place.number)),
        )
        self._forget(place.handle)
        place.before = "" if in_order else f"{place.handle} {how}"
        self._pause(place, f"the one before it {how}", now)
        self._report_at = now

    def _forget(self, handle: str) -> None:
        """Have the key of a cluster manager that has ended made void with the next that is asked for."""
        key = self._keys.pop(handle, 0)
        if key:
            self._void.append(key)

    @staticmethod
    def _pause(place: Place, reason: str, now: float) -> None:
        place.handle, place.since, place.reason = "", now, reason
        place.not_before = now + place.pause
        place.pause = min(LONGEST_PAUSE_SECONDS, place.pause * 2)

    def _bring_up(self, place: Place) -> None:
        try:
            slots = self._share()
            key, key_file = self._new_key(place.number)
            reach("backend.key-written")
            directions = replace(
                self._directions,
                number=place.number,
                slots=slots,
                key_file=key_file,
                log_file=self._log_of(place.number),
            )
            _rotate(directions.log_file)
            place.handle = self._kind.bring_up(directions)
            reach("backend.brought-up")
        except FrontendAwayError as error:
            place.not_before = time.monotonic() + SHORTEST_PAUSE_SECONDS
            self._complain(str(error))
            return
        except (BringUpError, OSError) as error:
            log.error("cluster manager %d: %s; tried again in %.0f s", place.number, error, place.pause)
            self._pause(place, str(error), time.monotonic())
            return
        place.since, place.slots, place.reason = time.monotonic(), slots, ""
        self._keys[place.handle] = key
        log.info("cluster manager %d is brought up (%s)", place.number, place.handle)
        self._note()
        reach("backend.noted")

    def _new_key(self, number: int) -> tuple[int, Path]:
        """Write a new key for a place where only we read it; return its number and the file."""
        void = list(self._void)
        request = KeyRequest(place=number, valid_seconds=self._kind.key_seconds, void=void)
        new = self._frontend.new_key(request)
        self._void = self._void[len(void) :]
        path = self._directions.state / f"{self._directions.unit}-{number}.key"
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            stream.write(new.key + "\n")
        draft.replace(path)
        return new.number, path

    # ----------------------------------------------------------------------------------------------------------- down

    def _take_down(self) -> None:
        """Drain all; what is still there after a while is stopped, then killed."""
        kind = self._kind
        asks: list[tuple[Callable[[str], None], float]] = [
            (kind.drain, self._drain_seconds),
            (kind.stop, STOP_SECONDS),
            (kind.kill, STOP_SECONDS),
        ]
        for ask, seconds in asks:
            left = self._left()
            if not left:
                break
            log.info("%s: %s", ask.__name__, ", ".join(left))
            for handle in left:
                ask(handle)
            self._wait_for_end(seconds, may_hurry=ask == kind.drain)
        for place in self._places:
            (self._directions.state / f"{self._directions.unit}-{place.number}.key").unlink(missing_ok=True)
        self._note()

    def _wait_for_end(self, seconds: float, *, may_hurry: bool) -> None:
        until = time.monotonic() + max(seconds, SHORTEST_WAIT_SECONDS)
        while time.monotonic() < until and self._left():
            if may_hurry and self._asked_to_end > 1:
                return
            time.sleep(min(0.1, self._kind.look_seconds))

    def _left(self) -> list[str]:
        handles = [place.handle for place in self._places if place.handle] + self._surplus
        gone = self._kind.ended(handles)
        for place in self._places:
            if place.handle in gone:
                place.handle, place.reason = "", "the backend has ended"
        self._surplus = [handle for handle in self._surplus if handle not in gone]
        return [handle for handle in handles if handle not in gone]

    def _note(self) -> None:
        held = [(place.handle, place.slots) for place in self._places if place.handle]
        held += [(handle, 0) for handle in self._surplus]
        noted = [(handle, slots, self._keys.get(handle, 0)) for handle, slots in held]
        partial = self._file.with_suffix(".part")
        partial.write_text(json.dumps(noted))
        partial.replace(self._file)

    def _log_of(self, number: int) -> Path:
        log_file = self._directions.log_file
        return log_file.with_name(f"{log_file.stem}-{number}{log_file.suffix}")


def _rotate(path: Path) -> None:
    if path.exists() and path.stat().st_size > LARGEST_LOG_BYTES:
        os.replace(path, path.with_name(path.name + ".1"))
