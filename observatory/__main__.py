"""``python -m observatory FOLDER``: observe a night with the simulated observatory."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

from observatory.night import observe
from observatory.plan import NIGHT
from observatory.sky import ZEROPOINT


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.partition("x")
    if not (columns.isdigit() and rows.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 512x1024 (columns x rows)")
    return int(columns), int(rows)


def _filters(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.replace(",", " ").split())
    unknown = [name for name in names if name not in ZEROPOINT]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no filter {text!r}; the camera has {', '.join(ZEROPOINT)}")
    return names


def _parser() -> argparse.ArgumentParser:
    usual = NIGHT
    parser = argparse.ArgumentParser(
        prog="python -m observatory",
        description="Render a night of a simulated mosaic camera as raw FITS files, one a chip and exposure, "
        "with the truth about it in FOLDER/truth, or where --truth says.",
    )
    parser.add_argument("folder", type=Path, help="where the files go; made if it is not there")
    parser.add_argument("--night", type=date.fromisoformat, default=usual.date, help="evening (default %(default)s)")
    parser.add_argument("--seed", type=int, default=usual.seed, help="of all random numbers (default %(default)s)")
    parser.add_argument("--chips", type=int, default=usual.chips, help="(default %(default)s)")
    parser.add_argument("--size", type=_size, default=(usual.columns, usual.rows), metavar="COLUMNSxROWS",
                        help="of a chip (default 512x1024)")  # fmt: skip
    parser.add_argument("--filters", type=_filters, default=usual.filters, metavar="r,i",
                        help=f"of {', '.join(ZEROPOINT)} (default r,g); i and z show fringes")  # fmt: skip
    parser.add_argument("--exposure-time", type=float, default=usual.exposure_time, metavar="SECONDS",
                        help="of the science exposures (default %(default)s)")  # fmt: skip
    for name, unit, what in (("pointing_error", "ARCSEC", "how far the header's coordinates are off"),
                             ("rotation_error", "DEGREES", "how far they are turned"),
                             ("illumination", "MAG", "size of what flats get wrong about illumination")):  # fmt: skip
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(usual, name), metavar=unit,
                            help=f"{what} (default %(default)s)")  # fmt: skip
    for name in ("biases", "darks", "dome_flats", "twilight_flats", "science", "standards", "overscan", "prescan",
                 "trails"):  # fmt: skip
        what = "columns of a chip" if name in ("overscan", "prescan") else "exposures"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(usual, name), metavar="N",
                            help=f"{what} (default %(default)s)")  # fmt: skip
    parser.add_argument("--truth", type=Path, metavar="DIR", help="where the truth goes instead; what is there goes")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    folder, quiet = given.pop("folder"), given.pop("quiet")
    truth = given.pop("truth") or folder / "truth"
    given["columns"], given["rows"] = given.pop("size")
    given["date"] = given.pop("night")
    try:
        plan = replace(NIGHT, **given)
    except ValueError as error:
        parser.error(str(error))
    terminal = sys.stdout.isatty()

    def progress(fraction: float, text: str) -> None:
        if not quiet:
            print(f"{100 * fraction:3.0f} % {text:60}", end="\r" if terminal and fraction < 1 else "\n", flush=True)

    try:
        files = observe(folder, plan, progress)
        if truth != folder / "truth":
            shutil.rmtree(truth, ignore_errors=True)
            shutil.move(folder / "truth", truth)
    except OSError as error:
        print(f"observatory: cannot write {error.filename or folder}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nobservatory: interrupted; the night in {folder} is not whole", file=sys.stderr)
        return 130
    if not quiet:
        print(f"{len(files)} raw files in {folder}, the truth about them in {truth}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
