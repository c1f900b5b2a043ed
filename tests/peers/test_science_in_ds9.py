"""Coordinates that Science writes, as DS9 (the AST library) reads them: the same as astropy's (wcslib)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from recipes.ccd.tangent_plane import separation
from recipes.ccd.wcs import celestial, sky_positions
from recipes.science import science
from tests.peers.coordinate_forms import FORMS, X, Y, frame_of
from tests.peers.report import record

# DS9 prints degrees with seven decimals.
_PRINTED = 0.5e-7 * 3600 * np.sqrt(2)

# Opens DS9 on a display of its own and asks it, over XPA's local sockets, where pixels lie.
_SCRIPT = """
ds9 -title awportal "$1" &
for try in $(seq 100); do xpaaccess -n awportal 2>/dev/null | grep -q '^1' && break; sleep 0.2; done
xpaset -p awportal mode crosshair
while read -r x y; do
    xpaset -p awportal crosshair "$x" "$y" image
    xpaget awportal crosshair wcs icrs degrees
done
xpaset -p awportal exit
wait
"""


def positions_in_ds9(image: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascension and declination of the stars' pixels [deg]."""
    pixels = "".join(f"{x:.6f} {y:.6f}\n" for x, y in zip(X, Y, strict=True))
    command = ["xvfb-run", "--auto-servernum", "bash", "-c", _SCRIPT, "ds9", str(image)]
    environment = os.environ | {"XPA_METHOD": "local", "XPA_TMPDIR": str(folder), "HOME": str(folder)}
    said = subprocess.run(command, input=pixels, env=environment, capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    lines = [line.split() for line in said.stdout.splitlines() if line.strip()]
    assert len(lines) == len(X), said.stdout + said.stderr
    ra, dec = np.array(lines, float).T
    return ra, dec


@pytest.mark.program("ds9", "saods9")
@pytest.mark.program("xvfb-run", "xvfb")
@pytest.mark.program("xpaget", "xpa-tools")
@pytest.mark.parametrize("form", FORMS)
def test_ds9_reads_the_written_header_as_astropy_does(form: str, tmp_path: Path) -> None:
    frame = frame_of(form)
    made = science(frame, None, None, frame, grid_centres="150,40", pixel_scale=0.72)
    most = 0.0
    for product in made.products[1:3]:  # the frame with its solved coordinates, and the same on the grid
        content = product.content
        path = tmp_path / f"{product.kind}.fits"
        fits.writeto(path, np.zeros((400, 400), np.float32), fits.Header(content.wcs))
        ours = sky_positions(celestial(content.wcs), X, Y)
        most = max(most, float(separation(*ours, *positions_in_ds9(path, tmp_path)).max() * 3600))
    record("Science", "DS9", f"positions from the written header, {form}, ours by astropy [arcsec]", most, None,
           "≤ 0.0003, what DS9 prints", met=most <= _PRINTED)  # fmt: skip
    assert most <= _PRINTED
