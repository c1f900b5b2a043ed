"""When an exposure began, in UT, and in which night: from whatever keywords and formats a camera uses."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from archive.headers import Header, Value
from archive.translation.values import angle, find_number, number, sexagesimal

DATES = ("DATE-OBS", "DATE-BEG", "DATE_OBS", "DATEOBS", "DATE-STA", "DATE_BEG", "OBS-DATE", "OBSDATE", "UTDATE",
         "DATE-UT", "UT-DATE", "UTC-DATE")  # fmt: skip
TIMES = ("TIME-OBS", "TIME-BEG", "TIME_OBS", "UTC-OBS", "UT-OBS", "UTSTART", "UT-START", "UTC-BEG", "UTSHUT", "UTOPEN",
         "UTC", "UT", "UT-TIME", "EXPSTART", "TIME")  # fmt: skip
_JULIAN = {"MJD-OBS": 0.0, "MJD-BEG": 0.0, "MJD_OBS": 0.0, "MJDSTART": 0.0, "MJD": 0.0,
           "JD": 2400000.5, "JD-OBS": 2400000.5, "JD_OBS": 2400000.5, "JD-BEG": 2400000.5, "JULDATE": 2400000.5,
           "JULIAN": 2400000.5}  # fmt: skip
LONGITUDES = ("SITELONG", "LONG-OBS", "LONGITUD", "SITE-LON", "SITELON", "SITE_LON", "OBS-LONG", "OBSLONG", "LON-OBS",
              "OBSGEO-L", "GEOLON", "TELLONG", "ESO TEL GEOLON", "LONG", "LONGITUDE")  # fmt: skip
_SIDEREAL = ("LST-OBS", "LST", "ST", "LST-BEG", "SIDTIME", "ST-OBS", "LMST")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MJD_ZERO = datetime.datetime(1858, 11, 17, tzinfo=datetime.UTC)
# TAI - UTC since 2017 and TT - TAI [s]; a leap second more or less does not matter to a night.
_OFFSETS = {"TAI": 37.0, "TT": 69.184, "TDB": 69.184, "TDT": 69.184, "ET": 69.184, "GPS": 18.0}
_EARLIEST, _LATEST = 1975, 2100  # the first CCDs at telescopes; far enough


def start_of(
    header: Header,
    exposure_time: float | None,
    dates: Sequence[str] = (),
    times: Sequence[str] = (),
    time_format: str = "",
) -> tuple[datetime.datetime | None, list[str]]:
    """Return when the exposure began (UT) and notes on how that was found out; None where the header does not tell."""
    notes: list[str] = []
    for keyword in [*dates, *DATES]:
        found = header.find(keyword)
        if found is None:
            continue
        moment = _from_text(found[1].value, header, [*times, *TIMES], time_format, notes)
        if moment is not None:
            return _in_utc(moment, header, notes), notes
        notes.append(f"{keyword} = {str(found[1].value)[:40]!r} gives no date and time")
    for keyword, zero in _JULIAN.items():
        days = find_number(header, keyword)
        moment = _from_mjd(days - zero) if days is not None else None
        if moment is not None:
            notes.append(f"time of {keyword}")
            return _in_utc(moment, header, notes), notes
    return _from_end(header, exposure_time, notes), notes


def night_of(start: datetime.datetime, longitude: float) -> datetime.date:
    """Return the date of the local noon (mean solar time) that began the night."""
    return (start + datetime.timedelta(hours=longitude / 15 - 12)).date()


def longitude_of(header: Header, start: datetime.datetime) -> tuple[float | None, str]:
    """Return the site's longitude [deg, east positive] and where it is from: the header, or the sidereal time in it."""
    found = header.find(*LONGITUDES)
    if found:
        keyword, card = found
        east = angle(card.value)
        if east is not None and -180 <= east <= 360:
            comment = card.comment.lower()
            if "west" in comment and "east" not in comment:
                east = -east
            return (east + 180) % 360 - 180, keyword
    sidereal = _sidereal_time(header)
    if sidereal is None:
        return None, ""
    days = (start - datetime.datetime(2000, 1, 1, 12, tzinfo=datetime.UTC)).total_seconds() / 86400
    greenwich = 18.697374558 + 24.06570982441908 * days  # hours; Meeus, Astronomical Algorithms, chapter 12
    return round(((sidereal - greenwich) * 15 + 180) % 360 - 180), "sidereal time"


def parse_date_and_time(text: str) -> datetime.datetime | None:
    """Return a date with its time in ISO 8601 or with blanks or slashes; None for what is not both."""
    text = re.sub(r"\s*(Z|UTC?)$", "", text.strip(), flags=re.IGNORECASE)
    compact = re.fullmatch(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d(?:\.\d*)?)", text)
    if compact:
        text = "{}-{}-{}T{}:{}:{}".format(*compact.groups())
    match = re.fullmatch(r"(\S+?)[T\s_]+(\d{1,2}:\d{1,2}(?::\d{1,2}(?:[.,]\d*)?)?)(?:([+-])(\d\d):?(\d\d))?", text)
    if match is None:
        return None
    moment = _joined(_date(match[1]), sexagesimal(match[2]))
    if moment is None or not match[3]:
        return moment
    zone = datetime.timedelta(hours=int(match[4]), minutes=int(match[5]))
    return moment - zone if match[3] == "+" else moment + zone


def _from_text(
    value: Value, header: Header, times: Sequence[str], time_format: str, notes: list[str]
) -> datetime.datetime | None:
    if time_format:
        try:
            found = datetime.datetime.strptime(str(value).strip(), time_format)  # noqa: DTZ007  # UT by definition
        except ValueError:
            return None
        return _checked(found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found)
    if not isinstance(value, str):
        return None
    whole = parse_date_and_time(value)
    if whole is not None:
        return whole
    date = _date(value)
    if date is None:
        return None
    for keyword in times:
        time = _time_of_day(header, keyword)
        if time is not None and 0 <= time < 24:
            notes.append(f"time of day of {keyword}")
            return _joined(date, time)
    return None


def _time_of_day(header: Header, keyword: str) -> float | None:
    """Return a time of day [h]: hours, minutes and seconds, or a number whose comment tells what it counts."""
    found = header.find(keyword)
    if found is None or isinstance(found[1].value, str):
        return sexagesimal(found[1].value) if found else None
    hours, comment = number(found[1].value), found[1].comment.lower()
    if hours is not None and re.search(r"\[s\]|\bsec", comment):
        return hours / 3600
    return hours if re.search(r"\bhours?\b|\bhrs?\b|\[h\]", comment) else None


def _date(text: str) -> datetime.date | None:
    """Return a date: ISO, with slashes, or the old FITS format dd/mm/yy (FITS 4.0, section 9.1.1)."""
    text = text.strip()
    year_first = re.fullmatch(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", text)
    day_first = re.fullmatch(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{2}|\d{4})", text)
    named = re.fullmatch(r"(\d{1,2})[- ]([A-Za-z]{3})[a-z]*[- ](\d{4})", text)
    if named and named[2].lower() in _MONTHS:
        day, month, year = int(named[1]), _MONTHS.index(named[2].lower()) + 1, int(named[3])
    elif year_first:
        year, month, day = (int(part) for part in year_first.groups())
    elif day_first:
        day, month, year = (int(part) for part in day_first.groups())
        if year < 100:  # the standard means 19yy, but cameras went on writing it after 1999
            year += 1900 if year >= _EARLIEST - 1900 else 2000
    else:
        return None
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None


def _joined(date: datetime.date | None, hours: float | None) -> datetime.datetime | None:
    if date is None or hours is None or not 0 <= hours <= 24:
        return None
    start = datetime.datetime.combine(date, datetime.time(), tzinfo=datetime.UTC)
    return _checked(start + datetime.timedelta(microseconds=round(hours * 3.6e9)))


def _checked(moment: datetime.datetime) -> datetime.datetime | None:
    return moment if _EARLIEST <= moment.year <= _LATEST else None


def _from_mjd(days: float) -> datetime.datetime | None:
    return _checked(_MJD_ZERO + datetime.timedelta(days=days)) if 42_000 < days < 90_000 else None


def _from_end(header: Header, exposure_time: float | None, notes: list[str]) -> datetime.datetime | None:
    """Return the beginning from the middle or end of the exposure, which some headers give alone."""
    for keyword, part in (("DATE-AVG", 0.5), ("DATE-END", 1.0)):
        value = header.value(keyword)
        moment = parse_date_and_time(value) if isinstance(value, str) else None
        if moment is not None and exposure_time is not None:
            notes.append(f"beginning reckoned from {keyword}")
            return _in_utc(moment - datetime.timedelta(seconds=part * exposure_time), header, notes)
    return None


def _in_utc(moment: datetime.datetime, header: Header, notes: list[str]) -> datetime.datetime:
    system = header.text("TIMESYS").upper()
    offset = _OFFSETS.get(system)
    if offset is not None:
        notes.append(f"{system} turned into UTC")
        return moment - datetime.timedelta(seconds=offset)
    if system and not system.startswith("UT"):
        notes.append(f"TIMESYS = {system[:20]!r} is taken as UT")
    return moment


def _sidereal_time(header: Header) -> float | None:
    """Return the local sidereal time [h], said outright or as hour angle + right ascension."""
    for keyword in _SIDEREAL:
        hours = sexagesimal(header.value(keyword))
        if hours is not None and 0 <= hours < 24:
            return hours
    hour_angle, ascension = sexagesimal(header.value("HA")), sexagesimal(header.value("RA"))
    if hour_angle is None or ascension is None or abs(hour_angle) > 12 or number(ascension) is None:
        return None
    return (hour_angle + ascension) % 24
