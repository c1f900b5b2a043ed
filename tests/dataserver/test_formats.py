"""Downloads in other formats, opened by the programs that astronomers open them with."""

from __future__ import annotations

import gzip
import io
import subprocess
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.table import Table
from astropy.wcs import WCS

from dataserver import convert
from dataserver.convert import converted
from dataserver.errors import WrongFormat
from dataserver.formats import formats, formats_for, media_type_of

from .conftest import Server, request

ROWS = 20_000
SHAPE = (300, 200)


@pytest.fixture(scope="module")
def source_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with every type of column that FITS has, among them missing and not-a-number values."""
    random = np.random.default_rng(3)
    number = np.arange(ROWS)
    flux = np.where(number % 7, random.normal(1000, 10, ROWS), np.nan)
    columns = [
        fits.Column("NUMBER", "J", array=number),
        fits.Column("ALPHA_J2000", "D", unit="deg", array=random.uniform(0, 360, ROWS)),
        fits.Column("DELTA_J2000", "D", unit="deg", array=random.uniform(-90, 90, ROWS)),
        fits.Column("X_IMAGE", "E", unit="pixel", array=random.uniform(0, 4096, ROWS)),
        fits.Column("FLUX_AUTO", "E", unit="electron", array=flux),
        fits.Column("FLUXERR_AUTO", "E", unit="electron/s", array=flux),
        fits.Column("FLUX_APER", "3E", unit="adu", array=random.normal(1000, 10, (ROWS, 3))),
        fits.Column("MAG_AUTO", "E", unit="mag", array=flux),
        fits.Column("ISOAREA_IMAGE", "J", unit="pixel**2", array=number),
        fits.Column("FLAGS", "I", array=number % 256),
        fits.Column("IMAFLAGS_ISO", "I", bzero=32768, array=(number % 65536).astype("u2")),
        fits.Column("HEALPIX", "K", array=number * 10**12, null=0),
        fits.Column("MATCHED", "L", array=number % 3 == 0),
        fits.Column("NAME", "9A", array=np.array([f"s<{each % 100}&" for each in number])),
        fits.Column("ODD", "E", unit="furlong per fortnight", array=flux),
        fits.Column("NAME OF 2", "B", array=number % 256),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SOURCES")
    table.header.comments["TTYPE1"] = "Running number"
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "<img src=x onerror=alert(1)>"
    primary.header["HISTORY"] = "made by a test"
    path = tmp_path_factory.mktemp("table") / "SourceList.fits"
    fits.HDUList([primary, table]).writeto(path, checksum=True)
    return path


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reduced frame: SCI, VAR, MASK, with a distorted WCS."""
    random = np.random.default_rng(4)
    primary = fits.PrimaryHDU()
    primary.header["EXPTIME"] = (30.0, "[s]")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [100.0, 150.0]
    wcs.wcs.cd = [[-6e-5, 0], [0, 6e-5]]
    header = wcs.to_header(relax=True)
    header["PV1_1"], header["PV1_7"] = 1.0, 0.001
    science = fits.ImageHDU(random.normal(100, 3, SHAPE).astype("f4"), header, "SCI")
    science.header["BUNIT"] = "electron"
    variance = fits.ImageHDU(np.full(SHAPE, 9, "f4"), name="VAR")
    variance.header["BUNIT"] = "adu**2"
    mask = fits.ImageHDU(random.integers(0, 256, SHAPE).astype("u2"), name="MASK")
    path = tmp_path_factory.mktemp("frame") / "Reduced.fits"
    fits.HDUList([primary, science, variance, mask]).writeto(path, checksum=True)
    return path


def write_as(path: Path, name: str, folder: Path) -> Path:
    target = folder / formats()[name].file_name(path.name)
    write = formats()[name].write
    assert write is not None
    with path.open("rb") as source, target.open("wb") as output:
        write(source, output)
    return target


def test_which_formats_there_are() -> None:
    assert [each.name for each in formats_for("table", {})] == ["fits", "asdf", "csv", "parquet", "votable"]
    assert [each.name for each in formats_for("image", {"plots": ["X Y"]})] == ["fits", "asdf"]
    assert formats()["asdf"].file_name("Bias.fits.fz") == "Bias.asdf"
    assert formats()["fits"].file_name("Bias.fits.fz") == "Bias.fits.fz"
    assert media_type_of("a.fits", "votable") == "application/x-votable+xml"


def test_declared_plots_are_drawn(tmp_path: Path) -> None:
    from PIL import Image

    x = np.linspace(0, 10, 50)
    columns = [fits.Column("SIGNAL", "D", array=x, unit="adu"), fits.Column("VARIANCE", "D", array=x**2)]
    table = fits.BinTableHDU.from_columns(columns, name="TRANSFER")
    table.header["PLOT1"] = "SIGNAL VARIANCE"
    path = tmp_path / "Gain.fits"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    with Image.open(write_as(path, "plot", tmp_path)) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0] > 80).sum()
    assert blue > 500  # the points themselves
    assert "plot" in [each.name for each in formats_for("values", {"plots": ["SIGNAL VARIANCE"]})]
    assert "plot" not in [each.name for each in formats_for("values", {})]


def test_a_plot_of_what_is_not_there_is_refused(source_list: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongFormat, match="declares no plot"):
        write_as(source_list, "plot", tmp_path)


def test_fits_is_given_as_it_is_stored(source_list: Path) -> None:
    with converted(source_list.open("rb"), "fits") as file:
        assert file.read() == source_list.read_bytes()


@pytest.mark.peer
@pytest.mark.program("stilts", "stilts")
def test_votable_passes_votlint_and_stilts_reads_its_values(source_list: Path, tmp_path: Path) -> None:
    path = write_as(source_list, "votable", tmp_path)
    lint = subprocess.run(["stilts", "votlint", str(path)], capture_output=True, text=True, check=False)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")
    back = tmp_path / "back.fits"
    subprocess.run(["stilts", "tcopy", str(path), str(back), "ofmt=fits-basic"], check=True, capture_output=True)
    ours, theirs = fits.getdata(source_list, 1), fits.getdata(back, 1)
    for name in ("NUMBER", "ALPHA_J2000", "FLUX_AUTO", "FLUX_APER", "FLAGS", "IMAFLAGS_ISO", "MATCHED", "NAME"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_votable_holds_values_units_ucds_and_what_is_missing(source_list: Path, tmp_path: Path) -> None:
    path = write_as(source_list, "votable", tmp_path)
    parsed = parse_single_table(path)
    ours, theirs = Table.read(source_list, 1, unit_parse_strict="silent"), parsed.to_table()
    assert theirs.colnames == [name.replace(" ", "_") for name in ours.colnames]
    for name, column in zip(theirs.colnames, ours.itercols(), strict=True):
        np.testing.assert_array_equal(np.ma.filled(theirs[name], 0), np.ma.filled(column, 0), err_msg=name)
    assert np.flatnonzero(theirs["HEALPIX"].mask).tolist() == [0]
    assert theirs["FLUX_AUTO"].mask.sum() == np.isnan(fits.getdata(source_list, 1)["FLUX_AUTO"]).sum()
    assert {str(theirs[name].unit) for name in ("ALPHA_J2000", "FLUX_AUTO")} == {"deg", "electron"}
    fields = {field.name: field for field in parsed.fields}
    assert fields["ALPHA_J2000"].ucd == "pos.eq.ra;meta.main"
    assert fields["FLUXERR_AUTO"].ucd == "stat.error;phot.flux"
    assert fields["NUMBER"].description == "Running number"
    assert fields["ODD"].unit is None
    assert fields["ODD"].description == "[furlong per fortnight]"
    assert b"<img" not in path.read_bytes()


def test_csv_holds_what_the_table_holds(source_list: Path, tmp_path: Path) -> None:
    path = write_as(source_list, "csv", tmp_path)
    theirs, ours = Table.read(path, format="ascii.csv"), fits.getdata(source_list, 1)
    names = [name for name in ours.names if name != "FLUX_APER"]
    assert theirs.colnames[6:10] == ["FLUX_APER_1", "FLUX_APER_2", "FLUX_APER_3", "MAG_AUTO"]
    for name in names:
        if ours[name].dtype.kind == "b":
            assert [text == "true" for text in np.char.lower(theirs[name].astype(str))] == ours[name].tolist(), name
        elif ours[name].dtype.kind == "f":  # the texts read back as the very same numbers; none is an empty cell
            read = np.ma.filled(theirs[name].astype(ours[name].dtype.newbyteorder("=")), np.nan)
            np.testing.assert_array_equal(read, ours[name], err_msg=name)
        else:
            np.testing.assert_array_equal(np.ma.filled(theirs[name], 0), ours[name], err_msg=name)
    assert path.read_text().splitlines()[1].split(",")[4] == ""


def test_parquet_holds_types_units_and_what_is_missing(source_list: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    theirs = parquet.read_table(write_as(source_list, "parquet", tmp_path))
    ours = fits.getdata(source_list, 1)
    assert theirs.column_names == ours.names
    for name in ours.names:
        read = theirs[name].to_numpy() if name != "FLUX_APER" else np.array(theirs[name].to_pylist(), "f4")
        if name == "HEALPIX":  # its 0 means none
            assert theirs[name].null_count == 1
            read = np.nan_to_num(read.astype(float))
        if name == "NAME":
            assert read.tolist() == ours[name].tolist()
        else:
            np.testing.assert_array_equal(read, ours[name], err_msg=name)
    assert theirs["FLUX_AUTO"].null_count == np.isnan(ours["FLUX_AUTO"]).sum()
    assert theirs.schema.field("FLUX_AUTO").metadata == {b"unit": b"electron"}
    assert theirs.schema.field("NUMBER").metadata == {b"description": b"Running number"}
    assert str(theirs.schema.field("X_IMAGE").type) == "float"


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_tables_without_rows_and_files_without_a_table(name: str, frame: Path, tmp_path: Path) -> None:
    columns = [fits.Column("A", "J"), fits.Column("B", "3E"), fits.Column("C", "5A")]
    empty = tmp_path / "Empty.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, nrows=0)]).writeto(empty)
    with converted(empty.open("rb"), name) as file:  # in a process with little memory
        assert file.read()
    with pytest.raises(WrongFormat, match="holds no table"):
        write_as(frame, name, tmp_path)


def test_a_table_becomes_an_astropy_table_in_asdf(source_list: Path, tmp_path: Path) -> None:
    with asdf.open(write_as(source_list, "asdf", tmp_path)) as tree:
        table = tree["SOURCES"]
        assert isinstance(table, Table)
        ours = fits.getdata(source_list, 1)
        for name in ours.names:
            np.testing.assert_array_equal(table[name], ours[name], err_msg=name)
        assert str(table["FLUX_AUTO"].unit) == "electron"
        assert table["NUMBER"].description == "Running number"
        assert table["HEALPIX"].meta == {"null": 0}
        assert tree["headers"]["PRIMARY"]["HISTORY"] == ["made by a test"]


def test_a_frame_becomes_arrays_with_a_wcs_in_asdf(frame: Path, tmp_path: Path) -> None:
    with asdf.open(write_as(frame, "asdf", tmp_path)) as tree, fits.open(frame) as hdus:
        for name in ("SCI", "VAR", "MASK"):
            np.testing.assert_array_equal(tree[name], hdus[name].data)
            assert tree[name].dtype.kind == hdus[name].data.dtype.kind
        assert tree["headers"]["PRIMARY"]["EXPTIME"] == 30.0
        assert str(tree["units"]["SCI"]) == "electron"
        assert tree["units"]["VAR"] == u.Unit("adu2")
        pixels = [0.0, 199.0], [0.0, 299.0]
        theirs, ours = tree["wcs"].all_pix2world(*pixels, 0), WCS(hdus["SCI"].header).all_pix2world(*pixels, 0)
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-9)


def test_a_frame_has_no_votable(frame: Path) -> None:
    with pytest.raises(WrongFormat, match="holds no table"):
        converted(frame.open("rb"), "votable")  # in a process of its own, which tells the reason


def test_packed_raw_frames_become_asdf(frame: Path, tmp_path: Path) -> None:
    data = fits.getdata(frame, "MASK")
    (tmp_path / "raw.fits.gz").write_bytes(gzip.compress(frame.read_bytes()))
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data)]).writeto(tmp_path / "raw.fits.fz")
    for name, where in (("raw.fits.gz", "MASK"), ("raw.fits.fz", "HDU1")):
        with asdf.open(write_as(tmp_path / name, "asdf", tmp_path)) as tree:
            np.testing.assert_array_equal(tree[where], data)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")  # astropy warns, we refuse
@pytest.mark.parametrize("claim", [{"NAXIS1": 10**6, "NAXIS2": 10**6}, {"NAXIS1": 20_000, "NAXIS2": 20_000},
                                   {"NAXIS1": -5, "NAXIS2": -10**6}, {"BITPIX": 7}, {"NAXIS": 900}])  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_lies_is_told_before_data_are_read(claim: dict[str, int], packed: bool, tmp_path: Path) -> None:
    header = fits.Header()
    for keyword, value in ({"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 1, "NAXIS2": 1} | claim).items():
        header[keyword] = value
    data = header.tostring(sep="", endcard=True, padding=True).encode() + bytes(2880)
    path = tmp_path / "hostile.fits"
    path.write_bytes(gzip.compress(data) if packed else data)
    for name in ("asdf", "votable"):
        with pytest.raises(WrongFormat):
            write_as(path, name, tmp_path)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.parametrize("data", [b"", b"no FITS at all" * 300, b"SIMPLE  =                    T" + b" " * 3000])
def test_what_is_not_fits_is_told(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(data)
    for name in ("asdf", "votable"):
        with pytest.raises(WrongFormat, match="FITS"):
            write_as(path, name, tmp_path)


def test_the_server_converts(server: Server, source_list: Path, tmp_path: Path) -> None:
    path = f"/files/{server.store.put_file(source_list).sha256}"
    answer = request(server.url("GET", path, format="votable", name="SourceList.vot"))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-votable+xml")
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''SourceList.vot"
    assert len(parse_single_table(io.BytesIO(answer.body)).array) == ROWS
    part = request(server.url("GET", path, format="votable"), headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, answer.body[100:200])
    unsuited = request(server.url("GET", path, format="jpeg"))
    assert (unsuited.status, b"the formats are: fits, asdf, csv, parquet, plot, votable" in unsuited.body) == (
        400,
        True,
    )


def test_a_conversion_that_never_ends_is_ended(frame: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "WALL_SECONDS", 0.05)  # shorter than Python's start
    with pytest.raises(WrongFormat, match="took more than"):
        converted(frame.open("rb"), "asdf")


def test_a_converter_that_crashes_takes_nothing_with_it(frame: Path, tmp_path: Path) -> None:
    # A compressed image that claims tiles it has not got makes the library wander.
    path = tmp_path / "crash.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.ones((64, 64), "i2"))]).writeto(path)
    data = bytearray(path.read_bytes())
    where = data.index(b"ZNAXIS1 =")
    data[where + 10 : where + 30] = b"%20d" % 400_000_000
    path.write_bytes(data)
    with pytest.raises(WrongFormat):
        converted(path.open("rb"), "asdf")


@pytest.mark.real_frames
def test_real_raw_frames_become_asdf(real_frames: Path, tmp_path: Path) -> None:
    found = [
        next(iter(sorted(night.rglob("*.f*t*"))), None) for night in sorted(real_frames.iterdir()) if night.is_dir()
    ]
    for path in filter(None, found):
        with asdf.open(write_as(path, "asdf", tmp_path)) as tree:
            assert tree["headers"]
