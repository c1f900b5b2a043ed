"""Image, weight and data quality of an exposure that others reduced, in our terms: variance, and our mask bits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from archive.headers import Header, Unit, read_units
from archive.instruments.catalogue import recognise
from archive.translation.camera import Camera
from archive.translation.translate import NotUnderstood, RawFrame, translate
from archive.translation.values import find_number
from recipes import masks
from recipes.attributes import FrameAttributes
from recipes.ccd.wcs import centre_of, pixel_scale_of
from recipes.fits_reading import open_fits, read_raw_frame
from recipes.frame import Frame
from recipes.products import Product

FRAME, WEIGHT = "ReducedScienceFrame", "WeightFrame"
PARTS = ("image", "weight", "mask")
WEIGHT_TYPES = ("weight", "variance", "sigma")
MAXIMUM_PIXELS = 2**26
# What extensions beside the image are called that hold its weight or its mask, and what such a weight is.
_WEIGHTS = {"WEIGHT": "weight", "WHT": "weight", "IVAR": "weight", "INVVAR": "weight", "VAR": "variance",
            "VARIANCE": "variance", "ERR": "sigma", "ERROR": "sigma", "SIGMA": "sigma", "UNCERT": "sigma"}  # fmt: skip
_MASKS = ("MASK", "DQ", "BPM", "FLAGS", "DQM", "BADPIX")
_ZEROPOINTS = ("MAGZERO", "MAGZPT", "ZEROPT", "PHOTZP")
_ELECTRONS = re.compile(r"e-?|electrons?|photo-?electrons?", re.IGNORECASE)
_COUNTS = re.compile(r"adu|counts?|dn", re.IGNORECASE)
_DROPPED = {"data_section", "prescan_x", "overscan_x", "prescan_y", "overscan_y", "amplifiers", "extension", "notes",
            "width", "height"}  # fmt: skip


@dataclass(frozen=True)
class ReducedFiles:
    """The files of one exposure, each with its name; weight and mask may be extensions of the image's file."""

    image: tuple[Path | BinaryIO, str]
    weight: tuple[Path | BinaryIO, str] | None = None
    mask: tuple[Path | BinaryIO, str] | None = None
    weight_type: str = ""

    def given(self) -> dict[str, tuple[Path | BinaryIO, str]]:
        """Return the files there are, by what they hold."""
        return {part: file for part in PARTS if (file := getattr(self, part)) is not None}


@dataclass
class Chip:
    """One chip's exposure as it is put together."""

    attributes: dict[str, Any]
    products: list[Product] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_chips(files: ReducedFiles, paths: Mapping[str, Path], camera: Camera | None) -> list[Chip]:
    """Return the products of each chip of an exposure; `paths` are the files by what they hold.

    Raises
    ------
    NotUnderstood, NotFits, UsageError
        What cannot be, with the reason and how to mend it.
    """
    units = {part: read_units(path) for part, path in paths.items()}
    camera = camera or next((found for unit in units["image"][:2] if (found := recognise(unit.header))), None)
    images = [unit for unit in units["image"] if unit.is_image and _role_of(unit, units["image"]) == "image"]
    if not images:
        raise NotUnderstood("it holds no image", "name the file with the reduced image first")
    if any(unit.axes[0] * unit.axes[1] > MAXIMUM_PIXELS for unit in images):
        raise NotUnderstood(f"its image has more than {MAXIMUM_PIXELS} pixels", "cut it into tiles")
    primary = units["image"][0]
    frames = translate(
        [primary, *(unit for unit in images if unit is not primary)], files.image[1], camera, "RawScience"
    )
    if len(frames) != len(images):
        raise NotUnderstood("its extensions could not be told apart")
    return [
        _chip(files, paths, units, image, frame, camera) for image, frame in zip(images, frames, strict=True)
    ]  # fmt: skip


def _chip(
    files: ReducedFiles,
    paths: Mapping[str, Path],
    units: Mapping[str, Sequence[Unit]],
    image: Unit,
    frame: RawFrame,
    camera: Camera | None,
) -> Chip:
    header = image.header.over(units["image"][0].header)
    pixels, wcs = _pixels(paths["image"], image, files.image[1])
    notes = ["reduced elsewhere"]
    unit = _unit(header, notes)
    mask = np.where(np.isfinite(pixels), 0, masks.NO_DATA).astype(np.uint16)
    pixels = np.where(np.isfinite(pixels), pixels, np.float32(0))
    without: list[str] = []
    quality = _beside(units, image, "mask")
    if quality is None:
        without.append("mask")
    else:
        part, found = quality
        values, _ = _pixels(paths[part], found, _name(files, part))
        _check_shape(values, pixels, "mask", _name(files, part))
        mask |= _our_bits(values, found.header.over(units[part][0].header), camera, _name(files, part), notes)
    weighted = _beside(units, image, "weight")
    variance: NDArray[np.float32] | None = None
    if weighted is None:
        without.append("weight")
    else:
        part, found = weighted
        values, _ = _pixels(paths[part], found, _name(files, part))
        _check_shape(values, pixels, "weight", _name(files, part))
        said = _WEIGHTS.get(found.header.text("EXTNAME").upper(), "") if part == "image" else ""
        variance = _variance(values, files.weight_type or said or "weight", mask)
    attributes = _attributes(header, frame, wcs, pixels.shape, notes)
    made = Chip(attributes, notes=notes)
    own = FrameAttributes.model_validate(attributes)
    science = Frame(pixels, variance=variance, mask=mask, unit=unit, wcs=wcs)
    made.products.append(Product(FRAME, science, own, made_without=without, notes=notes))
    if variance is not None:
        inverse = np.zeros_like(variance)
        np.divide(1.0, variance, out=inverse, where=(mask == 0) & (variance > 0))
        weight = Frame(inverse, mask=mask, unit=f"1/{unit}2", wcs=wcs)
        made.products.append(Product(WEIGHT, weight, own, made_without=without, notes=notes))
    return made


def _role_of(unit: Unit, units: Sequence[Unit]) -> str:
    """Return what an image of the science file is by its extension's name: image, weight or mask."""
    name = re.sub(r"[\d_]+$", "", unit.header.text("EXTNAME").upper())
    if name in _MASKS and len(units) > 1:
        return "mask"
    return "weight" if name in _WEIGHTS and len(units) > 1 else "image"


def _beside(units: Mapping[str, Sequence[Unit]], image: Unit, part: str) -> tuple[str, Unit] | None:
    """Return the file and unit with the weight or mask of a chip: of its own file the one of the same name or place."""
    if part in units:
        there = [unit for unit in units[part] if unit.is_image]
        same = [unit for unit in there if _names(unit) & _names(image)]
        if len(same) == 1:
            return part, same[0]
        if len(there) == 1 and sum(unit.is_image for unit in units["image"]) == 1:
            return part, there[0]
        raise NotUnderstood(
            f"the {part}'s file has {len(there)} images, and none is plainly that of {image.header.text('EXTNAME')!r}",
            "extensions belong together by EXTNAME or CCDNUM",
        )
    own = [unit for unit in units["image"] if unit.is_image and _role_of(unit, units["image"]) == part]
    version = find_number(image.header, "EXTVER")
    same = [unit for unit in own if find_number(unit.header, "EXTVER") == version] or own
    return ("image", same[0]) if len(same) == 1 else None


def _names(unit: Unit) -> set[str]:
    names = {f"{keyword}={text}" for keyword in ("EXTNAME", "CCDNUM") if (text := unit.header.text(keyword))}
    return names or {f"place={unit.index}"}


def _pixels(path: Path, unit: Unit, name: str) -> tuple[NDArray[np.float32], dict[str, Any]]:
    with open_fits(path, Path(name).name) as file:
        frame = read_raw_frame(file, FrameAttributes(extension=unit.index))
        return np.array(frame.data, np.float32), dict(frame.wcs)


def _check_shape(values: NDArray[Any], pixels: NDArray[Any], part: str, name: str) -> None:
    if values.shape != pixels.shape:
        sizes = [f"{shape[1]}×{shape[0]}" for shape in (values.shape, pixels.shape)]
        raise NotUnderstood(f"the {part} {name} has {sizes[0]} pixels, the image {sizes[1]}")


def _our_bits(
    values: NDArray[np.float32], header: Header, camera: Camera | None, name: str, notes: list[str]
) -> NDArray[np.uint16]:
    """Return a mask in our bits, by the card that says its convention or by the camera's table."""
    finite = np.isfinite(values)
    whole = np.where(finite, values, 0).astype(np.int64)
    convention = header.text(masks.CONVENTION_CARD).upper()
    if convention in masks.CONVENTIONS:
        return masks.in_our_bits(whole, convention)
    if camera is None or not camera.mask_bits:
        hint = f"write [mask_codes] or [mask_bits] into the camera's file, or the card {masks.CONVENTION_CARD}"
        raise NotUnderstood(f"the mask {name} does not say what its values mean", f"{hint} = 1=BAD into the mask")
    found = np.where(finite, 0, masks.NO_DATA).astype(np.uint16)
    if camera.mask_codes:
        for code in np.unique(whole):
            found[whole == code] |= np.uint16(camera.mask_bits.get(int(code), masks.USER if code else 0))
        unknown = sorted(int(code) for code in np.unique(whole) if code and int(code) not in camera.mask_bits)
    else:
        known = 0
        for bit, ours in camera.mask_bits.items():
            found[(whole & bit) != 0] |= np.uint16(ours)
            known |= bit
        found[(whole & ~known) != 0] |= np.uint16(masks.USER)
        unknown = [1 << place for place in range(40) if np.any(whole & ~known & (1 << place))]
    if unknown:
        notes.append(f"its mask has values that the camera's file does not tell: {', '.join(map(str, unknown[:8]))}")
    return found


def _variance(values: NDArray[np.float32], kind: str, mask: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the variance; pixels without one are marked in `mask` as without data."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        variances: dict[str, NDArray[np.float32]] = {"weight": 1 / values, "variance": values, "sigma": values**2}
    variance = variances[kind]
    usable = np.isfinite(variance) & (variance > 0) & np.isfinite(values)
    mask[~usable] |= np.uint16(masks.NO_DATA)
    return np.asarray(np.where(usable, variance, 0), np.float32)


def _attributes(
    header: Header, frame: RawFrame, wcs: dict[str, Any], shape: tuple[int, ...], notes: list[str]
) -> dict[str, Any]:
    known = {name: value for name, value in frame.attributes.model_dump(exclude_none=True).items() if value != []}
    known = {name: value for name, value in known.items() if name not in _DROPPED}
    known |= {"has_wcs": bool(wcs), "reduced_elsewhere": True, **centre_of(wcs, (shape[0], shape[1]))}
    if wcs and (scale := pixel_scale_of(wcs)):
        known["pixel_scale"] = round(scale, 6)
    if (zeropoint := find_number(header, *_ZEROPOINTS)) is not None and -20 < zeropoint < 50:
        known["zeropoint"] = zeropoint
        notes.append(f"zeropoint {zeropoint:g} mag of its header: m = zeropoint - 2.5 log10(value)")
    return known


def _unit(header: Header, notes: list[str]) -> str:
    said = header.text("BUNIT")
    if _ELECTRONS.fullmatch(said):
        return "electron"
    if said and not _COUNTS.fullmatch(said):
        raise NotUnderstood(f"its pixels are in {said[:20]!r}", "reduced frames are taken in electron or adu")
    if not said:
        notes.append("no BUNIT in its header: adu was taken")
    return "adu"


def _name(files: ReducedFiles, part: str) -> str:
    return files.given()[part][1]
