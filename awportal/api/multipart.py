"""How an operation that takes an upload describes its form: ninja describes JSON bodies by itself, but not these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Field = Mapping[str, Any]


def file_part(description: str) -> Field:
    """Return the schema of a part that is a file."""
    return {"type": "string", "format": "binary", "description": description}


def text_part(description: str = "", **more: Any) -> Field:
    """Return the schema of a part that is a text."""
    return {"type": "string", **({"description": description} if description else {}), **more}


def multipart_form(required: list[str], **parts: Field) -> dict[str, Any]:
    """Return the description (``openapi_extra``) of a form of these parts, of which some must be there."""
    schema = {"type": "object", "required": required, "properties": parts}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
