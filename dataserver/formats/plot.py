"""A picture (PNG) of what a table declares to be plotted: transfer curves, residuals of zeropoints and positions.

A table says by ``PLOT1 = 'X Y'``, ``PLOT2`` ... which of its columns are drawn against each other.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from dataserver.errors import WrongFormat
from dataserver.formats import Format
from dataserver.formats.opening import is_table, opened_fits

_MOST_PLOTS = 6
_MOST_POINTS = 100_000
_WIDTH, _HEIGHT, _DOTS_AN_INCH = 7.0, 4.0, 120


def write(source: BinaryIO, output: BinaryIO) -> None:
    """Write the declared plots of the first table that has any, one below the other."""
    from matplotlib.figure import Figure

    with opened_fits(source) as hdus:
        hdu = next((hdu for hdu in hdus if is_table(hdu) and "PLOT1" in hdu.header), None)
        if hdu is None:
            raise WrongFormat("the file declares no plot", hint="download it as FITS")
        pairs = _declared(hdu)
        figure = Figure(figsize=(_WIDTH, _HEIGHT * len(pairs)), dpi=_DOTS_AN_INCH, layout="constrained")
        for place, (x, y) in enumerate(pairs, start=1):
            axes = figure.add_subplot(len(pairs), 1, place)
            axes.plot(_values(hdu, x), _values(hdu, y), ".", color="#1f5fa8", markersize=4)
            axes.set_xlabel(_label(hdu, x))
            axes.set_ylabel(_label(hdu, y))
            axes.grid(visible=True, color="#dddddd", linewidth=0.5)
        figure.suptitle(str(hdus[0].header.get("FILENAME", hdu.name)), fontsize=9)
        figure.savefig(output, format="png", metadata={"Software": None})


def _declared(hdu: Any) -> list[tuple[str, str]]:
    pairs = []
    for place in range(1, _MOST_PLOTS + 1):
        names = str(hdu.header.get(f"PLOT{place}", "")).split()
        if len(names) == 2:
            pairs.append((names[0], names[1]))
    missing = [name for pair in pairs for name in pair if name not in hdu.columns.names]
    if missing or not pairs:
        raise WrongFormat(f"a plot of the column {missing[0] if missing else '?'} that is not there")
    return pairs


def _values(hdu: Any, name: str) -> np.ndarray[Any, Any]:
    values = np.asarray(hdu.data[name][:_MOST_POINTS])
    if values.ndim != 1 or values.dtype.kind not in "iufb":
        raise WrongFormat(f"the column {name} holds no plain numbers")
    return values.astype(np.float64)


def _label(hdu: Any, name: str) -> str:
    column = hdu.columns[name]
    text = str(hdu.header.comments[f"TTYPE{hdu.columns.names.index(name) + 1}"]) or name
    return f"{text} [{column.unit}]" if column.unit else text


FORMAT = Format("plot", "Plot (PNG)", ".png", "image/png", frozenset({"values", "table"}), write, needs="plots")
