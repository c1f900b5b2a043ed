"""Columns as services and papers name them: positions, motions, magnitudes and their errors, without a map."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from archive.catalogues.column_map import HINT, ID, POSITIONS, Rule, rule_of
from archive.catalogues.reading import NotACatalogue, TableRead

# The names of a thing, the better first (degrees before sexagesimal); compared without case and marks.
_NAMES: dict[str, tuple[str, ...]] = {
    "ra": ("RA_ICRS", "_RA_icrs", "_RAJ2000", "ra", "_RA", "RAdeg", "RAJ2000", "ALPHA_J2000", "ALPHAWIN_J2000",
           "raMean", "RA2000", "RightAscension", "ra_deg", "RA_d", "s_ra"),
    "dec": ("DE_ICRS", "_DE_icrs", "_DEJ2000", "dec", "_DE", "DEdeg", "DEJ2000", "DELTA_J2000", "DELTAWIN_J2000",
            "decMean", "DE2000", "DEC2000", "Declination", "dec_deg", "DEC_d", "s_dec", "DECJ2000", "decl", "de"),
    "ra_error": ("ra_error", "e_RA_ICRS", "e_RAJ2000", "e_RAdeg", "raErr", "raMeanErr", "e_RA", "sigma_ra", "err_ra"),
    "dec_error": ("dec_error", "e_DE_ICRS", "e_DEJ2000", "e_DEdeg", "decErr", "decMeanErr", "e_DE", "sigma_dec",
                  "err_dec"),
    "pmra": ("pmRA", "pm_ra", "pmra_cosdec", "pmRAc"),
    "pmdec": ("pmDE", "pmDEC", "pm_dec"),
    ID: ("source_id", "Source", "Name", "ID", "objID", "star", "DAOPHOTID", "designation", "recno"),
}  # fmt: skip
_UCDS = {
    "ra": "pos.eq.ra;meta.main",
    "dec": "pos.eq.dec;meta.main",
    "pmra": "pos.pm;pos.eq.ra",
    "pmdec": "pos.pm;pos.eq.dec",
    ID: "meta.id;meta.main",
}
_LETTERS = "u|g|r|i|z|y|U|B|V|R|I|J|H|K|Ks|Y|G|BP|RP|BT|VT|W1|W2"
# How a magnitude of a band is named; the pattern's group is the band.
_MAGNITUDES: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?P<band>{_LETTERS})[pP']?_?[mM][aA][gG]",
        rf"(?:psf|PSF|model|cmodel)?_?[mM][aA][gG]_?(?P<band>{_LETTERS})",
        rf"(?P<band>{_LETTERS})(?:Mean)?(?:PSF|Kron|psf)Mag",
        rf"(?P<band>{_LETTERS})[pP']?_(?:psf|sdss|SDSS|ps1|PS1)",
        r"(?P<band>[jhk])_m",
        rf"(?P<band>{_LETTERS})",
    )
)
# Units of fluxes, angles and counts: a column in one of them is no magnitude, whatever its name.
_NO_MAGNITUDE = re.compile(
    r"jy|jansky|maggi|erg|watt|\bw\b|counts?|\bct\b|adu|electron|photon|deg|arc|rad|pix|km|/", re.IGNORECASE
)
_GAIA = {"phot_g_mean_mag": "G", "phot_bp_mean_mag": "BP", "phot_rp_mean_mag": "RP"}
GAIA_SIGNAL = {"G": "phot_g_mean_flux_over_error", "BP": "phot_bp_mean_flux_over_error",
               "RP": "phot_rp_mean_flux_over_error"}  # fmt: skip
# Colours from which magnitudes follow: the column, the band that is got, from which, with which sign.
_COLOURS = (("B-V", "B", "V", "+"), ("U-B", "U", "B", "+"), ("V-R", "R", "V", "-"), ("R-I", "I", "R", "-"),
            ("V-I", "I", "V", "-"), ("g-r", "r", "g", "-"), ("u-g", "u", "g", "+"), ("r-i", "i", "r", "-"))  # fmt: skip
# Bands whose magnitudes are by custom of one system.
VEGA = frozenset(["U", "B", "V", "R", "I", "J", "H", "K", "Ks", "G", "BP", "RP", "BT", "VT", "W1", "W2"])
AB = frozenset(["u", "g", "r", "i", "z", "y", "Y"])


def recognise(table: TableRead, given: Mapping[str, Rule]) -> dict[str, Rule]:
    """Return the rules given, with those for what else the columns' names and UCDs tell.

    Magnitudes are only looked for where the map names none: who names some means these.
    """
    rules = dict(given)
    for target in (*POSITIONS, ID):
        if target not in rules and (column := _find(table, target)):
            rules[target] = rule_of(target, column, table)
    _require_positions(rules, table)
    if all(name in POSITIONS or name == ID for name in given):
        rules |= _magnitudes(table)
    return rules


def _find(table: TableRead, target: str) -> str:
    by_ucd = [name for name, column in table.columns.items() if column.ucd.lower() == _UCDS.get(target, "none")]
    if len(by_ucd) == 1:
        return by_ucd[0]
    plain = {_plain(name): name for name in reversed(table.columns)}
    for name in _NAMES[target]:
        if name in table.columns:
            return name
    return next((plain[_plain(name)] for name in _NAMES[target] if _plain(name) in plain), "")


def _require_positions(rules: Mapping[str, Rule], table: TableRead) -> None:
    missing = [name for name in ("ra", "dec") if name not in rules]
    if missing:
        raise NotACatalogue(
            f"which column is {' and which is '.join(missing)} is not known; there are {table.told()}", HINT
        )


def _magnitudes(table: TableRead) -> dict[str, Rule]:
    """Return the rules for magnitudes and their errors, those that follow from colours included."""
    found: dict[str, str] = {}
    for pattern in _MAGNITUDES:
        if found:
            break
        for name, column in table.columns.items():
            match = pattern.fullmatch(name)
            if match and not column.is_text and not is_no_magnitude(column.unit):
                band = {"j": "J", "h": "H", "k": "K"}.get(match["band"], match["band"])
                found.setdefault(band, name)
    found |= {band: name for name, band in _GAIA.items() if name in table.columns}
    rules = {band: rule_of(band, name, table) for band, name in found.items()}
    for colour, band, source, sign in _COLOURS:
        given = next((name for name in table.columns if _plain(name) == _plain(colour) and colour[0] == name[0]), "")
        if given and band not in rules and source in rules:
            rules[band] = rule_of(band, f"{source}{sign}{given}", table, rules)
    for band, name in found.items():
        error = _error_of(table, band, name)
        if error:
            rules[f"{band}_error"] = rule_of(f"{band}_error", error, table)
    return rules


def is_no_magnitude(unit: str) -> bool:
    """Whether a unit says that a column holds something else than magnitudes."""
    return _NO_MAGNITUDE.search(unit) is not None


def _error_of(table: TableRead, band: str, name: str) -> str:
    names: tuple[str, ...] = (f"e_{name}", f"{name}Error", f"{name}_error", f"{name}_err", f"{name}Err", f"{name}err",
                              f"err_{name}", f"e{name}", f"sigma_{name}", f"{band}_error", f"e_{band}", f"{band}err",
                              f"{band}Err", f"mag_err_{band}", f"magerr_{band}", f"{band}magErr", f"psfMagErr_{band}",
                              name.replace("Mag", "MagErr"), f"{band.lower()}_msigcom")  # fmt: skip
    alike: Callable[[str], str] = str
    for compare in (alike, str.lower):
        there = {compare(column): column for column in table.columns}
        for candidate in names:
            column = there.get(compare(candidate))
            if column and column != name and not table.columns[column].is_text:
                return column
    return ""


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
