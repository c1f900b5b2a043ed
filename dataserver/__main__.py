"""The command line: ``python -m dataserver serve | scrub | collect | key``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from dataserver.errors import DataServerError
from dataserver.signing import RegisteredPeers, make_key_file, no_peer, read_keys, read_peer_key
from dataserver.store import DAY_SECONDS, Store

# Readers of one file ask for many ranges of it: a file that was hashed is trusted for a while, unless one complains.
_VERIFIED_SECONDS = 600.0
# Less than nodes wait for an answer.
_BUSY_SECONDS = 20.0
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 (damage was found) or 2 (it could not run)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    try:
        code: int = options.run(options)
    except DataServerError as error:
        print(f"dataserver: {error.message}" + (f"\n  {error.hint}" if error.hint else ""), file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dataserver: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dataserver", description="Files by sha256, behind signed URLs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve a store, or a cache before another data server")
    serve.add_argument("--root", required=True, type=Path, help="folder of the store or of the cache")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine only)")
    serve.add_argument("--port", default=8001, type=int, help="port to listen at, 0 for any (default: 8001)")
    serve.add_argument("--key-file", type=Path, help="its keys; a cache: the key that it was registered with")
    serve.add_argument("--max-upload", type=_bytes, metavar="N", help="largest upload, like 2G (default: any)")
    serve.add_argument("--peers", type=Path, help="file with the caching data servers that are registered, one a line")
    serve.add_argument("--upstream", metavar="URL", help="be a cache of the data server at this address")
    serve.add_argument("--upstream-ca", metavar="FILE", help="who certifies it, where the system does not know (PEM)")
    serve.add_argument("--max-bytes", type=_bytes, metavar="N", help="size bound of the cache, like 200G")
    serve.add_argument("--threads", default=16, type=int, help="requests served at once by a process (default: 16)")
    serve.add_argument("--workers", default=1, type=int, help="processes (default: 1)")
    serve.add_argument("--certificate", help="TLS certificate chain (PEM)")
    serve.add_argument("--private-key", help="its private key (PEM)")
    serve.set_defaults(run=_serve)

    scrub = commands.add_parser("scrub", help="hash every file anew; put damaged ones into quarantine")
    scrub.add_argument("--root", required=True, type=Path, help="folder of the store")
    scrub.set_defaults(run=_scrub)

    collect = commands.add_parser("collect", help="remove files that a list does not name, and old staging")
    collect.add_argument("--root", required=True, type=Path, help="folder of the store")
    collect.add_argument("--referenced", required=True, help="file with a sha256 a line to keep, - for standard input")
    collect.add_argument("--older-than", default=DAY_SECONDS, type=float, metavar="SECONDS", help="default: a day")
    collect.add_argument("--dry-run", action="store_true", help="only count")
    collect.set_defaults(run=_collect)

    key = commands.add_parser("key", help="make a key file that only you can read")
    key.add_argument("file", type=Path)
    key.set_defaults(run=_key)
    return parser


def _serve(options: argparse.Namespace) -> int:
    from dataserver.cache import ReadThroughCache
    from dataserver.server import serve
    from dataserver.service import application, cache_application

    if options.key_file is None:
        hint = "`manage.py data_server register` writes a cache's" if options.upstream else "`key FILE` makes one"
        raise DataServerError("a data server needs a key", hint=f"add --key-file; {hint}")
    if options.upstream:
        if not options.max_bytes:
            raise DataServerError("a cache needs a size bound", hint="add --max-bytes, like --max-bytes 200G")
        cache = ReadThroughCache(
            options.root,
            options.max_bytes,
            upstreams=[options.upstream],
            verified_for=_VERIFIED_SECONDS,
            busy_timeout=_BUSY_SECONDS,
            authorities=options.upstream_ca,
        )
        own = read_peer_key(options.key_file)
        seen = cache.upstream.answers(f"{options.upstream.rstrip('/')}/health")
        if seen != "answers":
            logging.getLogger(__name__).warning("%s is %s; what is here is given all the same", options.upstream, seen)
        served = cache_application(cache, options.upstream, own, threads=options.threads)
        what = f"cache {own.peer} {options.root} of {options.upstream}"
    else:
        keys, is_peer = read_keys(options.key_file), RegisteredPeers(options.peers) if options.peers else no_peer
        served = application(Store(options.root), keys, max_size=options.max_upload, is_peer=is_peer)
        what = f"store {options.root}"
    serve(
        served,
        what,
        host=options.host,
        port=options.port,
        threads=options.threads,
        workers=options.workers,
        certificate=options.certificate,
        private_key=options.private_key,
    )
    return 0


def _scrub(options: argparse.Namespace) -> int:
    report = Store(_existing(options.root)).scrub()
    for damaged in report.damaged:
        print(f"damaged: {damaged.sha256} has become {damaged.found}, now in {damaged.quarantined}")
    print(f"{report.files} files, {report.bytes} bytes, {len(report.damaged)} damaged")
    return 1 if report.damaged else 0


def _collect(options: argparse.Namespace) -> int:
    store = Store(_existing(options.root))
    with sys.stdin if options.referenced == "-" else open(options.referenced, encoding="ascii") as lines:
        done = store.collect(filter(None, map(str.strip, lines)), options.older_than, dry_run=options.dry_run)
    verb = "would remove" if options.dry_run else "removed"
    print(f"{verb} {done.objects} files and {done.staged} that were staged or unfinished, {done.bytes} bytes")
    return 0


def _key(options: argparse.Namespace) -> int:
    make_key_file(options.file)
    read_keys(options.file)
    print(f"key file: {options.file}")
    return 0


def _existing(root: Path) -> Path:
    if not (root / "objects").is_dir():
        raise DataServerError(f"there is no store below {root}", hint="name the folder that `serve --root` has")
    return root


def _bytes(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    try:
        return int(float(number) * _UNITS[unit])
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 500M or 200G") from None


if __name__ == "__main__":
    sys.exit(main())
