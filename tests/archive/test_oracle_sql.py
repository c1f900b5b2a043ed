"""Every migration's SQL for Oracle, made by Django's backend and python-oracledb: its names are held to Oracle's rules.

Only what a server would be asked is given: its version, and whether it knows collations. No Oracle server was tried.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connections, models
from django.db.backends.oracle.base import DatabaseWrapper
from django.db.backends.oracle.schema import DatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.utils import load_backend

from archive.models import Product
from archive.queries import Selection, one_of

OURS = {"archive", "frontend", "awportal"}
LONGEST_NAME = 30
# Oracle Database SQL Language Reference 19c, appendix E: reserved words.
RESERVED = re.compile(
    "ACCESS|ADD|ALL|ALTER|AND|ANY|AS|ASC|AUDIT|BETWEEN|BY|CHAR|CHECK|CLUSTER|COLUMN|COLUMN_VALUE|COMMENT|COMPRESS|"
    "CONNECT|CREATE|CURRENT|DATE|DECIMAL|DEFAULT|DELETE|DESC|DISTINCT|DROP|ELSE|EXCLUSIVE|EXISTS|FILE|FLOAT|FOR|"
    "FROM|GRANT|GROUP|HAVING|IDENTIFIED|IMMEDIATE|IN|INCREMENT|INDEX|INITIAL|INSERT|INTEGER|INTERSECT|INTO|IS|LEVEL|"
    "LIKE|LOCK|LONG|MAXEXTENTS|MINUS|MLSLABEL|MODE|MODIFY|NESTED_TABLE_ID|NOAUDIT|NOCOMPRESS|NOT|NOWAIT|NULL|NUMBER|"
    "OF|OFFLINE|ON|ONLINE|OPTION|OR|ORDER|PCTFREE|PRIOR|PUBLIC|RAW|RENAME|RESOURCE|REVOKE|ROW|ROWID|ROWNUM|ROWS|"
    "SELECT|SESSION|SET|SHARE|SIZE|SMALLINT|START|SUCCESSFUL|SYNONYM|SYSDATE|TABLE|THEN|TO|TRIGGER|UID|UNION|UNIQUE|"
    "UPDATE|USER|VALIDATE|VALUES|VARCHAR|VARCHAR2|VIEW|WHENEVER|WHERE|WITH"
)


@pytest.fixture(scope="module")
def oracle() -> Iterator[DatabaseWrapper]:
    """Django's Oracle backend that believes it is connected to Oracle 19c."""
    settings = {
        "ENGINE": "django.db.backends.oracle", "NAME": "nowhere", "USER": "AWPORTAL", "PASSWORD": "", "HOST": "",
        "PORT": "", "OPTIONS": {}, "TIME_ZONE": None, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False,
        "AUTOCOMMIT": True, "ATOMIC_REQUESTS": False, "TEST": {},
    }  # fmt: skip
    connection = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "oracle")
    connection.__dict__["oracle_version"] = (19,)
    connection.__dict__["operators"] = connection._standard_operators
    connection.features.__dict__["supports_collation_on_charfield"] = True
    connections["oracle"] = connection
    yield connection
    del connections["oracle"]


class _Offline(DatabaseSchemaEditor):
    """Oracle's schema editor with the one answer that a server would give it on the way."""

    def _is_identity_column(self, _table_name: str, column_name: str) -> bool:
        return column_name.lower() == "id"


@pytest.fixture(scope="module")
def statements(oracle: DatabaseWrapper) -> dict[tuple[str, str], list[str]]:
    """SQL of each migration, in the order in which they are applied."""
    loader = MigrationLoader(None)
    plan: list[tuple[str, str]] = []
    for leaf in loader.graph.leaf_nodes():
        plan += [step for step in loader.graph.forwards_plan(leaf) if step not in plan]
    state = ProjectState()
    made = {}
    for step in plan:
        with _Offline(oracle, collect_sql=True, atomic=False) as editor:
            state = loader.graph.nodes[step].apply(state, editor, collect_sql=True)
        made[step] = editor.collected_sql
    return made


def test_every_migration_has_oracle_sql(statements: dict[tuple[str, str], list[str]]) -> None:
    assert {app for app, _ in statements} >= OURS | {"auth", "contenttypes", "sessions", "axes"}
    everything = "\n".join(sql for made in statements.values() for sql in made)
    assert 'CREATE TABLE "ARCHIVE_PRODUCT"' in everything
    assert everything.count("CREATE TABLE") >= 20


def test_no_name_is_longer_than_thirty_characters(statements: dict[tuple[str, str], list[str]]) -> None:
    for step, made in statements.items():
        for sql in made:
            names = re.findall(r'"([^"]+)"', sql)
            assert [name for name in names if len(name) > LONGEST_NAME] == [], step


def _our_models() -> list[type[models.Model]]:
    return [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in OURS]


def test_our_names_need_no_cutting_and_are_no_reserved_words() -> None:
    for model in _our_models():
        names = [model._meta.db_table, *(field.column for field in model._meta.local_fields)]
        names += [index.name for index in model._meta.indexes]
        names += [constraint.name for constraint in model._meta.constraints]
        assert [name for name in names if len(name) > LONGEST_NAME] == [], model
        assert [name for name in names if RESERVED.fullmatch(name.upper())] == [], model


def test_what_oracle_can_do_is_all_that_our_fields_need(oracle: DatabaseWrapper) -> None:
    for model in _our_models():
        for field in model._meta.local_fields:
            assert oracle.validation.check_field(field) == [], field


def test_no_unique_constraint_is_left_out_for_want_of_a_partial_index() -> None:
    conditional = [
        constraint.name
        for model in _our_models()
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and constraint.condition is not None
    ]
    assert conditional == []


def test_no_two_indexes_are_on_the_same_columns(statements: dict[tuple[str, str], list[str]]) -> None:
    """Oracle refuses the second (ORA-01408); a unique constraint has an index too."""
    seen: Counter[tuple[str, str]] = Counter()
    for (app, _), made in statements.items():
        if app not in OURS:
            continue
        for sql in made:
            for table, columns in re.findall(r'CREATE (?:UNIQUE )?INDEX "\w+" ON ("\w+") \(([^()]+)\)', sql):
                seen[table, _plain(columns)] += 1
            for table, columns in re.findall(r'ALTER TABLE ("\w+") ADD CONSTRAINT "\w+" UNIQUE \(([^()]+)\)', sql):
                seen[table, _plain(columns)] += 1
            created = re.match(r'CREATE TABLE ("\w+")', sql)
            if created:
                for column in re.findall(r'("\w+") [^,]*?\bUNIQUE\b', sql):
                    seen[created[1], column] += 1
    assert [entry for entry, count in seen.items() if count > 1] == []


def _plain(columns: str) -> str:
    return re.sub(r"\s+(ASC|DESC)\b", "", columns).replace(" ", "")


def test_an_empty_text_is_asked_for_as_null(oracle: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle keeps "" as NULL, so "one of '' and V" needs both."""
    monkeypatch.setattr(connections["default"].features, "interprets_empty_strings_as_nulls", True)
    query = Product.objects.filter(one_of("filter_name", ["", "V"])).values("pk").query
    sql, parameters = query.get_compiler(connection=oracle).as_sql()
    assert sql.endswith('("ARCHIVE_PRODUCT"."FILTER_NAME" IN (%s) OR "ARCHIVE_PRODUCT"."FILTER_NAME" IS NULL)')
    assert parameters == ("V",)
    assert Selection.parse({"filter": ""}).filters == ()


TREE = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("package", ["archive", "awportal", "processing_units"])
def test_nothing_is_asked_that_oracle_refuses(package: str) -> None:
    """Oracle locks no first row of many (LIMIT with FOR UPDATE), and knows no insert past what is there."""
    found = []
    for path in (TREE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            locks = any(isinstance(part, ast.Attribute) and part.attr == "select_for_update" for part in ast.walk(node))
            if locks and node.func.attr in {"first", "last", "exists", "earliest", "latest"}:
                found.append(f"{path.name}:{node.lineno} {node.func.attr}")
            if {"ignore_conflicts", "update_conflicts"} & {keyword.arg for keyword in node.keywords}:
                found.append(f"{path.name}:{node.lineno} {node.func.attr}")
    assert found == []
