"""What a query returns: a product of the archive, with its attributes and its file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from awclient.client import Json, Portal
from awclient.terminal import out_table
from awclient.transfer import download, file_name

# As Astro-WISE calls what the portal calls otherwise.
OTHER_NAMES = {
    "date": "date_obs", "DATE_OBS": "date_obs", "OBJECT": "object", "EXPTIME": "exposure_time",
    "exptime": "exposure_time", "filename": "name", "object_id": "id", "creation_date": "created", "user": "creator",
    "timestamp_start": "valid_from", "timestamp_end": "valid_until", "quality_flag": "quality_flags",
}  # fmt: skip
_MOMENTS = {"date_obs", "created", "valid_from", "valid_until"}
_AT_ONCE = 100


class Frame:
    """One product: what the archive knows of it are attributes, QC values too (``bias.read_noise``)."""

    def __init__(self, portal: Portal, known: Json) -> None:
        self._portal = portal
        self.known = known

    def __getattr__(self, name: str) -> Any:
        try:
            return value_of(self.known, name)
        except KeyError:
            raise AttributeError(f"{self.known['kind']} {self.known['id']} has no {name}") from None

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *names_of(self.known)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and (self._portal.url, self.id) == (other._portal.url, other.id)

    def __hash__(self) -> int:
        return hash((self._portal.url, self.id))

    def __repr__(self) -> str:
        told = (self.known[key] for key in ("instrument", "chip", "filter", "object", "date_obs"))
        return f"<{self.known['kind']} {self.known['id']} {self.known['name']}: {' '.join(filter(None, told))}>"

    @property
    def inputs(self) -> dict[str, list[Frame]]:
        """What it was made from, by role."""
        numbers = [number for several in self.known["inputs"].values() for number in several]
        found = {frame.id: frame for frame in frames_of(self._portal, numbers)}
        return {
            role: [found[number] for number in several if number in found]
            for role, several in self.known["inputs"].items()
        }

    def retrieve(self, folder: str | Path = ".", format: str = "fits") -> Path:
        """Download its file; return the path. A file that is there already, whole, is not fetched again.

        Raises
        ------
        ClientError
            The portal is away, or the product cannot be given in this format.
        """
        target = Path(folder) / file_name(self.known, format)
        download(self._portal, self.known, target, format)
        return target

    def info(self) -> None:
        """Print all that is known of it."""
        out_table(("attribute", "value"), [(name, value_of(self.known, name)) for name in names_of(self.known)])


def frames_of(portal: Portal, numbers: Iterable[int]) -> Iterator[Frame]:
    """Yield the products of these numbers that may be seen, in their order."""
    wanted = list(dict.fromkeys(numbers))
    for begin in range(0, len(wanted), _AT_ONCE):
        some = wanted[begin : begin + _AT_ONCE]
        found = {known["id"]: known for known in portal.products(ids=",".join(map(str, some)))}
        yield from (Frame(portal, found[number]) for number in some if number in found)


def names_of(known: Json) -> list[str]:
    """Return the names of all that is known of a product."""
    plain = [name for name in known if name not in {"attributes", "measurements", "inputs"}]
    measured = [entry["name"] for entry in known["measurements"]]
    return list(dict.fromkeys([*plain, *measured, *known["attributes"]]))


def value_of(known: Json, name: str) -> Any:
    """Return what is known under a name: the archive's own, a QC value, or an attribute of the file.

    Raises
    ------
    KeyError
        There is nothing of this name.
    """
    name = OTHER_NAMES.get(name, name)
    if name in known and name not in {"attributes", "measurements", "inputs"}:
        value = known[name]
        if value is not None and name in _MOMENTS:
            return datetime.fromisoformat(value)
        return date.fromisoformat(value) if value is not None and name == "night" else value
    for entry in known["measurements"]:
        if entry["name"] == name:
            return entry["value"]
    return known["attributes"][name]


def moment_of(value: object) -> datetime:
    """Return a date, a moment or its text as a moment of UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no date")
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
