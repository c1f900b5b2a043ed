"""What the columns of our tables mean, in the IVOA's words (UCD1+ controlled vocabulary, version 1.5).

Names are SExtractor's. An exact name wins over the beginning of a name; what is not here has no UCD.
"""

from __future__ import annotations

_EXACT = {
    "NUMBER": "meta.id;meta.main",
    "SID": "meta.id;meta.main",
    "SLID": "meta.id.parent",
    "ALID": "meta.id.parent",
    "AID": "meta.id.cross",
    "ALPHA_J2000": "pos.eq.ra;meta.main",
    "DELTA_J2000": "pos.eq.dec;meta.main",
    "ALPHAWIN_J2000": "pos.eq.ra",
    "DELTAWIN_J2000": "pos.eq.dec",
    "RA": "pos.eq.ra;meta.main",
    "DEC": "pos.eq.dec;meta.main",
    "HEALPIX": "pos.healpix",
    "HTM": "pos",
    "BACKGROUND": "instr.skyLevel",
    "THRESHOLD": "instr.sensitivity",
    "FWHM_IMAGE": "phys.angSize",
    "FWHM_WORLD": "phys.angSize",
    "FLUX_RADIUS": "phys.angSize",
    "KRON_RADIUS": "phys.angSize",
    "ELLIPTICITY": "src.ellipticity",
    "ELONGATION": "src.ellipticity",
    "CLASS_STAR": "src.class.starGalaxy",
    "SPREAD_MODEL": "src.class.starGalaxy",
    "SNR_WIN": "stat.snr",
    "MU_MAX": "phot.mag.sb",
    "DISTANCE": "pos.angDistance",
}
_BEGINNINGS = {
    "FLUXERR": "stat.error;phot.flux",
    "FLUX_MAX": "phot.flux;stat.max",
    "FLUX": "phot.flux",
    "MAGERR": "stat.error;phot.mag",
    "MAG": "phot.mag",
    "ISOAREA": "phys.angArea",
    "FLAGS": "meta.code.qual",
    "IMAFLAGS": "meta.code.qual",
    "FLAG": "meta.code.qual",
    "ERRX2": "stat.variance;pos.cartesian.x",
    "ERRY2": "stat.variance;pos.cartesian.y",
    "ERRA": "stat.error;phys.angSize.smajAxis",
    "ERRB": "stat.error;phys.angSize.sminAxis",
    "ERRTHETA": "stat.error;pos.posAng",
    "X_": "pos.cartesian.x",
    "Y_": "pos.cartesian.y",
    "XWIN_": "pos.cartesian.x",
    "YWIN_": "pos.cartesian.y",
    "XPEAK_": "pos.cartesian.x",
    "YPEAK_": "pos.cartesian.y",
    "XMIN_": "pos.cartesian.x;stat.min",
    "YMIN_": "pos.cartesian.y;stat.min",
    "XMAX_": "pos.cartesian.x;stat.max",
    "YMAX_": "pos.cartesian.y;stat.max",
    "A_": "phys.angSize.smajAxis",
    "B_": "phys.angSize.sminAxis",
    "AWIN_": "phys.angSize.smajAxis",
    "BWIN_": "phys.angSize.sminAxis",
    "THETA": "pos.posAng",
}


def ucd_of(column: str) -> str:
    """Return the UCD of a column by its name, or an empty text."""
    name = column.upper()
    if name in _EXACT:
        return _EXACT[name]
    return next((ucd for beginning, ucd in _BEGINNINGS.items() if name.startswith(beginning)), "")
