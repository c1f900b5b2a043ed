"""The users' interface as a page: every operation, read from the description that programs read (OpenAPI)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from awportal.api import api

Json = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body or an answer."""

    name: str
    type: str
    required: bool
    text: str


@dataclass(frozen=True)
class Operation:
    """What one method of one address does."""

    method: str
    path: str
    text: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    answer: tuple[Field, ...]

    @property
    def anchor(self) -> str:
        """Return the place on the page."""
        return f"{self.method}{self.path}".replace("/", "-").replace("{", "").replace("}", "").lower()


@cache
def operations() -> dict[str, list[Operation]]:
    """Return the operations by subject, in the order of the interface's routers."""
    description = api.get_openapi_schema(path_prefix="/api/v1/")
    schemas = description["components"]["schemas"]
    found: dict[str, list[Operation]] = {}
    for path, methods in description["paths"].items():
        for method, told in methods.items():
            found.setdefault(told.get("tags", [""])[0], []).append(_operation(method, path, told, schemas))
    return found


def _operation(method: str, path: str, told: Json, schemas: Json) -> Operation:
    parameters = tuple(
        Field(each["name"], _type(each["schema"]), each["required"], each.get("description", ""))
        for each in told["parameters"]
    )
    good = next((answer for status, answer in told["responses"].items() if str(status).startswith("2")), {})
    return Operation(
        method.upper(), path, told.get("description", told["summary"]).replace("``", ""), parameters,
        _fields(told.get("requestBody", {}), schemas), _fields(good, schemas),
    )  # fmt: skip


def _fields(message: Json, schemas: Json) -> tuple[Field, ...]:
    """Return the fields of a body or an answer, whatever it is packed in."""
    schema = next((content["schema"] for content in message.get("content", {}).values()), {})
    schema = schemas.get(schema.get("$ref", "").rpartition("/")[2], schema)
    required = schema.get("required", [])
    return tuple(
        Field(name, _type(each), name in required, each.get("description", ""))
        for name, each in schema.get("properties", {}).items()
    )


def _type(schema: Json) -> str:
    """Return in a few words what may stand in a field."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [f"{sign} {schema[name]}" for name, sign in (("minimum", "≥"), ("maximum", "≤"))
              if name in schema and abs(schema[name]) < 2**53]  # fmt: skip
    return " ".join([str(schema.get("type", "anything")), *limits])
