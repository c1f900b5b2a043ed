"""Users are told when a run ends: once, whatever dies, by a real mail server and a real receiver of webhooks."""

from __future__ import annotations

import email
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from archive.context import Context
from processing_units.contract import BatchMakeRequest, BatchRequest, JobState
from processing_units.frontend import batches
from processing_units.frontend.batch_status import retry_batch
from processing_units.frontend.changes import close_ended_runs
from processing_units.frontend.models import Batch, Job, Notice, NoticeChoice, ProcessingUnit, Run
from processing_units.frontend.notices import ended_batches, sending, webhook
from processing_units.frontend.notices.texts import address_token, confirmed_address
from processing_units.frontend.notices.writing import write
from recipes.errors import UsageError
from tests.local_servers import eventually, free_port, listens
from tests.processing_units.frontend.conftest import biases, in_process, make_user, submitted, together

pytestmark = pytest.mark.django_db(transaction=True)


class MailServer:
    """aiosmtpd in a process of its own, with a maildir."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        handler = ["-c", "aiosmtpd.handlers.Mailbox", str(self._folder)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{self.port}", *handler]
        )
        eventually(lambda: listens(self.port), what="the mail server")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def mails(self) -> list[Message]:
        return [email.message_from_bytes(path.read_bytes()) for path in sorted(self._folder.glob("new/*"))]


class Receiver:
    """A server that takes webhooks, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port, self._folder = free_port(), folder
        script = Path(__file__).with_name("webhook_receiver.py")
        self.process = subprocess.Popen([sys.executable, str(script), str(self.port), str(folder)])
        eventually(lambda: listens(self.port), what="the receiver")

    def answer_with(self, status: int) -> None:
        (self._folder / "status").write_text(str(status))

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self._folder.glob("*.json"))]


@pytest.fixture
def mail_server(tmp_path: Path, settings: Any) -> Iterator[MailServer]:
    server = MailServer(tmp_path / "maildir")
    server.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"  # pytest-django puts another there
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", server.port, False
    yield server
    server.stop()


@pytest.fixture
def receiver(tmp_path: Path, settings: Any) -> Iterator[Receiver]:
    server = Receiver(tmp_path / "received")
    settings.WEBHOOK_HOSTS = ["127.0.0.0/8"]
    yield server
    server.process.kill()
    server.process.wait()


def choose(user: User, **given: Any) -> NoticeChoice:
    mail = {"address": "ann@example.org", "confirmed": timezone.now()}
    return NoticeChoice.objects.create(user=user, **{"runs": "all", **mail, **given})


def end(run: Run, state: JobState = JobState.DONE, after: timedelta = timedelta(0)) -> None:
    """Let a run have been submitted so long ago and have ended now."""
    run.jobs.update(state=state, ended=timezone.now(), reason="it went wrong" if state == JobState.FAILED else "")
    Run.objects.filter(pk=run.pk).update(submitted=timezone.now() - after)
    close_ended_runs([run.pk])


def due_again() -> None:
    Notice.objects.update(not_before=timezone.now() - timedelta(seconds=1))


def test_a_run_that_ends_is_told_once_by_each_way(
    context: Context, unit: ProcessingUnit, user: User, mail_server: MailServer, receiver: Receiver
) -> None:
    choice = choose(user, webhook=f"http://127.0.0.1:{receiver.port}/hook?a=1", webhook_salt="salt")
    run = submitted(context, jobs=2)
    end(run, JobState.FAILED)
    assert close_ended_runs() == 0
    assert sending.send_due() == 2
    assert sending.send_due() == 0
    (mail,) = mail_server.mails
    assert mail["Subject"] == f"[awportal] failed: ReadNoise (run {run.pk})"
    assert mail["X-RcptTo"] == "ann@example.org"
    text = mail.get_payload()
    assert isinstance(text, str)
    assert "Jobs: 2 failed." in text
    assert "2 of 2 jobs failed: it went wrong" in text
    assert f"/runs/{run.pk}/" in text
    (request,) = receiver.requests
    assert request["path"] == "/hook?a=1"
    told = json.loads(request["body"])
    assert (told["event"], told["number"], told["state"]) == ("run ended", run.pk, "failed")
    assert told["counts"] == {"failed": 2}
    moment = int(request["headers"]["x-awportal-signature"].split(",")[0].removeprefix("t="))
    signed = webhook.signature(webhook.signing_key(choice), moment, request["body"].encode())
    assert request["headers"]["x-awportal-signature"] == signed


@pytest.mark.parametrize(
    ("runs", "state", "minutes", "is_told"),
    [("none", "failed", 60, False), ("failed", "done", 60, False), ("failed", "failed", 0, True),
     ("long", "done", 9, False), ("long", "done", 11, True), ("long", "failed", 0, True),
     ("all", "cancelled", 0, True)],
)  # fmt: skip
def test_only_of_the_runs_that_one_wants_to_hear_of(
    context: Context, unit: ProcessingUnit, user: User, runs: str, state: str, minutes: int, is_told: bool
) -> None:
    choose(user, runs=runs)
    end(submitted(context), JobState(state), timedelta(minutes=minutes))
    assert Notice.objects.count() == is_told


def test_nobody_else_hears_of_it_and_an_address_that_is_not_confirmed_gets_nothing(
    context: Context, unit: ProcessingUnit, user: User
) -> None:
    choose(user, confirmed=None)
    choose(make_user("ben"))
    end(submitted(context))
    assert not Notice.objects.exists()


def test_the_end_of_a_run_and_its_notice_are_one_transaction(
    context: Context, unit: ProcessingUnit, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(user)
    run = submitted(context)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("the database is away")

    monkeypatch.setattr("processing_units.frontend.notices.writing.write", fail)
    with pytest.raises(RuntimeError):
        end(run)
    run.refresh_from_db()
    assert run.ended is None
    monkeypatch.undo()
    assert close_ended_runs() == 1
    assert Notice.objects.count() == 1


def test_many_that_close_a_run_at_once_write_one_notice(context: Context, unit: ProcessingUnit, user: User) -> None:
    choose(user)
    run = submitted(context)
    run.jobs.update(state=JobState.DONE)
    assert sorted(together(4, lambda _: close_ended_runs([run.pk]))) == [0, 0, 0, 1]
    assert Notice.objects.count() == 1


def test_a_mail_server_that_is_away_is_asked_again(
    context: Context, unit: ProcessingUnit, user: User, mail_server: MailServer
) -> None:
    choose(user)
    mail_server.stop()
    end(submitted(context))
    assert sending.send_due() == 0
    notice = Notice.objects.get()
    assert (notice.tries, notice.given_up) == (1, None)
    assert "refused" in notice.problem
    mail_server.start()
    assert sending.send_due() == 0  # it is not due yet
    due_again()
    assert sending.send_due() == 1
    assert len(mail_server.mails) == 1
    assert [sending.pause_after(tries) for tries in (1, 2, 9)] == [15, 60, 6 * 3600]


@pytest.mark.parametrize(("point", "mails"), [("notice.claimed", 1), ("notice.sent", 2)])
def test_a_keeper_that_dies_is_followed_by_another(
    context: Context, unit: ProcessingUnit, user: User, mail_server: MailServer, point: str, mails: int
) -> None:
    """Only one that dies after the server took the mail, before it is noted, sends twice: with the same Message-ID."""
    choose(user)
    end(submitted(context))
    code = "from processing_units.frontend.notices import sending\nprint(sending.send_due())"
    smtp = {"AWPORTAL_SMTP_HOST": "127.0.0.1", "AWPORTAL_SMTP_PORT": str(mail_server.port)}
    smtp["AWPORTAL_SMTP_SECURITY"] = "none"
    killed = in_process(code, **smtp, AWPORTAL_FAULT=f"{point}:kill")
    assert killed.returncode == -9, killed.stderr
    due_again()  # the claim has ended
    assert in_process(code, **smtp).stdout.strip() == "1"
    assert len(mail_server.mails) == mails
    assert len({mail["Message-ID"] for mail in mail_server.mails}) == 1


def test_two_keepers_send_a_notice_once(
    context: Context, unit: ProcessingUnit, user: User, mail_server: MailServer
) -> None:
    choose(user)
    for _ in range(4):
        end(submitted(context))
    assert sum(together(3, lambda _: sending.send_due())) == 4
    assert len(mail_server.mails) == 4


def test_without_a_mail_server_mails_wait_and_webhooks_go(
    context: Context, unit: ProcessingUnit, user: User, receiver: Receiver
) -> None:
    choose(user, webhook=f"http://127.0.0.1:{receiver.port}/")
    end(submitted(context))
    assert sending.send_due() == 1
    assert Notice.objects.get(sent__isnull=True).tries == 0


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_is_not_taken_is_tried_again_and_given_up_in_the_end(
    context: Context, unit: ProcessingUnit, user: User, receiver: Receiver, status: int
) -> None:
    choose(user, address="", webhook=f"http://127.0.0.1:{receiver.port}/")
    receiver.answer_with(status)
    end(submitted(context))
    for _ in range(sending.MOST_TRIES):
        assert sending.send_due() == 0
        due_again()
    notice = Notice.objects.get()
    assert notice.given_up is not None
    assert notice.problem == f"it answered with status {status}"
    assert [request["path"] for request in receiver.requests] == [
        "/"
    ] * sending.MOST_TRIES  # no redirection is followed


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/", "https://127.0.0.1/", "https://10.0.0.7/", "https://[::1]/", "https://169.254.169.254/x",
     "https://[::ffff:10.0.0.7]/", "https://[64:ff9b::a00:7]/", "https://[2002:a00:7::1]/",
     "https://localhost/", "ftp://example.org/", "https://user:word@example.org/", "https://",
     "http://8.8.8.8/", "https://100.64.0.1/", "https://0.0.0.0/", "https://host:port/"],
)  # fmt: skip
def test_webhooks_do_not_reach_into_the_network(url: str) -> None:
    with pytest.raises(UsageError):
        webhook.place_of(url)


def test_what_no_request_can_hold_is_given_up_and_keeps_nobody_waiting(
    context: Context, unit: ProcessingUnit, user: User, receiver: Receiver
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/f\u00fcr/mich"
    with pytest.raises(UsageError, match="no request can hold"):
        webhook.place_of(url)
    for name, address in (("eve", url), ("bob", f"http://127.0.0.1:{receiver.port}/")):
        choose(make_user(name), webhook=address, address="")
        Notice.objects.create(user=User.objects.get(username=name), way="webhook", occasion=name)
    assert sending.send_due() == 1
    assert Notice.objects.get(occasion="eve").problem.startswith("the address of the webhook")


def test_a_text_that_is_no_header_is_given_up(user: User, mail_server: MailServer, settings: Any) -> None:
    choose(user)
    settings.DEFAULT_FROM_EMAIL = "awportal@example.org\nBcc: all@example.org"
    Notice.objects.create(user=user, way="mail", occasion="a test")
    assert sending.send_due() == 0
    assert Notice.objects.get().given_up is not None
    assert mail_server.mails == []


def test_who_answers_a_byte_at_a_time_is_cut_off(user: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.5)
    given, most = [], 300
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connected, _ = server.accept()
            with connected, suppress(OSError):
                for _ in range(most):
                    connected.sendall(b"H")
                    given.append(1)
                    time.sleep(0.05)

        dripping = threading.Thread(target=drip)
        dripping.start()
        choice = choose(user, webhook=f"http://127.0.0.1:{server.getsockname()[1]}/")
        with pytest.raises((OSError, http.client.HTTPException)):
            webhook.send(choice, {})
        dripping.join()
    assert 0 < len(given) < most


def test_a_database_that_passes_over_nothing_keeps_each_notice_once(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Oracle is."""
    monkeypatch.setattr(connection.features, "supports_ignore_conflicts", False)
    choice = choose(user)
    for _ in range(2):
        write(choice, "run 7")
    assert Notice.objects.get().occasion == "mail run 7"


def test_a_manager_lists_what_they_may_reach(settings: Any) -> None:
    assert webhook.place_of("https://8.8.8.8/") == ("https", "8.8.8.8", 443)
    settings.WEBHOOK_HOSTS = ["10.0.0.0/24", "localhost"]
    assert webhook.place_of("http://10.0.0.7:81/") == ("http", "10.0.0.7", 81)
    assert webhook.place_of("http://localhost/")[0] == "http"
    with pytest.raises(UsageError, match="within this network"):
        webhook.place_of("https://10.0.1.7/")


def a_batch(user: User, context: Context) -> Batch:
    numbers = [biases(user, 2, attributes={"chip": chip}) for chip in ("0001", "0002")]
    text = "".join(f"run('ReadNoise', {pair})\n" for pair in numbers)
    batch = batches.draft(BatchRequest(text=text), context)
    return batches.make(batch, BatchMakeRequest(digest=batch.plan["digest"]), context)


def test_a_batch_is_told_once_and_again_when_its_failed_jobs_were_run_again(
    context: Context, unit: ProcessingUnit, user: User, mail_server: MailServer
) -> None:
    choose(user, batches_since=timezone.now() - timedelta(days=1))
    batch = a_batch(user, context)
    first, second = batch.runs.order_by("pk")
    end(first)
    assert ended_batches.tell() == 0
    end(second, JobState.FAILED)
    assert (ended_batches.tell(), ended_batches.tell()) == (1, 0)
    assert sending.send_due() == 1  # its runs are not told singly
    assert mail_server.mails[0]["Subject"] == f"[awportal] failed: batch {batch.pk}"
    (again,) = retry_batch(batch, context)
    assert ended_batches.tell() == 0
    end(again)
    assert ended_batches.tell() == 1
    assert sending.send_due() == 1


def test_the_batches_of_before_are_not_told(context: Context, unit: ProcessingUnit, user: User) -> None:
    batch = a_batch(user, context)
    Job.objects.update(state=JobState.DONE)
    close_ended_runs()
    choose(user, batches_since=timezone.now() + timedelta(seconds=1))
    assert ended_batches.tell() == 0
    assert batch.runs.count() == 2


def test_a_link_confirms_its_own_address_of_its_own_user() -> None:
    token = address_token(7, "ann@example.org")
    assert confirmed_address(token) == (7, "ann@example.org")
    assert confirmed_address(token[:-1] + ("a" if token[-1] != "a" else "b")) is None


def test_notices_are_forgotten_after_a_month(user: User) -> None:
    now = timezone.now()
    for age, sent in ((40, now), (40, None), (1, now)):
        Notice.objects.create(
            user=user, way="mail", occasion=f"{age} {sent}", written=now - timedelta(days=age), sent=sent
        )
    assert sending.forget_old() == 2  # also what no mail server was there for
