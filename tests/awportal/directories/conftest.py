"""A portal as its own process, with an LDAP directory and an OpenID provider that are real servers beside it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.local_servers import eventually, free_port, listens

TREE = Path(__file__).resolve().parents[3]
SUFFIX = "dc=observatory,dc=example"
PASSWORD = "a long sentence of hers"
BIND_PASSWORD = "the portal's own words"
_SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_ldif
pidfile {home}/slapd.pid
database ldif
directory {home}/entries
suffix "{suffix}"
rootdn "cn=portal,{suffix}"
rootpw {password}
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""


def _person(uid: str, given: str, name: str) -> str:
    return (
        f"dn: uid={uid},ou=people,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {given} {name}\n"
        f"givenName: {given}\nsn: {name}\nmail: {uid}@observatory.example\nuserPassword: {PASSWORD}\n\n"
    )


ENTRIES = (
    f"dn: {SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\no: observatory\ndc: observatory\n\n"
    f"dn: ou=people,{SUFFIX}\nobjectClass: organizationalUnit\nou: people\n\n"
    + _person("lena", "Lena", "Virtanen")
    + _person("anna", "Another", "Anna")
    + f"dn: cn=globulars,{SUFFIX}\nobjectClass: groupOfNames\ncn: globulars\nmember: uid=lena,ou=people,{SUFFIX}\n"
)


@dataclass
class Portal:
    """A portal that runs: its address, and how its database is asked."""

    url: str
    environment: dict[str, str]
    directory: subprocess.Popen[bytes]
    provider: subprocess.Popen[bytes]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask, or change, the portal's database, without the seconds that Django takes to start."""
        file = Path(self.environment["AWPORTAL_HOME"]) / "awportal.sqlite3"
        with closing(sqlite3.connect(file, timeout=60)) as database, database:
            return database.execute(query).fetchall()


@contextmanager
def _process(
    command: list[str], port: int, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the test ends; wait until it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=TREE, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: listens(port) or process.poll() is not None, what=f"{command[0]} listens")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that takes both, with Anna who was made there, and a project that a group stands for."""
    home = tmp_path_factory.mktemp("portal")
    ports = [free_port() for _ in range(3)]
    environment = portal_environment(home, *ports)
    _fill_directory(home)
    slapd = ["slapd", "-d", "0", "-f", str(home / "slapd.conf"), "-h", f"ldap://127.0.0.1:{ports[1]}"]
    claims = {"sub": "0042", "preferred_username": "mika", "name": "Mika Laine", "groups": ["globulars"]}
    taken = {"sub": "0043", "preferred_username": "anna", "name": "A third Anna", "email": "anna@example.org"}
    provider = [sys.executable, "-m", "oidc_provider_mock", "-p", str(ports[2])]
    provider += [part for each in (claims, taken) for part in ("--user-claims", json.dumps(each))]
    code = (
        "from django.core.management import call_command; from django.contrib.auth.models import User; "
        "call_command('migrate', verbosity=0); call_command('collectstatic', verbosity=0, interactive=False); "
        f"anna = User.objects.create_user('anna', password={PASSWORD!r} + '!')\n"
        "from archive.models import Profile, Project\n"
        "Profile.objects.create(user=anna); Project.objects.create(name='M13 survey')"
    )
    first = [sys.executable, "manage.py", "shell", "--no-imports", "-v", "0", "-c", code]
    subprocess.run(first, cwd=TREE, env=environment, check=True)
    server = [sys.executable, "-m", "gunicorn", "awportal.wsgi:application", "-b", f"127.0.0.1:{ports[0]}"]
    server += ["--worker-class", "gthread", "--threads", "4"]
    with ExitStack() as running:
        directory = running.enter_context(_process(slapd, ports[1], environment, home / "slapd.log"))
        other = running.enter_context(_process(provider, ports[2], environment, home / "provider.log"))
        running.enter_context(_process(server, ports[0], environment, home / "portal.log"))
        yield Portal(environment["AWPORTAL_BASE_URL"], environment, directory, other)


def portal_environment(home: Path, portal_port: int, ldap_port: int, provider_port: int) -> dict[str, str]:
    """Return what a manager would write into the portal's environment, and write the two secrets."""
    secrets = home / "secrets"
    secrets.mkdir(mode=0o700)
    for name, text in (("ldap", BIND_PASSWORD), ("oidc", "the provider's secret")):
        (secrets / name).write_text(text)
        (secrets / name).chmod(0o600)
    ours = {
        "HOME": str(home),
        "BASE_URL": f"http://127.0.0.1:{portal_port}",
        "LDAP_URL": f"ldap://127.0.0.1:{ldap_port}",
        "LDAP_START_TLS": "no",
        "LDAP_BIND_DN": f"cn=portal,{SUFFIX}",
        "LDAP_USERS": f"ou=people,{SUFFIX}",
        "LDAP_GROUPS": SUFFIX,
        "OIDC_URL": f"http://127.0.0.1:{provider_port}",
        "OIDC_NAME": "the observatory",
        "GROUP_PROJECTS": "globulars=M13 survey; others=no such project",
    }
    # Nor what tests with a browser in this process have set for their own sake.
    without = {name: value for name, value in os.environ.items() if not name.startswith(("AWPORTAL_", "DJANGO_"))}
    return {**without, **{f"AWPORTAL_{name}": value for name, value in ours.items()}}


def _fill_directory(home: Path) -> None:
    (home / "entries").mkdir()
    (home / "slapd.conf").write_text(_SLAPD.format(home=home, suffix=SUFFIX, password=json.dumps(BIND_PASSWORD)))
    (home / "entries.ldif").write_text(ENTRIES)
    command = ["slapadd", "-f", str(home / "slapd.conf"), "-l", str(home / "entries.ldif")]
    subprocess.run(command, check=True, capture_output=True)
