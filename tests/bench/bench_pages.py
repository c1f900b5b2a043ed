"""Pages of a run of 10,000 jobs: server time, size, and the first paint in a browser, held to the bar of 1 s (U2).

``python tests/bench/bench_pages.py [JOBS]`` makes a database of its own (SQLite), or fills the empty one that
AWPORTAL_DATABASE_URL names; the archive's pages are in bench_archive.py.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from processing_units.frontend.models import Run

BAR_MS = 1000.0
ROUNDS = 20
FAILED_EVERY = 50


def main() -> None:
    """Fill the database, ask for the pages, print the table."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as home:
        os.environ["AWPORTAL_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "awportal.settings"
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # Playwright keeps an event loop in this thread
        (Path(home) / "static").mkdir()
        import django

        django.setup()
        logging.getLogger("django.request").setLevel("ERROR")  # the files of these products are not there
        from django.conf import settings
        from django.core.management import call_command
        from django.test import Client

        settings.ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
        settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        settings.BROKER_URL = "redis://127.0.0.1:1/0"  # nobody is there, and nobody is asked twice
        call_command("migrate", verbosity=0)
        begun = time.perf_counter()
        user, running, ended = fill(jobs)
        print(f"two runs of {jobs} jobs made in {time.perf_counter() - begun:.1f} s")
        client = Client()
        client.force_login(user)
        paths = pages(running, ended)
        times = {name: _times(lambda path=path: client.get(path)) for name, path in paths.items()}
        _print(jobs, times, _first_paints(client, paths))
        begun = time.perf_counter()
        answer = client.post(f"/runs/{ended.pk}/retry/")
        seconds = time.perf_counter() - begun
        print(
            f"“Retry the failed” of {jobs // FAILED_EVERY} jobs: {1000 * seconds:.0f} ms (status {answer.status_code})"
        )


def fill(jobs: int) -> tuple[User, Run, Run]:
    """Make a run that is half done and one that has ended, each of so many jobs with an input, 2 % of them failed."""
    from django.contrib.auth.models import User

    from archive.models import Product, Profile
    from processing_units.frontend.clock import database_now
    from processing_units.frontend.models import Attempt, Job, JobInput, ProcessingUnit, Run

    user = User.objects.create_user("anna")
    Profile.objects.update_or_create(user=user, defaults={"user_type": Profile.UserType.CHOOSES})
    now = database_now()
    unit = ProcessingUnit.objects.create(name="local", port=8100, key_hash="x", slots=8, alive_at=now)
    common = {"instrument": "mosaic", "night": now.date(), "date_obs": now, "file_size": 1, "creator": user}
    raw = Product.objects.bulk_create(
        Product(kind="RawScience", name=f"raw_{n}.fits", sha256=f"{n:064x}", chip=f"ccd{n % 32}", filter_name="r",
                identity=f"raw {n}", **common)
        for n in range(jobs)
    )  # fmt: skip
    made: list[Run] = []
    for has_ended in (False, True):
        run = Run.objects.create(
            user=user, recipe="SourceList", recipe_version="1", unit=unit, unit_reason="the only unit", submitted=now,
            idempotency_key=f"bench {has_ended}", ended=now if has_ended else None,
            submission={"recipe": "SourceList", "inputs": {"frame": [product.pk for product in raw]}},
        )  # fmt: skip
        states = [_state(number, jobs, has_ended) for number in range(jobs)]
        rows = Job.objects.bulk_create(
            Job(run=run, unit=unit, ordinal=number + 1, label=f"ccd{number % 32} r {number}", state=state, attempt=1,
                created=now, started=None if state == "queued" else now,
                ended=now if state in {"done", "failed"} else None,
                reason="no source above the threshold" if state == "failed" else "")
            for number, state in enumerate(states)
        )  # fmt: skip
        JobInput.objects.bulk_create(
            JobInput(job=job, product=product, role="frame") for job, product in zip(rows, raw, strict=True)
        )
        Attempt.objects.bulk_create(
            Attempt(job=job, ordinal=1, node="node", token_hash=f"{job.pk}", started=now, outcome="fatal")
            for job in rows
            if job.state == "failed"
        )
        done = [job for job in rows if job.state == "done"]
        Product.objects.bulk_create(
            Product(kind="SourceList", name=f"list_{job.pk}.fits", sha256=f"{job.pk:064x}", chip=job.label.split()[0],
                    identity=f"list {job.pk}", recipe="SourceList", made_by_run=run.pk, made_by_job=job.pk, **common)
            for job in done
        )  # fmt: skip
        made.append(run)
    return user, made[0], made[1]


def pages(running: Run, ended: Run) -> dict[str, str]:
    """Return the pages that somebody with such a run looks at."""
    return {
        "run, half done": f"/runs/{running.pk}/",
        "run, ended": f"/runs/{ended.pk}/",
        "its failed jobs": f"/runs/{ended.pk}/?state=failed",
        "its 200th page of jobs": f"/runs/{ended.pk}/?page=200",
        "one of its jobs": f"/runs/{ended.pk}/1/",
        "list of runs": "/runs/",
        "first page": "/",
        "unit": "/units/local/",
        "archive": "/archive/",
    }


def _state(number: int, jobs: int, has_ended: bool) -> str:
    if not has_ended and number >= jobs // 2:
        return "running" if number < jobs // 2 + 8 else "queued"
    return "failed" if number % FAILED_EVERY == 0 else "done"


def _times(ask: Callable[[], Any]) -> tuple[float, float, int, int]:
    """Return median and mean processor time of the server [ms], the number of queries and of bytes."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        answer = ask()
        queries = len(captured)  # the next request forgets them
    if answer.status_code != 200:
        raise SystemExit(f"{answer.request['PATH_INFO']} answered {answer.status_code}")
    times = []
    busy = time.process_time()
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - begun))
    busy = 1000 * (time.process_time() - busy) / ROUNDS
    times.sort()
    return times[len(times) // 2], busy, queries, len(answer.content)


def _first_paints(client: Any, paths: dict[str, str]) -> dict[str, float]:
    """Return when a browser first showed something of each page [ms]; nothing where there is no Chromium."""
    from playwright.sync_api import sync_playwright

    from tests.programs import chromium

    if chromium() is None:
        return {}
    from django.conf import settings

    paints = {}
    with _serving() as url, sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--disable-gpu", *sandbox])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        name = settings.SESSION_COOKIE_NAME
        context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])
        page = context.new_page()
        for title, path in [("", "/recipes/"), *paths.items()]:  # the first page fetches style and scripts
            page.goto(url + path)
            page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
            paints[title] = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        browser.close()
    return paints


@contextmanager
def _serving() -> Iterator[str]:
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.wsgi import get_wsgi_application

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    application = StaticFilesHandler(get_wsgi_application())
    server = make_server("127.0.0.1", 0, application, Server, Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _print(jobs: int, times: dict[str, tuple[float, float, int, int]], paints: dict[str, float]) -> None:
    table = Table(title=f"runs of {jobs} jobs: ms; the bar of the first paint is {BAR_MS:g}")
    for heading in ("page", "server p50", "processor", "queries", "KiB", "first paint", ""):
        table.add_column(heading, justify="left" if heading in {"page", ""} else "right")
    for name, (median, busy, queries, size) in times.items():
        paint = paints.get(name)
        verdict = "met" if (paint or median) <= BAR_MS else "missed"
        shown = "–" if paint is None else f"{paint:.0f}"
        table.add_row(name, f"{median:.0f}", f"{busy:.0f}", str(queries), f"{size / 1024:.0f}", shown, verdict)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
