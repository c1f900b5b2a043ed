"""The cluster manager: fork server, slots, hints, heartbeat and watchdog of one node, from joining to leaving.

The main thread starts and tends the fork server and hears the signals; all else has threads of its own.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dataserver.cache import ReadThroughCache
from dataserver.client import stage
from processing_units.cluster_manager.attempt import Attempt, Node
from processing_units.cluster_manager.backoff import Backoff
from processing_units.cluster_manager.carrying import Carrier
from processing_units.cluster_manager.confinement import Confinement, find_confinement
from processing_units.cluster_manager.fork_server import ForkServer, ForkServerError
from processing_units.cluster_manager.frontend_client import Frontend, FrontendAwayError, RefusedError
from processing_units.cluster_manager.gpus import Gpus
from processing_units.cluster_manager.heartbeat import ActiveAttempts, Heartbeats, Identity
from processing_units.cluster_manager.rest import Rest
from processing_units.cluster_manager.routes import Routes
from processing_units.cluster_manager.scratch import Scratch
from processing_units.cluster_manager.sentinel import Sentinel
from processing_units.cluster_manager.slots import Slots
from processing_units.cluster_manager.stage_in import NodeCache
from processing_units.cluster_manager.walltime import Walltime
from processing_units.cluster_manager.watchdog import Watchdog
from processing_units.contract import ClusterManagerDown, ClusterManagerUp, JobSpec, Welcome
from processing_units.joining.standard_code import digest_of, installed_root

log = logging.getLogger(__name__)

TEND_SECONDS = 0.2
HARD_STOP_SECONDS = 10.0
LEAVE_SECONDS = 3.0
DRAIN_FILE_SECONDS = 2.0
VERIFIED_FOR_SECONDS = 300.0

EXIT_OK = 0
EXIT_STOPPED = 1
EXIT_REFUSED = 3
EXIT_NO_FORK_SERVER = 4


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    url: str
    key: str
    slots: int
    node: str
    cache: Path
    cache_bytes: int
    scratch: Path
    minimum_free_bytes: int
    python: str
    quit_when_idle: float | None = None
    routes: tuple[tuple[str, str], ...] = ()
    carrier: tuple[str, int] | None = None
    gpus: tuple[int, ...] = ()
    walltime: int | None = None
    preemptible: bool = False
    drain_file: Path | None = None
    delete_key_file: Path | None = None
    control_groups: bool = True


class ClusterManager:
    """One cluster manager, from `run` to its end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        node = options.node or socket.gethostname()
        self._identity = Identity(f"{node[:50]}-{os.getpid()}-{secrets.token_hex(4)}", node[:120], options.slots)
        self._signals = 0
        self._time = Walltime(options.walltime) if options.walltime is not None else None
        self._look_for_drain_file_at = 0.0
        self._refused = False
        self._draining = threading.Event()
        self._frontend = Frontend(options.url, options.key, connections=options.slots + 4)
        self._fork_server = ForkServer(options.python)
        self._sentinel = Sentinel()
        self._active = ActiveAttempts()
        self._rest = Rest()
        self._routes = Routes(options.routes)
        self._scratch: Scratch | None = None
        self._confinement: Confinement | None = None
        self._exit = EXIT_OK

    def run(self) -> int:
        """Work until drained or stopped; return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            self._fork_server.start()
            self._sentinel.keep_clean(self._fork_server.directory)
            self._scratch = Scratch(self._options.scratch, self._identity.cluster_manager)
            self._sentinel.keep_clean(self._scratch.path)
            self._confinement = find_confinement(
                self._options.python, self._scratch.path / "code", control_groups=self._options.control_groups
            )
            welcome = self._join()
            if welcome is not None:
                self._work(welcome, self._scratch)
        except RefusedError as error:
            log.error("the frontend refuses this cluster manager: %s %s", error.message, error.hint)
            self._exit = EXIT_REFUSED
        except ForkServerError as error:
            log.error("%s", error)
            self._exit = EXIT_NO_FORK_SERVER
        finally:
            self._fork_server.stop()
            self._sentinel.stop()
            if self._scratch is not None:
                self._scratch.remove()
        return self._exit

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        self._draining.set()

    def _on_refusal(self, error: RefusedError) -> None:
        """Leave at once: no lease is renewed, no cancel heard, and who brings us up anew reads the key that holds."""
        if not self._refused:
            log.error("the frontend refuses this cluster manager: %s %s", error.message, error.hint)
        self._refused = True
        self._draining.set()

    def _join(self) -> Welcome | None:
        """Report up and wait for the fork server; ``None`` when a signal came first."""
        message = ClusterManagerUp(
            cluster_manager=self._identity.cluster_manager,
            node=self._identity.node,
            slots=self._identity.slots,
            code_digest=digest_of(installed_root()),
            sandbox=self._confinement is not None,
        )
        backoff = Backoff()
        welcome: Welcome | None = None
        ask_at = 0.0
        while not self._draining.is_set():
            if welcome is None and time.monotonic() >= ask_at:
                try:
                    welcome = self._routes.of_welcome(self._frontend.up(message))
                    if self._options.delete_key_file is not None:
                        self._options.delete_key_file.unlink(missing_ok=True)
                except FrontendAwayError as error:
                    if ask_at == 0.0:
                        log.warning("the frontend at %s is away (%s); it is asked again", self._options.url, error)
                    ask_at = time.monotonic() + backoff.pause()
            if welcome is not None and self._fork_server.ready:
                if self._time is not None:
                    self._time.begin()
                return welcome
            self._fork_server.tend(TEND_SECONDS)
        if welcome is not None:
            self._leave("stopped before it began")
        return None

    def _work(self, welcome: Welcome, scratch: Scratch) -> None:
        from processing_units.cluster_manager.hints import Hints  # Celery takes long to import

        options = self._options
        carrier = Carrier(options.carrier, options.cache) if options.carrier is not None else None
        files = ReadThroughCache(
            options.cache,
            options.cache_bytes,
            verified_for=VERIFIED_FOR_SECONDS,
            bring=carrier.bring if carrier is not None else None,
        )
        files.trim()
        cache = NodeCache(files)
        watchdog = Watchdog()
        heartbeats = Heartbeats(
            self._frontend,
            self._identity,
            self._active,
            welcome.heartbeat_seconds,
            self._draining.set,
            self._on_refusal,
        )
        threads = max(1, len(os.sched_getaffinity(0)) // self._identity.slots)
        node = Node(
            self._frontend, cache, scratch, self._fork_server, self._sentinel, watchdog, self._active, heartbeats,
            threads, self._confinement, Gpus(options.gpus), carrier.stage if carrier is not None else stage,
        )  # fmt: skip

        def run_attempt(spec: JobSpec) -> None:
            began, attempt = time.monotonic(), Attempt(self._routes.of_job(spec), node)
            attempt.run()
            self._rest.note(began, attempt.fault)

        slots = Slots(self._frontend, self._identity, run_attempt, self._obstacle, cache.recent, self._time)
        hints = Hints(
            welcome, self._identity.slots, f"{welcome.unit}@{self._identity.cluster_manager}", slots.work_on_hint
        )
        watchdog.start()
        heartbeats.start()
        threading.Thread(target=slots.poll, name="poll", daemon=True).start()
        hints.start()
        log.info(
            "up as %s in unit %s with %d slots", self._identity.cluster_manager, welcome.unit, self._identity.slots
        )
        try:
            self._tend(slots)
            self._drain(slots, hints.be_deaf)
            if self._refused:
                self._exit = EXIT_REFUSED
        except ForkServerError:
            self._stop_hard(slots)
            raise
        finally:
            watchdog.stop()
            hints.stop()
            heartbeats.stop()
            self._leave("drained" if self._exit == EXIT_OK else "stopped")

    def _tend(self, slots: Slots) -> None:
        """Tend the fork server until it is time to drain."""
        quit_after = self._options.quit_when_idle
        while not self._draining.is_set():
            self._fork_server.tend(TEND_SECONDS)
            self._heed_the_queue()
            if quit_after is not None and slots.idle and time.monotonic() - slots.last_busy > quit_after:
                log.info("nothing to do for %.0f s: leaving", quit_after)
                self._draining.set()

    def _heed_the_queue(self) -> None:
        """Drain when our queue job is to end: its time is over, or the backend asks for it."""
        if self._time is not None and self._time.is_over:
            log.info("the walltime of %d s is nearly over: leaving", self._options.walltime)
            self._draining.set()
        now = time.monotonic()
        if self._options.drain_file is not None and now >= self._look_for_drain_file_at:
            self._look_for_drain_file_at = now + DRAIN_FILE_SECONDS
            if self._options.drain_file.exists():
                log.info("asked to drain by %s", self._options.drain_file)
                self._draining.set()

    @property
    def _must_stop(self) -> bool:
        enough = 0 if self._options.preemptible else 1
        return self._signals > enough or self._refused or (self._time is not None and self._time.is_over)

    def _drain(self, slots: Slots, be_deaf: Callable[[], None]) -> None:
        """Finish the running jobs and take no more; at a second signal stop them."""
        slots.drain()
        be_deaf()
        if not slots.idle:
            log.info("draining: %d jobs are still running; a second signal stops them", len(self._active.all()))
        while not slots.idle:
            if self._must_stop:
                self._stop_hard(slots)
                return
            self._fork_server.tend(TEND_SECONDS)

    def _stop_hard(self, slots: Slots) -> None:
        """Kill all jobs; each says that it was preempted."""
        self._exit = EXIT_STOPPED
        slots.drain()
        until = time.monotonic() + HARD_STOP_SECONDS
        while not slots.idle and time.monotonic() < until:
            for attempt in self._active.all():
                attempt.preempt(self._time.whole if self._time is not None and self._time.is_over else None)
            time.sleep(0.05)

    def _leave(self, reason: str) -> None:
        log.info("leaving: %s", reason)
        message = ClusterManagerDown(
            cluster_manager=self._identity.cluster_manager, node=self._identity.node, reason=reason
        )
        try:
            self._frontend.down(message, timeout=LEAVE_SECONDS)
        except (FrontendAwayError, RefusedError) as error:
            log.info("leaving without the frontend's knowledge: %s", error)

    def _obstacle(self) -> str:
        """Say why no job can be taken now, or ""."""
        if not self._fork_server.ready:
            return "no jobs are claimed while the fork server is restarted"
        if self._scratch is not None:
            free = self._scratch.free_bytes()
            if free < self._options.minimum_free_bytes:
                return (
                    f"no jobs are claimed: {self._options.scratch} has only {free / 2**20:.0f} MiB free "
                    f"(--minimum-free is {self._options.minimum_free_bytes / 2**20:.0f} MiB)"
                )
        return self._rest.reason()
