"""The users' interface at /api/v1/: what `awrecipe`, scripts and the portal's own pages speak.

One router a subject; an operation fetches, calls one function of the archive or the frontend, and returns.
"""

from __future__ import annotations

from ninja import NinjaAPI

from awportal.api import (
    account,
    batches,
    code,
    data_servers,
    errors,
    impact,
    ingest,
    limits,
    nights,
    parameter_sets,
    products,
    projects,
    quotas,
    recipes,
    runs,
    selections,
    units,
)
from awportal.api.authentication import SESSION, TOKEN

# The documentation page of django-ninja loads its script from another site; the description itself is served.
api = NinjaAPI(
    title="awportal",
    version="1",
    description="Recipes, products, runs and units. Authorization: Bearer TOKEN, or the portal's session with CSRF.",
    auth=[TOKEN, SESSION],
    docs_url=None,
    openapi_url="/openapi.json",
    urls_namespace="api",
)
errors.install(api)
SUBJECTS = (
    recipes,
    products,
    selections,
    nights,
    impact,
    ingest,
    limits,
    code,
    parameter_sets,
    runs,
    batches,
    units,
    data_servers,
    quotas,
    projects,
    account,
)
for subject in SUBJECTS:
    api.add_router("", subject.router)
