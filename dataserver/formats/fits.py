"""FITS: the file as it is stored, byte for byte."""

from dataserver.formats import Format

FORMAT = Format(
    name="fits",
    title="FITS",
    suffix=".fits",
    media_type="application/fits",
    contents=frozenset({"raw", "image", "mask", "values", "table"}),
)
