"""Upload of raw frames, one a request."""
from ninja import Router

router = Router(tags=["ingest"])
