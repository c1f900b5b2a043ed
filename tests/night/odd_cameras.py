"""Nights in the header dialects of cameras as they exist in the field, with the truth of each beside it.

Every dialect is one function that writes one exposure as that camera's software does. Nothing here knows how the
archive reads headers: the keywords are those of the cameras' own manuals and of files in public archives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tests.night.odd_detector import Exposure, Output, Plan

Cards = Mapping[str, Any]
Written = tuple[str, fits.HDUList]


@dataclass(frozen=True)
class OddNight:
    """A night of one camera: how to write it, what it is in truth, and what the user tells."""

    name: str
    write: Callable[[Exposure, tuple[Output, ...]], Written]
    outputs: tuple[Output, ...] = (Output(),)
    plans: tuple[Plan, ...] = (Plan(),)
    arguments: tuple[str, ...] = ()
    extras: Callable[[Path], None] | None = None
    chips: tuple[str, ...] = ("1",)
    products: Mapping[str, int] = field(default_factory=dict)

    def make(self, folder: Path) -> Path:
        """Write the night's files; return their directory."""
        for plan in self.plans:
            for exposure in plan.exposures():
                name, hdus = self.write(exposure, self.outputs)
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                hdus.writeto(path, overwrite=True)
        if self.extras:
            self.extras(folder)
        return folder


def _put(header: fits.Header, cards: Cards) -> fits.Header:
    for keyword, value in cards.items():
        if value is not None:
            header[keyword] = value
    return header


def _unsigned(array: Any) -> Any:
    return np.asarray(array).astype(np.uint16)


def _single(exposure: Exposure, outputs: tuple[Output, ...], cards: Cards, name: str = "") -> Written:
    hdu = fits.PrimaryHDU(_unsigned(outputs[0].expose(exposure)))
    _put(hdu.header, cards)
    return name or f"{exposure.number:04d}.fits", fits.HDUList([hdu])


def maxim(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """MaxIm DL through ASCOM: longitude as a text, an old DATE, FITS keywords of SBIG's standard."""
    words = {"bias": "Bias Frame", "dark": "Dark Frame", "flat": "Flat Field", "science": "Light Frame"}
    return _single(exposure, outputs, {
        "DATE-OBS": f"{exposure.date}T{exposure.time}", "EXPTIME": exposure.seconds, "EXPOSURE": exposure.seconds,
        "SET-TEMP": -20.0, "CCD-TEMP": exposure.temperature, "XPIXSZ": 9.0, "YPIXSZ": 9.0,
        "XBINNING": exposure.binning, "YBINNING": exposure.binning, "XORGSUBF": 0, "YORGSUBF": 0,
        "READOUTM": "1 MHz   ", "FILTER": exposure.filter or "Clear", "IMAGETYP": words[exposure.kind],
        "FOCALLEN": 2563.0, "APTDIA": 356.0, "TRAKTIME": 0.0, "OBJECT": exposure.object,
        "OBJCTRA": exposure.ra_text.replace(":", " "), "OBJCTDEC": exposure.dec_text.replace(":", " "),
        "SITELAT": "32 54 11", "SITELONG": "-105 31 45", "JD": exposure.mjd + 2400000.5,
        "EGAIN": outputs[0].gain, "PEDESTAL": -100, "INSTRUME": "Apogee Alta U47", "SWCREATE": "MaxIm DL Version 6.20",
        "SWSERIAL": "ABCDE-12345", "CBLACK": 1000, "CWHITE": 1200, "SWMODIFY": "", "CSTRETCH": "Medium",
        "DATE": "14/03/21",
    }, f"{exposure.object or exposure.kind}-{exposure.number:03d}{exposure.filter}.fit")  # fmt: skip


def nina(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """N.I.N.A. with a CMOS camera: 12 bits in 16, GAIN is the camera's setting, rows from the top."""
    words = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "LIGHT"}
    if exposure.kind == "dark" and exposure.seconds == 8.0:
        words["dark"] = "DARKFLAT"
    return _single(exposure, outputs, {
        "IMAGETYP": words[exposure.kind], "EXPOSURE": exposure.seconds, "EXPTIME": exposure.seconds,
        "DATE-LOC": f"{exposure.date}T21:00:00.123", "DATE-OBS": f"{exposure.date}T{exposure.time}",
        "XBINNING": 1, "YBINNING": 1, "GAIN": 139, "OFFSET": 21, "EGAIN": outputs[0].gain, "XPIXSZ": 3.8,
        "YPIXSZ": 3.8, "INSTRUME": "ZWO ASI1600MM Pro", "SET-TEMP": -20.0, "CCD-TEMP": exposure.temperature,
        "READOUTM": "Default", "USBLIMIT": 40, "TELESCOP": "FSQ106", "FOCALLEN": 530.0, "FOCRATIO": 5.0,
        "RA": exposure.right_ascension, "DEC": exposure.declination, "CENTALT": 40.1, "AIRMASS": 1.55,
        "SITEELEV": 400.0, "SITELAT": 48.1, "SITELONG": 11.6, "FWHEEL": "ZWO EFW", "FILTER": exposure.filter or "V",
        "OBJECT": exposure.object or None, "OBJCTRA": exposure.ra_text.replace(":", " "),
        "OBJCTDEC": exposure.dec_text.replace(":", " "), "FOCNAME": "EAF", "FOCTEMP": 6.5, "ROWORDER": "TOP-DOWN",
        "EQUINOX": 2000.0, "SWCREATE": "N.I.N.A. 2.1.0.9001 (x64)",
    }, f"{words[exposure.kind]}/{exposure.date}_{exposure.number:04d}.fits")  # fmt: skip


def sharpcap(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A CMOS camera without filter wheel: no filter keyword, temperature as CCD-TEMP, sequence name in FRAMETYP."""
    words = {"bias": "Bias", "dark": "Dark", "flat": "Flat", "science": "Light"}
    return _single(exposure, outputs, {
        "INSTRUME": "QHY268M", "DATE-OBS": f"{exposure.date}T{exposure.time}0000", "EXPTIME": exposure.seconds,
        "FRAMETYP": words[exposure.kind], "GAIN": 56, "BLKLEVEL": 30, "CCD-TEMP": exposure.temperature,
        "XPIXSZ": 3.76, "YPIXSZ": 3.76, "XBINNING": 1, "YBINNING": 1, "ROWORDER": "TOP-DOWN", "EXTEND": True,
        "SWCREATE": "SharpCap v4.0.9538.0, 64 bit", "OBJECT": exposure.object or None,
    }, f"{words[exposure.kind]}_{exposure.number:05d}.fits")  # fmt: skip


def old_sbig(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """CCDOPS of the nineties: dates as day, month, year of two digits; the type is a number (PICTTYPE)."""
    kinds = {"science": 1, "bias": 2, "dark": 3, "flat": 4}
    return _single(exposure, outputs, {
        "OBJECT": exposure.object or "", "TELESCOP": "14 inch", "INSTRUME": "SBIG ST-8", "OBSERVER": "",
        "DATE-OBS": exposure.start.strftime("%d/%m/%y"), "TIME-OBS": exposure.time, "EXPTIME": exposure.seconds,
        "CCD-TEMP": exposure.temperature, "XPIXSZ": 9.0, "YPIXSZ": 9.0, "XBINNING": 1, "YBINNING": 1, "XORGSUBF": 0,
        "YORGSUBF": 0, "EGAIN": outputs[0].gain, "FOCALLEN": 3556.0, "FILTER": exposure.filter,
        "PICTTYPE": kinds[exposure.kind],
        "RESMODE": 0, "SNAPSHOT": 1,
    }, f"A{exposure.number:03d}.FTS")  # fmt: skip


def eso(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """ESO: HIERARCH cards tell type, filter, outputs and their pre- and overscan; OUT1 GAIN is adu/electron."""
    types = {"bias": ("CALIB", "BIAS"), "dark": ("CALIB", "DARK"), "flat": ("CALIB", "FLAT,DOME"),
             "twilight": ("CALIB", "FLAT,SKY"), "science": ("SCIENCE", "OBJECT")}  # fmt: skip
    category, kind = types[exposure.kind]
    one = outputs[0]
    return _single(exposure, outputs, {
        "TELESCOP": "ESO-VLT-U1", "INSTRUME": "FORS2", "OBJECT": exposure.object or kind,
        "RA": (exposure.right_ascension, "05:35:17.3 RA (J2000) pointing (deg)"),
        "DEC": (exposure.declination, "-05:23:28 DEC (J2000) pointing (deg)"), "EQUINOX": 2000.0, "RADECSYS": "FK5",
        "EXPTIME": exposure.seconds, "MJD-OBS": exposure.mjd, "DATE-OBS": f"{exposure.date}T{exposure.time}",
        "UTC": 72000.25, "LST": 12345.678, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4,
        "CRPIX1": 100.0, "CRPIX2": 90.0, "CD1_1": -6.9e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 6.9e-5,
        "EXTNAME": "CHIP1",
        "HIERARCH ESO DPR CATG": category, "HIERARCH ESO DPR TYPE": kind, "HIERARCH ESO DPR TECH": "IMAGE",
        "HIERARCH ESO DET CHIP1 ID": "CCID20-14-5-3", "HIERARCH ESO DET OUTPUTS": 1, "HIERARCH ESO DET OUT1 ID": "A",
        "HIERARCH ESO DET OUT1 NX": one.width, "HIERARCH ESO DET OUT1 NY": one.height,
        "HIERARCH ESO DET OUT1 PRSCX": one.prescan, "HIERARCH ESO DET OUT1 OVSCX": one.overscan,
        "HIERARCH ESO DET OUT1 PRSCY": 0, "HIERARCH ESO DET OUT1 OVSCY": 0,
        "HIERARCH ESO DET OUT1 CONAD": (one.gain, "Conversion from ADUs to electrons"),
        "HIERARCH ESO DET OUT1 GAIN": (round(1 / one.gain, 3), "Conversion from electrons to ADU"),
        "HIERARCH ESO DET OUT1 RON": (round(one.read_noise * one.gain, 2), "Readout noise per output (e-)"),
        "HIERARCH ESO DET WIN1 BINX": 1, "HIERARCH ESO DET WIN1 BINY": 1,
        "HIERARCH ESO DET READ CLOCK": "200Kps/2ports/low",
        "HIERARCH ESO INS FILT1 NAME": exposure.filter and f"{exposure.filter}_HIGH",
        "HIERARCH ESO TEL GEOLON": -70.4032, "HIERARCH ESO TEL GEOLAT": -24.627,
        "HIERARCH ESO TEL AIRM START": 1.115, "HIERARCH ESO INS PIXSCALE": 0.25,
    }, f"FORS2.{exposure.date}T{exposure.time.replace(':', '_')}.fits")  # fmt: skip


def lco(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """Las Cumbres Sinistro: four amplifiers in extensions, Rice-compressed; most cards stand in the primary header."""
    types = {"bias": "BIAS", "dark": "DARK", "flat": "LAMPFLAT", "twilight": "SKYFLAT", "science": "EXPOSE"}
    primary = fits.PrimaryHDU()
    _put(primary.header, {
        "DATE-OBS": f"{exposure.date}T{exposure.time}", "DAY-OBS": exposure.date.replace("-", ""),
        "UTSTART": exposure.time,
        "MJD-OBS": exposure.mjd, "EXPTIME": exposure.seconds, "REQTIME": exposure.seconds, "FILTER1": "air",
        "FILTER2": "rp",
        "FILTER3": "air", "FILTER": exposure.filter and "rp", "INSTRUME": "fa15", "OBSTYPE": types[exposure.kind],
        "OBJECT": exposure.object or "N/A", "RA": exposure.ra_text, "DEC": exposure.dec_text, "CAT-RA": "N/A",
        "RADESYS": "ICRS",
        "SITE": "LCOGT node at Cerro Tololo", "LATITUDE": -30.1673833, "LONGITUD": -70.8047889,
        "CCDATEMP": exposure.temperature,
        "CCDSTEMP": -110.0, "CONFMODE": "full_frame", "AIRMASS": 1.2, "PIXSCALE": 0.389,
        "LST": exposure.sidereal(-70.8047889),
    })  # fmt: skip
    hdus = [primary]
    for number, output in enumerate(outputs, 1):
        end, full = output.prescan + output.width, output.prescan + output.width + output.overscan
        hdu = fits.CompImageHDU(_unsigned(output.expose(exposure)), compression_type="RICE_1", name="SCI")
        _put(hdu.header, {
            "EXTVER": number, "CCDSUM": "1 1", "GAIN": (output.gain, "[electrons/count] Pixel gain"),
            "RDNOISE": (output.read_noise * output.gain, "[electrons/pixel] Read noise"), "SATURATE": 64000.0,
            "MAXLIN": 60000.0,
            "BIASSEC": f"[{end + 1}:{full},1:{output.height}]", "TRIMSEC": f"[1:{end},1:{output.height}]",
            "DATASEC": f"[1:{end},1:{output.height}]",
            "DETSEC": f"[{1 + end * (number % 2)}:{end * (1 + number % 2)},1:180]",
        })  # fmt: skip
        hdus.append(hdu)
    name = f"cpt1m010-fa15-20210314-{exposure.number:04d}-{types[exposure.kind].lower()[0]}00.fits.fz"
    return name, fits.HDUList(hdus)


def int_wfc(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """Isaac Newton Telescope WFC: a chip an extension, prescan left and overscan right, WFFBAND for the filter."""
    types = {"bias": "BIAS", "flat": "FLAT", "twilight": "SKY", "science": "TARGET"}
    primary = fits.PrimaryHDU()
    _put(primary.header, {
        "RUN": 400000 + exposure.number, "OBSERVAT": "LAPALMA", "TELESCOP": "INT", "LATITUDE": 28.761907,
        "LONGITUD": -17.877639,
        "OBJECT": exposure.object or "", "OBSTYPE": types[exposure.kind], "IMAGETYP": None, "INSTRUME": "WFC",
        "RA": exposure.ra_text, "DEC": exposure.dec_text, "EQUINOX": "J2000.0", "DATE-OBS": exposure.date,
        "UTSTART": exposure.time,
        "UT": exposure.time, "ST": exposure.sidereal(-17.88), "JD": exposure.mjd + 2400000.5,
        "EXPTIME": exposure.seconds,
        "EXPOSED": exposure.seconds, "DARKTIME": exposure.seconds + 0.2, "WFFBAND": exposure.filter or "",
        "WFFPSYS": "Harris",
        "WFFID": "192", "CCDSPEED": "SLOW", "CCDXBIN": 1, "CCDYBIN": 1, "AIRMASS": 1.0234, "SECPPIX": 0.333,
        "CCDTEMP": 157.0,
    })  # fmt: skip
    hdus: list[Any] = [primary]
    for number, output in enumerate(outputs, 1):
        left, right = output.prescan, output.prescan + output.width
        hdu = fits.ImageHDU(_unsigned(output.expose(exposure)), name=f"im{number}")
        _put(hdu.header, {
            "IMAGEID": number, "CCDNAME": f"A5506-{number}", "CHIPNAME": f"A5506-{number}", "GAIN": output.gain,
            "READNOIS": output.read_noise * output.gain,
            "BIASSEC": f"[{right + 4}:{right + output.overscan - 1},1:{output.height}]",
            "TRIMSEC": f"[{left + 1}:{right},1:{output.height}]", "RTDATSEC": f"[1:{output.width},1:{output.height}]",
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 83.8, "CRVAL2": -5.4, "CD1_1": -9.2e-5,
            "CD2_2": 9.2e-5,
        })  # fmt: skip
        hdus.append(hdu)
    return f"r{400000 + exposure.number}.fit", fits.HDUList(hdus)


def noao_mosaic(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """NOAO Mosaic: extensions are amplifiers, two of one CCD; lower-case types; DATASEC and BIASSEC in each."""
    types = {"bias": "zero", "dark": "dark", "flat": "dome flat", "twilight": "sky flat", "science": "object"}
    primary = fits.PrimaryHDU()
    _put(primary.header, {
        "NEXTEND": len(outputs), "OBJECT": exposure.object or types[exposure.kind], "OBSTYPE": types[exposure.kind],
        "PREFLASH": 0.0, "RADECSYS": "FK5", "RADECEQ": 2000.0, "RA": exposure.ra_text, "DEC": exposure.dec_text,
        "TIMESYS": "UTC approximate", "DATE-OBS": f"{exposure.date}T{exposure.time}", "TIME-OBS": exposure.time,
        "MJD-OBS": exposure.mjd, "ST": exposure.sidereal(-111.6), "OBSERVAT": "KPNO",
        "TELESCOP": "KPNO 4.0 meter telescope",
        "DETECTOR": "CCDMosaThin1", "INSTRUME": "Mosaic1.1", "FILTER": exposure.filter and "V Harris k1003",
        "EXPTIME": exposure.seconds,
        "DARKTIME": exposure.seconds + 1, "DEWTEMP": -163.2, "CCDTEMP": -97.4, "PIXSCAL1": 0.258, "NCCDS": 1,
        "NAMPS": 2,
    })  # fmt: skip
    hdus: list[Any] = [primary]
    for number, output in enumerate(outputs, 1):
        end, full = output.prescan + output.width, output.prescan + output.width + output.overscan
        light = f"[{full - end + 1}:{full},1:{output.height}]" if output.flipped else f"[1:{end},1:{output.height}]"
        bias = f"[1:{output.overscan},1:{output.height}]" if output.flipped else f"[{end + 1}:{full},1:{output.height}]"
        hdu = fits.ImageHDU(_unsigned(output.expose(exposure)), name=f"im{number}")
        _put(hdu.header, {
            "IMAGEID": number, "CCDNAME": "SITe #7287FBR02-01 (NOAO 09)",
            "AMPNAME": f"SITe #7287, amp {'AB'[number - 1]}",
            "AMPID": 11 + number, "CCDSUM": "1 1", "GAIN": output.gain, "RDNOISE": output.read_noise * output.gain,
            "SATURATE": 62000, "DATASEC": light, "TRIMSEC": light, "BIASSEC": bias,
            "CCDSEC": f"[{1 + (number - 1) * end}:{number * end},1:180]",
            "DETSEC": f"[{1 + (number - 1) * end}:{number * end},1:180]",
        })  # fmt: skip
        hdus.append(hdu)
    return f"obj{exposure.number:03d}.fits", fits.HDUList(hdus)


def shared_ccd(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A chip with two amplifiers in extensions of one CCDNUM, told apart by AMPNAME alone."""
    name, hdus = noao_mosaic(exposure, outputs)
    for number, hdu in enumerate(hdus[1:], 1):
        for keyword in ("IMAGEID", "AMPID", "EXTNAME"):
            del hdu.header[keyword]
        _put(hdu.header, {"CCDNUM": 3, "AMPNAME": "AB"[number - 1]})
    _put(hdus[0].header, {"INSTRUME": "TwoAmp"})
    return name, hdus


def suprime(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """Subaru Suprime-Cam: several outputs side by side in one image, their ranges by first and last pixel."""
    types = {"bias": "BIAS", "dark": "DARK", "flat": "DOMEFLAT", "twilight": "SKYFLAT", "science": "OBJECT"}
    hdu = fits.PrimaryHDU(_unsigned(np.hstack([output.expose(exposure) for output in outputs])))
    _put(hdu.header, {
        "OBSERVAT": "NAOJ", "TELESCOP": "Subaru", "INSTRUME": "SuprimeCam",
        "OBJECT": exposure.object or types[exposure.kind],
        "DATA-TYP": types[exposure.kind], "DETECTOR": "nausicaa", "DET-ID": 2, "EXPTIME": exposure.seconds,
        "DATE-OBS": exposure.date, "UT": exposure.time, "UT-STR": exposure.time, "MJD": exposure.mjd,
        "LST": exposure.sidereal(-155.47),
        "FILTER01": exposure.filter and "W-C-RC", "RA": exposure.ra_text, "DEC": exposure.dec_text,
        "EQUINOX": 2000.0, "SECZ-STR": 1.1,
        "AIRMASS": 1.108, "GAIN": (outputs[0].gain, "AD conversion factor (electron/ADU)"), "DET-TMP": 164.88,
        "BIN-FCT1": 1,
        "BIN-FCT2": 1, "DET-NSMP": 1, "LONGITUD": 204.53, "PRD-RNG1": 480, "PRD-RNG2": 180, "EFP-MIN1": 11,
        "EFP-RNG1": 400,
    })  # fmt: skip
    start = 0
    for number, output in enumerate(outputs, 1):
        widths = [output.prescan, output.width, output.overscan]
        if output.flipped:
            widths.reverse()
        edges = start + np.cumsum([0, *widths])
        scan = (edges[0], edges[1]) if output.flipped else (edges[2], edges[3])
        for keyword, low, high in (("S_EF", edges[1], edges[2]), ("S_OS", *scan)):
            _put(hdu.header, {
                f"{keyword}MN{number}1": (int(low) + 1, f"MIN pixel of range of ch{number}(X)"),
                f"{keyword}MX{number}1": (int(high), f"MAX pixel of range of ch{number}(X)"),
                f"{keyword}MN{number}2": (1, f"MIN pixel of range of ch{number}(Y)"),
                f"{keyword}MX{number}2": (output.height, f"MAX pixel of range of ch{number}(Y)"),
            })  # fmt: skip
        _put(hdu.header, {f"S_GAIN{number}": output.gain})
        start = int(edges[3])
    return f"SUPA{1000000 + exposure.number}.fits", fits.HDUList([hdu])


def keck(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """Keck LRIS of one mosaic row: all outputs' prescans stand left, all postscans right, by PREPIX and POSTPIX."""
    words = {"bias": "bias", "flat": "domeflat", "science": "object", "dark": "dark"}
    parts = [output.expose(exposure) for output in outputs]
    pre = [part[:, : output.prescan] for part, output in zip(parts, outputs, strict=True)]
    light = [
        part[:, output.prescan : output.prescan + output.width] for part, output in zip(parts, outputs, strict=True)
    ]
    post = [part[:, output.prescan + output.width :] for part, output in zip(parts, outputs, strict=True)]
    hdu = fits.PrimaryHDU(_unsigned(np.hstack([*pre, *light, *post])))
    _put(hdu.header, {
        "TELESCOP": "Keck I", "INSTRUME": "LRIS", "OBJECT": exposure.object or "", "KOAIMTYP": words[exposure.kind],
        "DATE-OBS": exposure.date, "UTC": exposure.time, "UT": exposure.time, "ST": exposure.sidereal(-155.47),
        "ELAPTIME": exposure.seconds,
        "TTIME": int(exposure.seconds), "REDFILT": exposure.filter, "RA": exposure.ra_text, "DEC": exposure.dec_text,
        "EQUINOX": 2000.0,
        "PREPIX": outputs[0].prescan, "POSTPIX": outputs[0].overscan, "NUMAMPS": len(outputs), "BINNING": "1, 1",
        "WINDOW": f"0,0,0,{hdu.shape[1]},{hdu.shape[0]}", "DETTEMP": 153.2, "AIRMASS": 1.2,
    })  # fmt: skip
    return f"r210314_{exposure.number:04d}.fits", fits.HDUList([hdu])


def quad(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """ARCON at CTIO and its heirs: two outputs in one image, ASEC11, BSEC11, DSEC11 for each."""
    types = {"bias": "zero", "dark": "dark", "flat": "DOME FLAT", "twilight": "SKY FLAT", "science": "object"}
    hdu = fits.PrimaryHDU(_unsigned(np.hstack([output.expose(exposure) for output in outputs])))
    cards: dict[str, Any] = {
        "OBSERVAT": "CTIO", "TELESCOP": "ctio_0.9m", "DETECTOR": "Tek2K_3", "OBJECT": exposure.object or "x",
        "DATE-OBS": exposure.date,
        "IMAGETYP": types[exposure.kind], "UT": f" {exposure.time}", "ST": exposure.sidereal(-70.815),
        "EXPTIME": exposure.seconds, "FILTER1": "dia",
        "FILTER2": exposure.filter.lower(), "FILTERS": f"dia {exposure.filter.lower()}".strip(),
        "RA": exposure.ra_text, "DEC": exposure.dec_text,
        "EPOCH": 2000.0, "NAMPSYX": "1 2", "AMPLIST": "11 12", "CCDSUM": "1 1", "INSTRUME": "cfccd", "GAINSET": 2,
    }  # fmt: skip
    start = 0
    for name, output in zip(("11", "12"), outputs, strict=True):
        widths = [output.prescan, output.width, output.overscan]
        edges = start + np.cumsum([0, *(widths[::-1] if output.flipped else widths)])
        scan = (edges[0], edges[1]) if output.flipped else (edges[2], edges[3])
        cards |= {f"DSEC{name}": f"[{edges[1] + 1}:{edges[2]},1:{output.height}]",
            f"TSEC{name}": f"[{edges[1] + 1}:{edges[2]},1:{output.height}]",
                  f"ASEC{name}": f"[{start + 1}:{edges[3]},1:{output.height}]",
                  f"BSEC{name}": f"[{scan[0] + 1}:{scan[1]},1:{output.height}]",
                  f"GTGAIN{name}": output.gain}  # fmt: skip
        start = int(edges[3])
    _put(hdu.header, cards)
    return f"n1.{exposure.number:04d}.imh.fits", fits.HDUList([hdu])


def floating(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A controller that writes float32, keywords of its own liking, right ascension in hours as a number, MJD alone."""
    words = {"bias": "bias", "dark": "dark", "flat": "flat", "twilight": "twilight", "science": "science"}
    hdu = fits.PrimaryHDU(outputs[0].expose(exposure, exact=True).astype(np.float32))
    _put(hdu.header, {
        "CAMERA": "labcam 3", "IMAGETYP": words[exposure.kind], "EXPTIME": f"{exposure.seconds:.1f} s",
        "MJD": exposure.mjd,
        "FILTER": exposure.filter or "none", "RA": (round(exposure.right_ascension / 15, 6), "[hours] right ascension"),
        "DEC": (exposure.declination, "[deg] declination"), "GAIN": f"{outputs[0].gain} e-/ADU",
        "CCDTEMP": f"{exposure.temperature} C",
        "OBJECT": exposure.object, "AIRMASS": "1.23",
    })  # fmt: skip
    return f"frame{exposure.number}.fits", fits.HDUList([hdu])


def scaled(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """32-bit integers with BSCALE and BZERO; the type stands in OBJECT alone, with underscores."""
    names = {"bias": "bias", "dark": "dark_60s", "flat": f"flat_{exposure.filter}",
    "twilight": f"skyflat_{exposure.filter}",
             "science": "NGC_2070"}  # fmt: skip
    stored = np.round((outputs[0].expose(exposure, exact=True) - 5000.0) / 0.25).astype(np.int32)
    hdu = fits.PrimaryHDU(stored)
    _put(hdu.header, {
        "OBJECT": names[exposure.kind], "INSTRUME": "Spectral 600", "DATE-OBS": exposure.start.strftime("%Y/%m/%d"),
        "UT": exposure.time, "EXPOSURE": exposure.seconds, "FILTERID": exposure.filter or None, "BUNIT": "adu",
        "TELRA": exposure.ra_text, "TELDEC": exposure.dec_text, "LONGITUD": (70.8, "degrees west"), "BSCALE": 0.25,
        "BZERO": 5000.0,
    })  # fmt: skip
    return f"{names[exposure.kind]}.{exposure.number:03d}.fits", fits.HDUList([hdu])


def nameless(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A home-made camera: neither type nor instrument in the header; the directory tells what the frames are."""
    folder = {"bias": "biases", "dark": "darks", "flat": f"flats_{exposure.filter}", "science": "m42"}[exposure.kind]
    return _single(exposure, outputs, {
        "DATE-OBS": f"{exposure.date} {exposure.time}", "EXPTIME": exposure.seconds, "FILTER": exposure.filter or None,
    }, f"{folder}/img_{exposure.number:03d}.fits")  # fmt: skip


def overscanned(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A CCD with BIASSEC and TRIMSEC as IRAF expects them."""
    types = {"bias": "zero", "dark": "dark", "flat": "flat", "twilight": "skyflat", "science": "object"}
    one = outputs[0]
    width, height = one.width // exposure.binning, one.height // exposure.binning
    return _single(exposure, outputs, {
        "INSTRUME": "CCD 4", "IMAGETYP": types[exposure.kind], "DATE-OBS": f"{exposure.date}T{exposure.time}",
        "EXPTIME": exposure.seconds,
        "FILTER": exposure.filter, "OBJECT": exposure.object, "CCDTEMP": exposure.temperature,
        "CCDSUM": f"{exposure.binning} {exposure.binning}",
        "TRIMSEC": f"[1:{width},1:{height}]", "BIASSEC": f"[{width + 1}:{width + one.overscan},1:{height}]",
        "SITELONG": "17:52:34 W",
    }, f"{types[exposure.kind]}_{exposure.temperature:.0f}_{exposure.binning}_{exposure.number:03d}.fits")  # fmt: skip


def outside(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """Sections that cannot be: BIASSEC outside of the image, TRIMSEC reversed; only the counted columns tell."""
    name, hdus = overscanned(exposure, outputs)
    one = outputs[0]
    _put(
        hdus[0].header,
        {"INSTRUME": "CCD 5", "BIASSEC": "[2049:2080,1:2048]", "TRIMSEC": f"[{one.width}:1,{one.height}:1]"},
    )
    return name, hdus


def unnamed_binning(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A camera that bins and does not say so: only the size of the image tells."""
    name, hdus = overscanned(exposure, outputs)
    for keyword in ("CCDSUM", "TRIMSEC", "BIASSEC"):
        del hdus[0].header[keyword]
    _put(hdus[0].header, {"INSTRUME": "CCD 6"})
    return name, hdus


def fading(exposure: Exposure, outputs: tuple[Output, ...]) -> Written:
    """A twilight that fades by a quarter from flat to flat: no two are of one level."""
    name, hdus = overscanned(exposure, outputs)
    if exposure.kind == "twilight":
        one = replace(outputs[0], flat_electrons=40_000.0 * 0.75 ** (exposure.number % 5))
        hdus[0].data = _unsigned(one.expose(exposure))
    return name, hdus


def broken(folder: Path) -> None:
    """Lay beside the night what lies in such directories: files cut short, renamed, empty, and already reduced."""
    whole = sorted(folder.glob("*.fits"))[0].read_bytes()
    (folder / "cut.fits").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("clouds after midnight\n")
    (folder / "notes.fits").write_text("clouds after midnight\n" * 400)
    (folder / "preview.fits").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(6000))
    (folder / "empty.fits").write_bytes(b"")
    for number, cards in enumerate((
        {"ZEROCOR": "Mar 15 12:00 Zero level correction image is Zero",
        "FLATCOR": "Mar 15 12:01 Flat field image is Flat"},
        {"CCDPROC": "Mar 15 12:01 CCD processing done"}, {"CALSTAT": "BDF"}, {"BUNIT": "electron"},
    )):  # fmt: skip
        reduced = fits.PrimaryHDU(np.full((180, 200), 3.0, np.float32))
        _put(reduced.header, {"INSTRUME": "CCD 4", "IMAGETYP": "object", "OBJECT": "M42", "EXPTIME": 60.0,
            "FILTER": "V",
                              "DATE-OBS": f"2021-03-14T21:00:0{number}", **cards})  # fmt: skip
        reduced.writeto(folder / f"reduced{number}.fits", overwrite=True)


_PLAIN = Output(1.35, 6.2, 1040.0)
_EDGED = Output(1.6, 4.4, 1500.0, prescan=0, overscan=24)
_CMOS = Output(0.31, 14.0, 800.0, step=16, maximum=65520.0, dark_rate=0.05)


def _outputs(number: int, flipped: bool = False, **given: Any) -> tuple[Output, ...]:
    """Return outputs that differ in gain, read noise and bias; every second is read from the right where `flipped`."""
    return tuple(
        Output(1.2 + 0.3 * place, 4.0 + 0.9 * place, 900.0 + 150 * place, seed=place + 1,
               flipped=flipped and place % 2 == 1, **given)
        for place in range(number)
    )  # fmt: skip


NIGHTS = {night.name: night for night in (
    OddNight("maxim", maxim, (_PLAIN,), (Plan(dark=4),)),
    OddNight("nina", nina, (_CMOS,),
        (Plan(bias=0, dark=5), Plan(bias=0, dark=5, flat=0, science=0, seconds={"dark": 8.0}))),
    OddNight("nina_with_bias", nina, (_CMOS,), (Plan(),)),
    OddNight("sharpcap", sharpcap, (_CMOS,), (Plan(),)),
    OddNight("old_sbig", old_sbig, (Output(2.3, 6.4, 100.0),), (Plan(),)),
    OddNight("eso", eso, (Output(1.25, 3.4, 190.0, prescan=16, overscan=20),), (Plan(flat=0, twilight=6),)),
    OddNight("lco", lco, _outputs(4, overscan=20, width=120, height=100), (Plan(flat=0, twilight=6),),
        chips=("1", "2", "3", "4")),
    OddNight("int_wfc", int_wfc, _outputs(4, prescan=25, overscan=24, width=120, height=100),
        (Plan(flat=0, twilight=6),), chips=("1", "2", "3", "4")),
    OddNight("noao_mosaic", noao_mosaic, _outputs(2, True, overscan=24), (Plan(),), chips=("1", "2")),
    OddNight("shared_ccd", shared_ccd, _outputs(2, True, overscan=24), (Plan(),), chips=("3-A", "3-B")),
    OddNight("suprime", suprime, _outputs(4, True, prescan=8, overscan=24, width=100), (Plan(),), chips=("2",)),
    OddNight("keck", keck, _outputs(2, prescan=20, overscan=24), (Plan(),)),
    OddNight("quad", quad, _outputs(2, True, prescan=6, overscan=24), (Plan(),)),
    OddNight("floating", floating, (_PLAIN,), (Plan(),)),
    OddNight("scaled", scaled, (_PLAIN,), (Plan(twilight=6, flat=0),)),
    OddNight("nameless", nameless, (_PLAIN,), (Plan(),),
        ("--instrument", "homemade", "--type", "suggested", "--type", "m42/*=science")),
    OddNight("mixed", overscanned, (_EDGED,), (Plan(filters=("V", "R")), Plan(binning=2))),
    OddNight("two_temperatures", overscanned, (_EDGED,), (Plan(), Plan(temperature=-10.0, flat=0))),
    OddNight("broken", overscanned, (_EDGED,), (Plan(),), extras=broken),
    OddNight("sizes", unnamed_binning, (_EDGED,), (Plan(), Plan(bias=3, flat=2, science=1, binning=2))),
    OddNight("steep_twilight", fading, (_EDGED,), (Plan(flat=0, twilight=5),)),
    OddNight("darks_of_one_length", nina, (_CMOS,), (Plan(bias=0, dark=5),)),
    OddNight("outside", outside, (_EDGED,), (Plan(),)),
)}  # fmt: skip
