"""The page on which users say of what they are told: addresses are confirmed, keys are shown once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from processing_units.frontend.models import Notice, NoticeChoice
from processing_units.frontend.notices import texts, webhook

Browser = Callable[..., Client]
CHOICE = {"runs": "failed", "minutes": "10", "address": "anna@example.org", "batches": "on", "webhook": ""}


@pytest.fixture
def mail(settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"


def test_an_address_is_confirmed_by_its_link(anna: User, ben: User, browser_of: Browser, mail: None) -> None:
    browser = browser_of(anna)
    assert (
        "A mail is on its way to anna@example.org"
        in browser.post("/account/notices/", CHOICE, follow=True).content.decode()
    )
    choice = NoticeChoice.objects.get()
    assert (choice.runs, choice.confirmed, choice.ways) == ("failed", None, [])
    assert choice.batches_since is not None
    address, _, text = texts.mail(Notice.objects.get())
    assert address == "anna@example.org"
    link = re.search(r"/account/notices/confirm/\S+", text)
    assert link is not None
    assert browser_of(ben).post(link.group()).status_code == 404
    assert "Confirm it" in browser.get(link.group()).content.decode()
    assert NoticeChoice.objects.get().confirmed is None  # to follow a link changes nothing
    browser.post(link.group())
    assert NoticeChoice.objects.get().ways == ["mail"]
    browser.post("/account/notices/", CHOICE | {"address": "other@example.org"})
    assert NoticeChoice.objects.get().confirmed is None
    assert browser.get(link.group()).status_code == 404


def test_strangers_get_no_flood_of_confirmations(anna: User, browser_of: Browser, mail: None) -> None:
    browser = browser_of(anna)
    for number in range(7):
        browser.post("/account/notices/", CHOICE | {"address": f"stranger{number}@example.org"})
    assert Notice.objects.count() == 5


def test_the_key_of_a_webhook_is_shown_once(anna: User, browser_of: Browser, settings: Any) -> None:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    browser = browser_of(anna)
    sent = CHOICE | {"webhook": "http://127.0.0.1:1/hook"}
    shown = browser.post("/account/notices/", sent).content.decode()
    first = webhook.signing_key(NoticeChoice.objects.get())
    assert first in shown
    assert first not in browser.get("/account/notices/").content.decode()
    assert browser.post("/account/notices/", sent).status_code == 302  # the same address keeps its key
    second = browser.post("/account/notices/key/").content.decode()
    assert first not in second
    assert webhook.signing_key(NoticeChoice.objects.get()) in second
    browser.post("/account/notices/test/")
    assert Notice.objects.get().way == "webhook"
    assert "waiting" in browser.get("/account/notices/").content.decode()


def test_a_private_address_is_refused_beside_its_field(anna: User, browser_of: Browser) -> None:
    refused = browser_of(anna).post("/account/notices/", CHOICE | {"webhook": "https://10.0.0.7/"})
    assert refused.status_code == 422
    assert "10.0.0.7 is an address within this network" in refused.content.decode()
    assert not NoticeChoice.objects.exists()


def test_without_a_mail_server_the_page_says_so(anna: User, browser_of: Browser) -> None:
    browser = browser_of(anna)
    assert "This portal sends no mail" in browser.get("/account/notices/").content.decode()
    browser.post("/account/notices/", CHOICE)
    assert NoticeChoice.objects.get().address == ""
