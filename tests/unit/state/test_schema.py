"""Tables are those of the migrations, older ones are brought forward with a copy kept, newer ones are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from mirrord.errors import StateError
from mirrord.state.engine import begin_to_write, connect
from mirrord.state.opening import ready_file
from mirrord.state.schema import SCHEMA, Schema, migrate
from mirrord.state.tables import METADATA
from tests.fakes.clock import START
from tests.fakes.states import opened, sql

NEXT = """
import sqlalchemy as sa
from alembic import op
revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
def upgrade():
    op.add_column("owned", sa.Column("why", sa.String))
    {last}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ready_file(tmp_path / "state.db", START)
    return tmp_path / "state.db"


def later(directory: Path, last: str = "pass") -> Schema:
    """Return the schema of a release to come, which has one migration more."""
    versions = directory / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_bytes((SCHEMA.scripts / "env.py").read_bytes())
    (versions / "0001_first.py").write_bytes((SCHEMA.scripts / "versions" / "0001_first.py").read_bytes())
    (versions / "0002_next.py").write_text(NEXT.format(last=last))
    return Schema(head="0002", scripts=versions.parent)


def copies(file: Path) -> list[str]:
    return sorted(found.name for found in file.parent.glob("state.db.*") if found.suffix != ".lock")


def schema_of(engine: Engine) -> dict[str, str]:
    """Return the statements that made all tables and indexes, without what is a matter of writing."""
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").all()
    # Alembic names the key of its own table; what it is a key of is the same.
    return {str(name): re.sub(r'CONSTRAINT alembic_version_pkc|[\s"]+', "", str(text)) for name, text in rows}


def test_migrations_make_the_tables_that_the_code_knows_and_a_new_store_has(file: Path) -> None:
    """A new store is made without migrations; every later one comes to the same tables by them."""
    new, migrated = connect(file), create_engine("sqlite://")
    with migrated.begin() as connection:
        migrate(connection)

    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, METADATA)
        version = context.get_current_revision()
    by_migrations, at_once = schema_of(migrated), schema_of(new)
    new.dispose()
    migrated.dispose()

    assert differences == []
    assert version == SCHEMA.head
    assert by_migrations == at_once
    assert set(METADATA.tables) < set(at_once)


def test_newest_migration_is_the_version_that_a_start_looks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCHEMA.scripts))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA.head


def test_versions_sort_as_text() -> None:
    names = [found.name for found in (SCHEMA.scripts / "versions").glob("*.py")]

    assert all(re.fullmatch(r"\d{4}_[a-z_]+\.py", name) for name in names)


@pytest.mark.covers("C50")
def test_older_store_is_brought_forward_and_a_copy_of_it_kept(file: Path, tmp_path: Path) -> None:
    sql(file, "INSERT INTO owned VALUES ('rule', 'target.test/app', '1.0', 5)")

    ready_file(file, START, schema=later(tmp_path / "later"))

    assert sql(file, "SELECT * FROM owned") == [("rule", "target.test/app", "1.0", 5, None)]
    assert sql(file, "SELECT version_num FROM alembic_version") == [("0002",)]
    assert copies(file) == ["state.db.before-0002"]
    copy = file.with_name("state.db.before-0002")
    assert sql(copy, "SELECT * FROM owned") == [("rule", "target.test/app", "1.0", 5)]
    assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.covers("C50")
def test_copy_of_the_store_can_be_opened_by_the_older_release(file: Path, tmp_path: Path) -> None:
    ready_file(file, START, schema=later(tmp_path / "later"))
    with pytest.raises(StateError):
        ready_file(file, START)

    file.with_name("state.db.before-0002").rename(file)

    assert ready_file(file, START).value == "sound"


def test_one_copy_is_kept(file: Path, tmp_path: Path) -> None:
    file.with_name("state.db.before-0001").write_text("an older copy")
    file.with_name("state.db.copying").write_text("a copy that a kill left half done")

    ready_file(file, START, schema=later(tmp_path / "later"))

    assert copies(file) == ["state.db.before-0002"]


def test_new_store_has_no_copy(tmp_path: Path) -> None:
    ready_file(tmp_path / "state.db", START, schema=later(tmp_path / "later"))

    assert copies(tmp_path / "state.db") == []


@pytest.mark.covers("C50", "D100")
@pytest.mark.parametrize("version", ["0002", "9999", "next"])
@pytest.mark.anyio
async def test_newer_store_is_refused_and_left_as_it_is(tmp_path: Path, version: str) -> None:
    async with opened(tmp_path):
        pass
    file = tmp_path / "state.db"
    sql(file, "UPDATE alembic_version SET version_num = ?", version)
    before = file.read_bytes()

    with pytest.raises(StateError, match=f"newer mirrord .version {version} of its tables; this one knows") as caught:
        async with opened(tmp_path):
            pytest.fail("it was opened")

    assert caught.value.code == "STATE_NEWER"
    assert file.read_bytes() == before
    assert copies(file) == []


def test_version_that_never_was_is_refused_and_told(file: Path) -> None:
    sql(file, "UPDATE alembic_version SET version_num = '0000'")

    with pytest.raises(StateError, match="cannot be brought to version 0001"):
        ready_file(file, START)


def test_migration_that_fails_leaves_the_store_as_it_was(file: Path, tmp_path: Path) -> None:
    """Also what it had done before it failed: all of it is one transaction."""
    schema = later(tmp_path / "later", "op.execute('INSERT INTO nowhere VALUES (1)')")

    with pytest.raises(StateError, match="no such table: nowhere"):
        ready_file(file, START, schema=schema)

    assert len(sql(file, "PRAGMA table_info(owned)")) == 4
    assert sql(file, "SELECT version_num FROM alembic_version") == [("0001",)]
    assert ready_file(file, START).value == "sound"


def test_nothing_is_changed_where_no_copy_can_be_made(file: Path, tmp_path: Path) -> None:
    schema = later(tmp_path / "later")
    file.with_name("state.db.copying").mkdir()

    with pytest.raises(StateError, match="could not copy the state store"):
        ready_file(file, START, schema=schema)

    assert sql(file, "SELECT version_num FROM alembic_version") == [("0001",)]


def test_first_start_that_is_broken_off_leaves_nothing_half_made(tmp_path: Path) -> None:
    schema = later(tmp_path / "later", "op.execute('INSERT INTO nowhere VALUES (1)')")
    file = tmp_path / "state.db"
    with pytest.raises(StateError):
        ready_file(file, START, schema=schema)

    assert sql(file, "SELECT count(*) FROM sqlite_schema") == [(0,)]
    assert ready_file(file, START).value == "sound"


def test_transaction_takes_the_right_to_write_at_once(file: Path) -> None:
    """Else two that read before they write would each refuse the other."""
    first, second = connect(file), connect(file, busy_s=0.01)
    for engine in (first, second):
        event.listen(engine, "begin", begin_to_write)

    with first.begin(), pytest.raises(SQLAlchemyError, match="locked"), second.begin():
        pass
    first.dispose()
    second.dispose()


def test_file_is_kept_as_sqlite_should_keep_it(file: Path) -> None:
    engine = connect(file)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum", "busy_timeout", "application_id")
        }
    engine.dispose()

    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "auto_vacuum": 2,
        "busy_timeout": 5_000,
        "application_id": int.from_bytes(b"mird"),
    }
