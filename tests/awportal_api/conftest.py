"""A user with a token, and a client that sends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from awportal.tokens import make_token


@pytest.fixture
def anna(db: None) -> User:
    """A user."""
    return User.objects.create(username="anna")


@pytest.fixture
def ben(db: None) -> User:
    """Another user."""
    return User.objects.create(username="ben")


class TokenClient(Client):
    """Django's client with a token; answers are JSON."""

    def __init__(self, user: User, **options: Any) -> None:
        _, text = make_token(user, "test")
        super().__init__(headers={"Authorization": f"Bearer {text}"}, **options)


@pytest.fixture
def client(anna: User) -> TokenClient:
    """Anna's client."""
    return TokenClient(anna)


@pytest.fixture(autouse=True)
def own_store(settings: Any, tmp_path: Path) -> Path:
    """Keep the data server's files in the test's own directory."""
    settings.DATA_ROOT = tmp_path / "data"
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    return tmp_path / "data"
