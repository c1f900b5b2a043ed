"""``manage.py frontend UNIT``: serve one unit's interface for its cluster managers, at the unit's host and port."""

from __future__ import annotations

import socket
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from processing_units.frontend.models import ProcessingUnit


class Command(BaseCommand):
    """Accept, claim, lease, commit and report for one unit; changes of its row hold from the next request on."""

    help = __doc__ or ""
    requires_system_checks = ()  # they would import every page; `manage.py check` is for that

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("unit")
        parser.add_argument("--threads", type=int, default=16, help="requests a worker answers at a time (default 16)")
        parser.add_argument(
            "--workers",
            type=int,
            default=1,
            help="processes, each of which can use a core (default 1); see docs/scaling.md",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Serve until SIGTERM or SIGINT."""
        from processing_units.frontend.unit_server import UnitServer

        unit = ProcessingUnit.objects.filter(name=options["unit"]).first()
        if unit is None:
            names = ", ".join(ProcessingUnit.objects.order_by("name").values_list("name", flat=True)) or "none yet"
            raise CommandError(f"there is no unit {options['unit']!r}; the units are: {names}")
        _check_address(unit)
        self.stderr.write(f"the frontend of unit {unit.name} listens on {unit.host}:{unit.port}")
        _let_go_of_the_database()
        UnitServer(unit, options["threads"], options["workers"]).run()


def _let_go_of_the_database() -> None:
    """Close what gunicorn's workers would inherit: two of them on one connection read each other's answers.

    A connection that is closed goes back to its pool, open: the pool has to go as well.
    """
    for connection in connections.all(initialized_only=True):
        connection.close()
        if close_pool := getattr(connection, "close_pool", None):  # PostgreSQL's alone
            close_pool()


def _check_address(unit: ProcessingUnit) -> None:
    with socket.socket(socket.AF_INET6 if ":" in unit.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((unit.host, unit.port))
        except OSError as error:
            raise CommandError(
                f"the frontend of unit {unit.name} cannot listen on {unit.host}:{unit.port}: {error.strerror}; "
                f"end what listens there, or give the unit another port: manage.py unit set {unit.name} --port PORT"
            ) from None
