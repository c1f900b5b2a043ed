"""Raw files come in: understood, stored as they are, once; or refused with a reason that tells what to do."""

import gzip
import hashlib
import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from django.contrib.auth.models import User

from archive.context import VISITOR, Context
from archive.ingest import (
    AlreadyThere,
    BadRequest,
    Ingested,
    Refused,
    ingest_file,
    ingest_many,
    looks_like_fits,
    safe_name,
)
from archive.models import Lineage, Membership, Privilege, Product, Project
from dataserver.store import Store

RawFile = Callable[..., Path]


def test_a_frame_goes_in_with_the_context(raw_file: RawFile, alice: User, project: Project, store: Store) -> None:
    Membership.objects.create(user=alice, project=project)
    path = raw_file()
    outcome = ingest_file(path, "night/frame.fits", Context(alice, project, Privilege.PROJECT), store)
    assert isinstance(outcome, Ingested)
    product = Product.objects.get(pk=outcome.products[0])
    assert (product.kind, product.name, product.instrument, product.filter_name, product.object_name) == (
        "RawScience", "frame.fits", "My_Camera", "V", "NGC 1")  # fmt: skip
    assert (product.creator, product.project, product.privilege) == (alice, project, Privilege.PROJECT)
    assert product.timestamp_start is None
    assert product.file_size == path.stat().st_size
    assert store.path(product.sha256).read_bytes() == path.read_bytes()


def test_a_stream_goes_in_like_a_file(raw_file: RawFile, context: Context, store: Store) -> None:
    outcome = ingest_file(io.BytesIO(raw_file().read_bytes()), "frame.fits", context, store)
    assert outcome.state == "ingested"


def test_one_file_is_five_queries(raw_file: RawFile, context: Context, store: Store, django_assert_num_queries) -> None:
    path = raw_file()
    with django_assert_num_queries(5):  # the size of others of its mode, is it there, and the insert in its savepoint
        ingest_file(path, "frame.fits", context, store)


def test_twice_adds_nothing(raw_file: RawFile, context: Context, store: Store) -> None:
    path = raw_file()
    first = ingest_file(path, "frame.fits", context, store)
    second = ingest_file(path, "other_name.fits", context, store)
    assert isinstance(second, AlreadyThere)
    assert second.products == first.products
    assert Product.objects.count() == 1


def test_what_others_cannot_see_they_ingest_for_themselves(
    raw_file: RawFile, context: Context, bob: User, store: Store
) -> None:
    path = raw_file()
    ingest_file(path, "frame.fits", context, store)
    assert ingest_file(path, "frame.fits", Context(bob), store).state == "ingested"
    assert Product.objects.count() == 2


def test_a_file_that_is_none_is_reported_and_the_rest_goes_in(
    raw_file: RawFile, tmp_path: Path, context: Context, store: Store
) -> None:
    notes = tmp_path / "notes.fits"
    notes.write_text("clouds from 3 h on" * 300)
    empty = tmp_path / "empty.fits"
    empty.touch()
    good = raw_file("good.fits")
    files = [(path, path.name) for path in (notes, empty, good, tmp_path / "away.fits")]
    outcomes = list(ingest_many(files, context, store))
    assert [outcome.state for outcome in outcomes] == ["refused", "refused", "ingested", "refused"]
    assert "not a FITS file" in outcomes[0].reason
    assert outcomes[1].reason == "it is empty"
    assert outcomes[3].reason == "it cannot be read: No such file or directory"
    assert notes.exists()
    assert len(list(store.root.rglob("objects/*/*"))) == 1  # nothing of the others was kept


def test_a_file_that_was_cut_off_is_refused(raw_file: RawFile, context: Context, store: Store) -> None:
    path = raw_file(shape=(100, 100))
    path.write_bytes(path.read_bytes()[:-8640])
    outcome = ingest_file(path, path.name, context, store)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "its header claims 20000 bytes of data, the file has 11520"


def test_a_damaged_gzip_is_refused(raw_file: RawFile, context: Context, store: Store) -> None:
    path = raw_file()
    packed = gzip.compress(path.read_bytes())
    outcome = ingest_file(io.BytesIO(packed[: len(packed) // 2]), "f.fits.gz", context, store)
    assert isinstance(outcome, Refused)
    assert "gzip packing is damaged" in outcome.reason


def test_a_header_that_claims_the_world_is_refused_before_any_data(context: Context, store: Store) -> None:
    header = fits.Header([("SIMPLE", True), ("BITPIX", 16), ("NAXIS", 2), ("NAXIS1", 10**6), ("NAXIS2", 10**6)])
    outcome = ingest_file(io.BytesIO(header.tostring().encode()), "big.fits", context, store)
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("its header claims 2000000")


def test_a_gzip_bomb_costs_no_memory(context: Context, store: Store) -> None:
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 10_000), ("NAXIS2", 10_000)])
    packed = io.BytesIO(gzip.compress(header.tostring().encode() + bytes(100_000_000), 6))
    tracemalloc.start()
    outcome = ingest_file(packed, "bomb.fits.gz", context, store, maximum_bytes=50_000_000)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()
    assert isinstance(outcome, Refused)
    assert "more than the 50000000 that are accepted" in outcome.reason


def test_an_fz_file_is_understood(raw_file: RawFile, tmp_path: Path, context: Context, store: Store) -> None:
    plain = raw_file(shape=(64, 64))
    with fits.open(plain) as opened:
        packed = fits.CompImageHDU(opened[0].data, opened[0].header)
    packed.writeto(tmp_path / "frame.fits.fz")
    outcome = ingest_file(tmp_path / "frame.fits.fz", "frame.fits.fz", context, store)
    product = Product.objects.get(pk=outcome.products[0])
    assert (product.attributes["width"], product.attributes["extension"], product.chip) == (64, 1, "1")


def test_a_mosaic_is_one_product_a_chip(tmp_path: Path, context: Context, store: Store) -> None:
    chips = [
        fits.ImageHDU(np.zeros((8, 10), np.int16), name=f"CCD{number}", header=fits.Header([("CCDNUM", number)]))
        for number in (1, 2, 3)
    ]
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "Mosaic", "IMAGETYP": "zero", "DATE-OBS": "2024-05-13T02:00:00", "EXPTIME": 0.0})
    fits.HDUList([primary, *chips]).writeto(tmp_path / "mosaic.fits")
    outcome = ingest_file(tmp_path / "mosaic.fits", "mosaic.fits", context, store)
    products = Product.objects.filter(pk__in=outcome.products).order_by("pk")
    assert [(product.chip, product.attributes["extension"]) for product in products] == [("1", 1), ("2", 2), ("3", 3)]
    assert len({product.sha256 for product in products}) == 1
    assert ingest_file(tmp_path / "mosaic.fits", "mosaic.fits", context, store).products == outcome.products


def test_amplifiers_in_extensions_are_refused_clearly(tmp_path: Path, context: Context, store: Store) -> None:
    halves = [fits.ImageHDU(np.zeros((8, 10), np.int16), header=fits.Header([("CCDNUM", 1)])) for _ in range(2)]
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "Mosaic", "IMAGETYP": "zero", "DATE-OBS": "2024-05-13T02:00:00"})
    fits.HDUList([primary, *halves]).writeto(tmp_path / "mosaic.fits")
    outcome = ingest_file(tmp_path / "mosaic.fits", "mosaic.fits", context, store)
    assert isinstance(outcome, Refused)
    assert outcome.reason == "it holds several images of one chip (1)"


def test_what_the_user_tells_goes_before_the_header(raw_file: RawFile, context: Context, store: Store) -> None:
    outcome = ingest_file(raw_file(), "frame.fits", context, store, instrument="mine", type="Dome flat")
    product = Product.objects.get(pk=outcome.products[0])
    assert (product.kind, product.instrument) == ("RawDomeFlat", "mine")
    assert (product.ra, product.healpix) == (None, None)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"type": "moon"}, "type 'moon' is none of bias, dark, domeflat, twilight, science, suggested"),
        ({"instrument": "../cam"}, "instrument '../cam': use letters"),
    ],
)
def test_what_cannot_be_told_is_refused_before_any_file(
    context: Context, store: Store, told: dict[str, str], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        ingest_many([], context, store, **told)


def test_visitors_ingest_nothing(raw_file: RawFile, store: Store, db: None) -> None:
    with pytest.raises(BadRequest, match="log in"):
        ingest_file(raw_file(), "frame.fits", VISITOR, store)


def test_a_type_told_later_is_put_right_until_something_was_made_of_it(
    raw_file: RawFile, context: Context, bob: User, store: Store, make_product: Callable[..., Product]
) -> None:
    path = raw_file()
    number = ingest_file(path, "frame.fits", context, store).products[0]
    again = ingest_file(path, "frame.fits", context, store, type="twilight")
    assert again.notes == ["was RawScience, is now RawTwilightFlat as told"]
    assert Product.objects.get(pk=number).kind == "RawTwilightFlat"
    Lineage.objects.create(product=make_product(), source_id=number, role="raw")
    again = ingest_file(path, "frame.fits", context, store, type="science")
    assert again.notes == ["stays RawTwilightFlat: products were made from it"]
    assert Product.objects.get(pk=number).kind == "RawTwilightFlat"


def test_only_its_creator_changes_a_type(raw_file: RawFile, alice: User, bob: User, store: Store) -> None:
    path = raw_file()
    ingest_file(path, "frame.fits", Context(alice, None, Privilege.ALL_USERS), store)
    again = ingest_file(path, "frame.fits", Context(bob), store, type="twilight")
    assert again.notes == ["is RawScience: only its creator may change that"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\night\\M 31 (1).fits", "M_31_1_.fits"),
        ("<img src=x onerror=alert(1)>.fits", "img_src=x_onerror=alert_1_.fits"),
        ("...", "unnamed.fits"),
        ("-rf.fits", "rf.fits"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_which_files_of_a_folder_are_tried() -> None:
    assert list(filter(looks_like_fits, ("a.FIT.gz", "b.fits", "c.fits.fz", "d.fts", "e.txt", "f.fits.txt"))) == [
        "a.FIT.gz", "b.fits", "c.fits.fz", "d.fts"]  # fmt: skip


def test_the_same_file_from_two_sides_at_once_is_there_once(
    raw_file: RawFile, context: Context, store: Store, make_product: Callable[..., Product]
) -> None:
    path = raw_file()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    # The other side has inserted it after this side has looked.
    make_product(kind="RawScience", identity=f"raw {context.user.pk}: {sha256} 1")
    assert ingest_file(path, "frame.fits", context, store).state == "already_there"
    assert Product.objects.count() == 1


def test_a_camera_of_the_site_is_recognised(
    raw_file: RawFile, tmp_path: Path, context: Context, store: Store, settings
) -> None:
    settings.HOME = tmp_path
    (tmp_path / "cameras").mkdir()
    described = tmp_path / "cameras" / "mine.toml"
    described.write_text('name = "mine"\ninstrume = ["my camera"]\nlongitude = 149.0\n[fixed]\nchip = "e2v"\n')
    path = raw_file(cards={"DATE-OBS": "2024-05-13T09:00:00"})
    product = Product.objects.get(pk=ingest_file(path, "frame.fits", context, store).products[0])
    assert (product.instrument, product.chip, product.night.isoformat()) == ("mine", "e2v", "2024-05-13")
    described.write_text("name = ")
    with pytest.raises(BadRequest, match=r"a description of a camera cannot be read: mine\.toml: not TOML"):
        ingest_file(path, "frame.fits", context, store)
