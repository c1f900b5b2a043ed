"""Nobody gets an answer without a token or a session, and a session changes nothing without the CSRF token."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from archive.models import Project
from awportal.api import api
from awportal.models import ApiToken
from awportal.tokens import find_token, make_token, revoke_token
from tests.awportal_api.conftest import TokenClient


def operations() -> list[tuple[str, str]]:
    """Return all (method, path) that the interface has."""
    paths = api.get_openapi_schema(path_prefix="/api/v1/")["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


@pytest.mark.parametrize(("method", "path"), operations())
def test_nobody_gets_nothing(db: None, method: str, path: str) -> None:
    for part in ("number", "job"):
        path = path.replace("{int:" + part + "}", "1").replace("{" + part + "}", "1")
    answer = Client().generic(method.upper(), path.replace("{name}", "Bias"), "{}", "application/json")
    assert answer.status_code == 401
    assert answer.json()["error"] == "log in first"


def test_the_interface_has_what_the_command_line_needs() -> None:
    assert {path.removeprefix("/api/v1") for _, path in operations()} == {
        "/kinds", "/recipes", "/recipes/{name}", "/products", "/products/{number}", "/products/{number}/download",
        "/products/publish", "/selections", "/selections/{name}", "/nights", "/nights/log",
        "/ingest", "/ingest/catalogue", "/ingest/reduced", "/limits", "/limits/learn",
        "/products/{number}/verdict", "/products/{number}/impact", "/products/{number}/reprocess",
        "/limits/clear", "/products/{number}/samp",
        "/plan", "/runs", "/runs/{number}", "/runs/{number}/jobs/{job}/log", "/runs/{number}/cancel",
        "/runs/{number}/retry", "/runs/{number}/archive", "/runs/{number}/move", "/runs/cancel", "/quota",
        "/quota/{name}",
        "/batches", "/batches/plan", "/batches/{number}", "/batches/{number}/make", "/batches/{number}/again",
        "/batches/{number}/cancel", "/batches/{number}/retry",
        "/units/{name}", "/projects", "/projects/{name}", "/projects/{name}/join", "/projects/{name}/answer",
        "/projects/{name}/members", "/units/{name}/history", "/units/{name}/cancel",
        "/units/{name}/test", "/units/{name}/test/{number}", "/units/{name}/keys", "/units/{name}/keys/{number}",
        "/units/{name}/machines", "/units/{name}/machines/{machine}",
        "/whoami", "/units", "/data-servers", "/data-servers/{name}",
        "/tokens", "/tokens/{number}", "/parameter-sets", "/parameter-sets/{number}", "/code", "/code/{digest}",
    }  # fmt: skip


def test_a_revoked_token_is_dead_and_kept_hashed(anna: User) -> None:
    token, text = make_token(anna, "laptop")
    assert find_token(text) == token
    assert text not in ApiToken.objects.get().token_hash
    headers = {"Authorization": f"Bearer {text}"}
    assert Client().get("/api/v1/whoami", headers=headers).status_code == 200
    revoke_token(token)
    answer = Client().get("/api/v1/whoami", headers=headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert "revoked" in answer.json()["error"]


def test_a_token_of_an_inactive_user_is_dead(anna: User) -> None:
    _, text = make_token(anna, "laptop")
    User.objects.update(is_active=False)
    assert Client().get("/api/v1/whoami", headers={"Authorization": f"Bearer {text}"}).status_code == 401


def test_a_session_reads_and_changes_only_with_the_csrf_token(anna: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(anna)
    assert browser.get("/api/v1/whoami").json()["user"] == "anna"
    refused = browser.post("/api/v1/tokens", {"label": "x"}, content_type="application/json")
    assert (refused.status_code, "CSRF" in refused.json()["error"]) == (403, True)
    browser.cookies["awportal_csrf"] = "a" * 32
    made = browser.post(
        "/api/v1/tokens", {"label": "x"}, content_type="application/json", headers={"X-CSRFToken": "a" * 32}
    )
    assert made.status_code == 201
    assert find_token(made.json()["token"]) is not None


def test_a_wrong_token_is_not_passed_over_in_favour_of_a_session(anna: User) -> None:
    browser = Client()
    browser.force_login(anna)
    assert browser.get("/api/v1/whoami", headers={"Authorization": "Bearer aw_wrong"}).status_code == 401


def test_tokens_are_one_s_own(client: Client, ben: User) -> None:
    others, _ = make_token(ben, "his")
    assert client.delete(f"/api/v1/tokens/{others.pk}").status_code == 404
    made = client.post("/api/v1/tokens", {"label": "mine"}, content_type="application/json").json()
    labels = [token["label"] for token in client.get("/api/v1/tokens").json()["items"]]
    assert labels == ["test", "mine"]
    left = client.delete(f"/api/v1/tokens/{made['id']}").json()["items"]
    assert [token["label"] for token in left] == ["test"]


def test_the_description_is_served(client: Client) -> None:
    description = client.get("/api/v1/openapi.json").json()
    assert description["openapi"].startswith("3.")
    for path in ("/ingest", "/ingest/catalogue", "/ingest/reduced", "/code"):
        body = description["paths"][f"/api/v1{path}"]["post"]["requestBody"]
        schema = body["content"]["multipart/form-data"]["schema"]
        assert set(schema["required"]) <= set(schema["properties"])


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/products", "/api/v1/products/many"])
def test_an_unknown_address_is_told_to_programs_as_json(path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    told = answer.json()
    assert told["error"] == f"there is no address {path}"
    assert told["hint"] == "/api/v1/openapi.json tells all addresses"


@pytest.mark.parametrize("path", ["/api/v1/products", "/api/v1/runs"])
def test_a_wrong_method_is_told_to_programs_as_json(path: str, anna: User) -> None:
    browser = Client()
    browser.force_login(anna)
    answer = browser.put(path)
    assert (answer.status_code, answer["Content-Type"]) == (405, "application/json")
    assert answer.json()["error"] == "this address does not take PUT"
    assert answer.json()["hint"] == f"it takes {answer['Allow']}"
    assert "GET" in answer["Allow"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tokens", {"label": "a\0b"}),
        ("projects", {"name": "a\0b"}),
        ("projects", {"name": "b", "description": "a\0b"}),
        ("projects/M13/join", {"words": "a\0b"}),
        ("projects/M13/members", {"user": "a\0b", "role": "member"}),
        ("projects/M%00/join", {}),
    ],
)
def test_what_no_database_holds_is_refused(anna: User, path: str, body: dict[str, str]) -> None:
    anna.is_superuser = True
    anna.save()
    Project.objects.create(name="M13")
    answer = TokenClient(anna).post(f"/api/v1/{path}", body, content_type="application/json")
    assert answer.status_code == (404 if "%00" in path else 400)
