"""Reference catalogues go in from FITS, VOTable and text, in one form; what they cannot be is said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from django.contrib.auth.models import User

from archive.catalogues.ingest import Directions, ingest_catalogue
from archive.context import VISITOR, Context
from archive.ingest import BadRequest, Outcome
from archive.models import Product
from archive.sky_choice import SkyRequest, choose_by_sky
from dataserver.store import Store
from recipes.attributes import FrameAttributes
from recipes.fits_reading import open_fits, read_table

pytestmark = pytest.mark.django_db

CSV = b"id,ra,dec,V,Verr,B\n1,10.0,2.0,12.1,0.01,12.9\n2,10.01,2.01,99.999,9.999,13.0\n3,10.02,2.0,14.0,0.02,15.1\n"


def ingest(context: Context, store: Store, content: bytes, name: str = "stars.csv", **told: str) -> Outcome:
    return ingest_catalogue([(io.BytesIO(content), name)], Directions.parse("stars", **told), context, store)


def product(outcome: Outcome) -> Product:
    assert outcome.state == "ingested", getattr(outcome, "reason", "")
    return Product.objects.get(pk=outcome.products[0])


def columns(store: Store, row: Product) -> dict[str, np.ndarray]:
    with open_fits(store.path(row.sha256), row.name) as file:
        table = read_table(file, FrameAttributes())
        assert table is not None
        return {name: column.values for name, column in table.columns.items()}


def test_text_with_usual_names_needs_no_map(context: Context, store: Store) -> None:
    row = product(ingest(context, store, CSV))
    found = columns(store, row)
    assert list(found) == ["RA", "DEC", "MAG_V", "MAGERR_V", "MAG_B", "ID"]
    assert found["MAG_V"] == pytest.approx([12.1, np.nan, 14.0], nan_ok=True)
    assert found["MAGERR_V"] == pytest.approx([0.01, np.nan, 0.02], nan_ok=True)
    told = row.attributes
    assert (told["catalogue"], told["epoch"], told["system"], told["bands"]) == ("stars", 2000.0, "Vega", ["V", "B"])
    assert (told["star_count"], told["use"]) == (3, ["astrometry", "photometry"])
    assert sum(told["coverage_counts"]) == 3
    assert (row.kind, row.instrument, row.ra) == ("ReferenceCatalogue", "", pytest.approx(10.01, abs=1e-4))


def test_the_same_catalogue_twice_is_there_once(context: Context, store: Store) -> None:
    first = ingest(context, store, CSV)
    again = ingest(context, store, CSV)
    assert (again.state, again.products) == ("already_there", first.products)
    assert Product.objects.count() == 1


def test_a_map_names_columns_units_sums_and_errors(context: Context, store: Store) -> None:
    text = b"alpha,delta,mu,y,b-y,sy,sby\n0.5,-70.0,0.1,8.0,0.25,0.003,0.004\n0.6,-70.1,0.2,9.0,0.5,0.003,0.004\n"
    wanted = "ra=alpha[hour],dec=delta,pmra=mu[arcsec/yr],y=y,b=y+b-y,b_error=sy+sby"
    found = columns(store, product(ingest(context, store, text, columns=wanted, system="vega", epoch="1991.25")))
    assert found["RA"] == pytest.approx([7.5, 9.0])
    assert found["PMRA"] == pytest.approx([100.0, 200.0])
    assert found["MAG_b"] == pytest.approx([8.25, 9.5])
    assert found["MAGERR_b"] == pytest.approx([0.005, 0.005])
    row = Product.objects.get()
    assert (row.attributes["epoch"], row.attributes["system"]) == (1991.25, "Vega")


def test_votable_columns_are_told_by_their_ucds(context: Context, store: Store) -> None:
    table = Table({"a1": [350.0, 350.1], "a2": [5.0, 5.1], "rmag": [15.0, 16.0], "e_rmag": [0.1, 0.2]})
    table["a1"].unit = table["a2"].unit = "deg"
    table["a1"].meta["ucd"], table["a2"].meta["ucd"] = "pos.eq.ra;meta.main", "pos.eq.dec;meta.main"
    written = io.BytesIO()
    table.write(written, format="votable")
    found = columns(store, product(ingest(context, store, written.getvalue(), "stars.vot")))
    assert found["RA"] == pytest.approx([350.0, 350.1])
    assert found["MAGERR_r"] == pytest.approx([0.1, 0.2])


def test_units_of_columns_are_minded(context: Context, store: Store) -> None:
    """Minutes of arc are no degrees, and fluxes no magnitudes though their column is called V."""
    table = Table({"ra": [10.0, 10.1], "dec": [30.0, 36.0], "V": [1.0, 16.0], "B": [13.0, 14.0]},
                  units={"ra": "deg", "dec": "arcmin", "V": "mJy", "B": "mag"})  # fmt: skip
    file = io.BytesIO()
    table.write(file, format="votable")
    found = columns(store, product(ingest(context, store, file.getvalue(), "fluxes.vot")))
    assert found["DEC"] == pytest.approx([0.5, 0.6])
    assert [name for name in found if name.startswith("MAG_")] == ["MAG_B"]


def test_positions_to_a_second_serve_photometry_alone(context: Context, store: Store) -> None:
    text = b"A 00:30:09 -46:31:22 14.651\nB 00:30:16 -46:27:55 12.334\n"
    row = product(ingest(context, store, text, "old.dat", columns="id=col1,ra=col2,dec=col3,V=col4"))
    found = columns(store, row)
    assert found["RA"] == pytest.approx([7.5375, 7.566667])
    # A step of 15 arcsec, rounded or cut off: step / sqrt(3), foreshortened by cos(dec).
    assert found["RA_ERROR"] == pytest.approx(15 / np.sqrt(3) * np.cos(np.radians(46.5)), rel=1e-2)
    assert row.attributes["use"] == ["photometry"]
    refused = ingest(context, store, text, columns="ra=col2,dec=col3,V=col4", use="astrometry")
    assert (refused.state, refused.reason.split(",")[0]) == ("refused", "its positions are good to 4.2″ only")


@pytest.mark.parametrize(
    ("content", "told", "reason", "hint"),
    [
        (CSV, "ra=RAJ2000,dec=dec", "--columns: there is no column 'RAJ2000'", "there are id, ra, dec, V, Verr, B"),
        (CSV, "dec=ra,ra=dec,sofa", "--columns: 'sofa' says nothing of the kind ra=RAJ2000", "write --columns like"),
        (CSV, "V_error=Verr", "--columns: V_error without V", "add V=COLUMN"),
        (CSV.replace(b"10.0", b"210.0"), "dec=ra", "ra cannot be dec: it runs from 210 to 210", "say which column"),
        (b"x,y\n1,2\n3,4\n", "", "which column is ra and which is dec is not known; there are x, y", "write --columns"),
        (b"ra,dec,V\nhere,there,1\n", "", "ra holds texts that are no coordinates, such as 'here'", "say which column"),
        (b"ra,dec\n1,2\n3,4\n", "", "it has positions and no magnitudes", "if these are stars"),
        (b"ra,dec,V\n0.1,2,3\n23.9,4,5\n", "", "ra runs from 0.100 to 23.900: hours or degrees?", "say --columns"),
        (b"RAh,DEC,V\n10.1,2,3\n10.2,4,5\n", "ra=RAh,dec=DEC,V=V", "RAh runs from 10.100 to 10.200: hours", "say"),
        (CSV, "ra=ra[furlong],dec=dec", "ra: 'furlong' is no unit of a coordinate", "write ra=ra[deg]"),
        (CSV, "V=V[mJy]", "V cannot be part of V: it is in mJy", "give a column of magnitudes"),
        (b"", "", "it is empty", ""),
        (b"ra,dec,V\n", "", "it names 3 columns and has no line of data", "a catalogue has a line for each star"),
        (b"\x00\x01\x02", "", "it is neither FITS, nor VOTable, nor text", "write it as one"),
        (b"<html><body>sorry</body></html>", "", "it is XML or a web page, but no VOTable", "save the table"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE>&a;</VOTABLE>', "", "its XML defines entities or takes its data", ""),
        (b'<VOTABLE><STREAM href="file:///etc/passwd"/></VOTABLE>', "", "its XML defines entities or takes its", ""),
        (b"<VOTABLE><RESOURCE><TABLE></VOTABLE>", "", "its VOTable cannot be read", ""),
        (b"a,b\n1,2\n1\n1,2,3\n", "", "it is no table of 2 columns (line 3 has 1)", "separate the columns"),
    ],
)  # fmt: skip
def test_what_it_cannot_be_is_said(
    context: Context, store: Store, content: bytes, told: str, reason: str, hint: str
) -> None:
    outcome = ingest(context, store, content, columns=told)
    assert outcome.state == "refused"
    assert outcome.reason.startswith(reason)
    assert outcome.hint.startswith(hint)
    assert not Product.objects.exists()


def test_a_table_that_claims_more_than_is_there_is_refused(context: Context, store: Store) -> None:
    written = io.BytesIO()
    Table({"ra": [1.0, 2.0], "dec": [1.0, 2.0], "V": [9.0, 8.0]}).write(written, format="fits")
    claims = written.getvalue().replace(b"NAXIS2  =                    2", b"NAXIS2  =           2000000000")
    assert ingest(context, store, claims).reason.startswith("its header claims")
    image = io.BytesIO()
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(image)
    assert ingest(context, store, image.getvalue()).reason == "it holds no table"


def test_visitors_and_wrong_directions_are_refused(context: Context, store: Store) -> None:
    with pytest.raises(BadRequest, match="log in"):
        ingest(VISITOR, store, CSV)
    for wrong in ({"system": "STmag"}, {"epoch": "yesterday"}):
        with pytest.raises(BadRequest):
            ingest(context, store, CSV, **wrong)
    assert ingest(context, store, CSV, use="cooking").reason.startswith("--use: 'cooking' is none of")


def test_the_pole_and_ra_0_are_no_edge(context: Context, store: Store) -> None:
    text = "ra,dec,V\n" + "".join(f"{ra},89.9,10\n" for ra in (0, 90, 180, 270))
    told = product(ingest(context, store, text.encode(), columns="ra=ra[deg]")).attributes
    assert told["dec"] == pytest.approx(90, abs=1e-3)
    assert told["radius"] == pytest.approx(0.1, abs=1e-4)
    (choice,) = choose_by_sky(context, [SkyRequest("astrometry", 123.0, 89.95, 0.2)])
    assert choice.product is not None


def test_the_better_one_is_chosen_for_each_use(context: Context, store: Store, alice: User) -> None:
    def made(name: str, text: str, **told: str) -> int:
        outcome = ingest_catalogue([(io.BytesIO(text.encode()), name)], Directions.parse(name, **told), context, store)
        return product(outcome).pk

    places = [(30.0 + 0.01 * (n % 5), -5.0 + 0.01 * (n // 5)) for n in range(25)]
    exact = made("exact", "ra,dec,raErr,decErr,r\n" + "".join(f"{a},{d},0.01,0.01,15\n" for a, d in places),
                 columns="ra_error=raErr,dec_error=decErr,r=r")  # fmt: skip
    rough = made("rough", "ra,dec,V,B\n" + "".join(f"{a},{d},15,16\n" for a, d in places))
    few = made("few", "ra,dec,V\n30.0,-5.0,11\n")
    asked = [
        SkyRequest("astrometry", 30.0, -5.0, 0.2),
        SkyRequest("photometry", 30.0, -5.0, 0.2, band="V", colour=("B", "V")),
        SkyRequest("photometry", 30.0, -5.0, 0.2, band="r", system="Vega"),
        SkyRequest("photometry", 31.0, -5.0, 0.2, band="V"),
        SkyRequest("photometry", None, None, 0.2, band="V"),
    ]
    answers = choose_by_sky(context, asked)
    assert [answer.product.pk if answer.product else None for answer in answers] == [exact, rough, None, None, None]
    assert answers[0].reason == "about 25 stars within 12.0′, positions good to 0.01″; the best of 3 that cover it"
    assert answers[1].rivals[0] == "few: about 1 star within 12.0′ with V, no B for the colour"
    assert "its magnitudes are of the AB system, not Vega" in answers[2].reason
    assert answers[3].reason == "no catalogue for photometry has stars within 12.0′ of RA 31.0000 Dec -5.0000"
    assert "no star within 12.0′ of the frame's pointing" in answers[3].rivals[0]
    Product.objects.filter(pk=exact).update(is_valid=0)
    assert choose_by_sky(context, asked[:1])[0].product == Product.objects.get(pk=rough)
    assert few


@pytest.mark.real_frames
def test_the_real_catalogues_go_in(context: Context, store: Store, real_frames: Path) -> None:
    def made(name: str, *paths: Path, **told: str) -> tuple[Product, dict[str, np.ndarray]]:
        sources = [(path, path.name) for path in paths]
        row = product(ingest_catalogue(sources, Directions.parse(name, **told), context, store))
        return row, columns(store, row)

    folder = real_frames / "catalogues"
    row, landolt = made("Landolt2009", folder / "Landolt09.fit")
    assert (row.attributes["star_count"], row.attributes["system"]) == (595, "Vega")
    assert row.attributes["bands"] == ["V", "B", "U", "R", "I"]
    first = 15 * (4.593 / 3600 + 30 / 60), -(46 + 28 / 60 + 10.17 / 3600)  # TPhe I of the file
    assert (landolt["RA"][0], landolt["DEC"][0]) == pytest.approx(first, abs=1e-7)
    assert (landolt["PMRA"][0], landolt["PMDEC"][0]) == (13.6, -8.5)
    colours = landolt["MAG_V"][0], landolt["MAG_B"][0] - landolt["MAG_V"][0], landolt["MAG_V"][0] - landolt["MAG_R"][0]
    assert colours == pytest.approx((14.82, 0.764, 0.422))
    row, m13 = made("M13", folder / "M13_SDSS_ugriz_An2008.csv")
    assert (row.attributes["star_count"], row.attributes["system"]) == (25240, "AB")
    assert np.isnan(m13["MAG_u"][1])
    assert m13["MAGERR_g"][0] == 0.014
    chunks = sorted((real_frames / "decam_cutouts_reduced" / "gaia").glob("*.fits"))
    row, gaia = made("Gaia", *chunks)
    assert (row.attributes["epoch"], row.attributes["has_proper_motions"]) == (2015.5, True)
    assert len(gaia["RA"]) == len(np.unique(gaia["ID"])) == row.attributes["star_count"] == 709
    assert row.attributes["position_error"] < 0.002
    names = "id=col1,ra=col2,dec=col3,V=col4,B=V+col5,U=B+col6,R=V-col7,I=V-col9,V_error=col12"
    row, _ = made("Landolt1992", folder / "nlandolt.dat", columns=names)
    assert (row.attributes["use"], row.attributes["star_count"]) == (["photometry"], 526)
    m13_frame = SkyRequest("astrometry", 250.42, 36.46, 0.07)
    assert choose_by_sky(context, [m13_frame])[0].reason.startswith("about ")
