"""The addresses of a unit's frontend: nothing but what cluster managers and backends need."""

from django.urls import path

from processing_units.frontend import unit_api

urlpatterns = [
    path("unit/up", unit_api.up),
    path("unit/down", unit_api.down),
    path("unit/claim", unit_api.claim_job),
    path("unit/heartbeat", unit_api.beat),
    path("unit/commit", unit_api.commit_attempt),
    path("unit/fail", unit_api.fail_attempt),
    path("unit/backend", unit_api.backend),
    path("unit/keys", unit_api.keys),
    path("unit/code", unit_api.code),
    path("unit/code/<slug:digest>", unit_api.code_bundle),
    path("awworker", unit_api.awworker),
]
