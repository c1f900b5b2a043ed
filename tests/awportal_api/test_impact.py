"""What was made from a product, and making it anew, over the interface."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from archive.models import Lineage, Product, Validity
from archive.staleness import judge
from processing_units.frontend.models import ProcessingUnit, Run


def test_impact_and_reprocessing(client: Client, anna: User) -> None:
    ProcessingUnit.objects.create(name="local", port=1, key_hash="0" * 64)

    def product(kind: str, **given: object) -> Product:
        columns = {"sha256": "0" * 64, "file_size": 1, "instrument": "cam", "chip": "1", "creator": anna}
        return Product.objects.create(kind=kind, name=kind, **{**columns, **given})

    bias, raw = product("BiasFrame"), product("RawScience")
    made = product("ReducedScienceFrame", recipe="Reduce", made_by_job=9)
    Lineage.objects.create(product=made, source=bias, role="bias_frame")
    Lineage.objects.create(product=made, source=raw, role="raw_science")
    judge(bias, Validity.BAD)
    found = client.get(f"/api/v1/products/{bias.pk}/impact").json()
    assert (found["total"], found["stale"], found["kinds"]) == (1, 1, {"ReducedScienceFrame": 1})
    assert [(row["id"], row["generation"], row["stale_because"]) for row in found["items"]] == [(made.pk, 1, bias.pk)]
    assert client.get(f"/api/v1/products/{made.pk}").json()["stale_because"] == bias.pk
    assert client.get("/api/v1/products?quality=stale").json()["count"] == 1
    assert client.get("/api/v1/products/999999/impact").status_code == 404
    plan = client.get(f"/api/v1/products/{bias.pk}/reprocess").json()
    assert [step["recipe"] for step in plan["steps"]] == ["Reduce"]
    asked = {"plan": plan["fingerprint"], "idempotency_key": "k"}
    for _ in range(2):
        answer = client.post(f"/api/v1/products/{bias.pk}/reprocess", asked, content_type="application/json")
        assert (answer.status_code, answer.json()["recipe"]) == (201, "Reduce")
    assert Run.objects.count() == 1
    changed = {"plan": "0" * 64, "idempotency_key": "other"}
    answer = client.post(f"/api/v1/products/{bias.pk}/reprocess", changed, content_type="application/json")
    assert answer.status_code == 400, "it is being made anew already"


def test_a_verdict_is_its_creators(client: Client, anna: User, ben: User) -> None:
    def product(creator: User, **given: object) -> Product:
        columns = {"sha256": "0" * 64, "file_size": 1, "instrument": "cam", "chip": "1", "creator": creator}
        return Product.objects.create(**{**columns, "kind": "BiasFrame", "name": "b", **given})

    def verdict(of: Product, said: str) -> tuple[int, dict[str, object]]:
        asked = {"verdict": said}
        answer = client.post(f"/api/v1/products/{of.pk}/verdict", asked, content_type="application/json")
        return answer.status_code, answer.json()

    bias = product(anna)
    made = product(anna, kind="ReducedScienceFrame")
    Lineage.objects.create(product=made, source=bias, role="bias_frame")
    assert verdict(bias, "bad") == (200, {"product": bias.pk, "verdict": "bad", "changed": 1})
    assert verdict(bias, "bad")[1]["changed"] == 0
    bias.refresh_from_db()
    assert bias.is_valid == Validity.BAD
    assert verdict(bias, "good") == (200, {"product": bias.pk, "verdict": "good", "changed": 1})
    assert verdict(bias, "excellent")[0] == 400
    assert verdict(product(ben), "bad")[0] == 404
    assert verdict(product(ben, privilege=3), "bad")[0] == 403
