"""The good files that the damages start from are good: FITS as the standard has it, and reduced without a complaint."""

from __future__ import annotations

import json
from pathlib import Path

from astropy.io import fits

from tests.fuzz.library import Library


def test_every_file_is_whole_and_of_its_size(tmp_path: Path) -> None:
    library = Library(tmp_path)
    for entries in library.entries.values():
        for entry in entries:
            with fits.open(entry.path, checksum=True) as hdus:
                hdus.verify("exception")
                shapes = {hdu.data.shape for hdu in hdus if isinstance(hdu, fits.ImageHDU)}
            assert len(shapes) <= 1, entry.path.name
    # Science has found where the frames lie, so what takes its products has something to work on.
    solved = json.loads(fits.getheader(tmp_path / "AstrometricParameters_of_science0.fits")["ATTRS"])
    assert solved["astrometric_confidence"] == "good"
