"""ASDF, for Python: images as arrays with their WCS, tables as astropy tables with their units.

``asdf.open(name)`` gives, for a reduced frame::

    tree["headers"]["PRIMARY"]["EXPTIME"], tree["SCI"], tree["VAR"], tree["MASK"], tree["units"]["SCI"], tree["wcs"]

and for a source list ``tree["SOURCES"]``, an astropy Table (with asdf-astropy installed, as in our requirements).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, BinaryIO

from dataserver.formats import Format
from dataserver.formats.opening import cards_of, is_table, name_of, opened_fits


def write(source: BinaryIO, output: BinaryIO) -> None:
    """Write the FITS file `source` as ASDF; pixels go from the file's pages to the output, not through a copy."""
    import asdf

    with opened_fits(source) as hdus:
        tree = _tree(hdus)
        with asdf.AsdfFile(tree) as file:
            file.write_to(output, all_array_storage="internal")


def _tree(hdus: list[Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {"headers": {}, "units": {}}
    for number, hdu in enumerate(hdus):
        name = name_of(hdu, number)
        if name in tree["headers"] or name in {"headers", "units", "wcs"}:
            name = f"{name}-{number}"
        tree["headers"][name] = cards_of(hdu.header)
        if hdu.data is None:
            continue
        if is_table(hdu):
            tree[name] = _table(hdu)
            continue
        tree[name] = hdu.data
        if hdu.header.get("BUNIT"):
            tree["units"][name] = _unit(str(hdu.header["BUNIT"]))
        if "wcs" not in tree and hdu.data.ndim == 2:
            wcs = _wcs(hdu.header)
            if wcs is not None:
                tree["wcs"] = wcs
    return tree


def _table(hdu: Any) -> Any:
    from astropy.table import Column, Table

    table = Table.read(hdu, unit_parse_strict="silent", mask_invalid=False)
    table.meta.clear()  # the header is in the tree already
    for number, name in enumerate(table.colnames, start=1):
        column = table[name]
        if hasattr(column, "mask"):  # ASDF tables have no masks: the value that means "none" stays, and is named
            column = Column(column.data.data, name=name, unit=column.unit, meta={"null": hdu.columns[name].null})
            table.replace_column(name, column)
        if column.unit is not None:
            column.unit = _unit(str(column.unit))  # FITS knows fewer units than astropy does: electron
        column.description = hdu.header.comments[f"TTYPE{number}"] or None
    return table


def _unit(text: str) -> Any:
    from astropy import units

    return units.Unit(text, parse_strict="silent")


def _wcs(header: Any) -> Any:
    from astropy.wcs import WCS

    with suppress(
        ValueError, KeyError, TypeError, AssertionError, MemoryError
    ):  # the cards are in the tree in any case
        if "RADECSYS" in header and "RADESYS" not in header:  # its old name, which astropy reads with a warning
            header = header.copy()
            header.rename_keyword("RADECSYS", "RADESYS")
        wcs = WCS(header, naxis=2, fix=False)
        if wcs.has_celestial:
            wcs.to_header(relax=True)
            return wcs
    return None


FORMAT = Format(
    name="asdf",
    title="ASDF (Python)",
    suffix=".asdf",
    media_type="application/x-asdf",
    contents=frozenset({"raw", "image", "mask", "values", "table"}),
    write=write,
)
