"""The version of a store's tables: made new, brought forward under the lock with a copy kept, or refused."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select

from mirrord.errors import StateError, quote
from mirrord.state.engine import command
from mirrord.state.mapping import mapped
from mirrord.state.tables import METADATA

APPLICATION = 0x6D697264
"""What SQLite calls the application id of a file, by which programs know whose it is: "mird"."""

_VERSIONS = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The tables that this mirrord knows: the newest version, and where the migrations to it stand.

    With ``head`` at hand a start need not load the migrations. Versions are numbers of four digits.
    """

    head: str = "0001"
    scripts: Path = Path(__file__).parent / "migrations"


SCHEMA = Schema()


def bring_forward(engine: Engine, path: Path, schema: Schema = SCHEMA) -> None:
    """See that a store has the newest tables; before one that has others is changed, a copy is kept beside it.

    Raises:
        StateError: it is of a newer mirrord (STATE_NEWER), or of something else.
        SQLAlchemyError: it cannot be read or written.
    """
    with engine.connect() as connection:
        version = version_of(connection, path)
    if version == schema.head:
        return
    if version is not None:
        if version > schema.head:
            raise _newer(path, version, schema)
        _keep_copy(engine, path, schema)
    with engine.begin() as connection:
        if version is None:
            # Also where the file's first process died: to find it half made is not possible, for this commits at once.
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION}")
            connection.exec_driver_sql(f"PRAGMA user_version={1 + secrets.randbelow(0x7FFFFFFE)}")
        if version is None and schema is SCHEMA:
            make_new(connection)
        else:
            migrate(connection, schema)
    # All that was written shall stand in the file itself: its header then says which store it is.
    command(engine, "wal_checkpoint(TRUNCATE)")


def make_new(connection: Connection) -> None:
    """Make the newest tables at once: migrations make the same, and leave 10 MB in memory of what runs them."""
    METADATA.create_all(connection)
    _VERSIONS.create(connection)
    connection.execute(insert(_VERSIONS).values(version_num=SCHEMA.head))


def migrate(connection: Connection, schema: Schema = SCHEMA) -> None:
    """Run the migrations on a connection, in the transaction that it is in.

    Raises:
        StateError: there is no way from the version that the tables have.
        SQLAlchemyError: a migration failed.
    """
    from alembic import command as alembic  # noqa: PLC0415 - a start with the newest tables does not need it
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(schema.scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        alembic.upgrade(config, "head")
    except CommandError as exc:
        raise StateError(
            f"the tables of the state store cannot be brought to version {schema.head}: {quote(str(exc))}",
            remedy="name another file with MIRRORD_STATE: a new one costs time, no image",
        ) from exc


def version_of(connection: Connection, path: Path) -> str | None:
    """Return the version of a store's tables; None: there are none yet.

    Raises:
        StateError: there are tables of something else.
    """
    names = inspect(connection).get_table_names()
    application = connection.exec_driver_sql("PRAGMA application_id").scalar()
    if names and (application != APPLICATION or _VERSIONS.name not in names):
        raise StateError(
            f'"{quote(str(path))}" is no state store of mirrord: it has the table {quote(names[0], 60)}',
            code="STATE_PATH_INVALID",
            remedy="name another file: MIRRORD_STATE=sqlite:///PATH",
        )
    if not names:
        return None
    version = connection.execute(select(_VERSIONS.c.version_num)).scalar()
    return str(version) if version is not None else ""


def _newer(path: Path, version: str, schema: Schema) -> StateError:
    return StateError(
        f'the state store "{quote(str(path))}" was written by a newer mirrord (version {quote(version, 20)} of its '
        f"tables; this one knows {schema.head})",
        code="STATE_NEWER",
        remedy="run the newer mirrord, or name another file with MIRRORD_STATE: a new one costs time, no image",
    )


def _keep_copy(engine: Engine, path: Path, schema: Schema) -> None:
    """Copy the file as it is before a migration; of copies made for earlier ones none is kept.

    Raises:
        StateError: there is no room for the copy, and nothing was changed.
    """
    copy = path.with_name(f"{path.name}.before-{schema.head}")
    unfinished = path.with_name(f"{path.name}.copying")
    with mapped("copy"), suppress(FileNotFoundError):
        unfinished.unlink()
    with mapped("copy"), closing(sqlite3.connect(unfinished)) as target:
        unfinished.chmod(0o600)
        source = engine.raw_connection()
        try:
            assert isinstance(source.driver_connection, sqlite3.Connection)
            source.driver_connection.backup(target)
        finally:
            source.close()
    with mapped("copy"):
        unfinished.rename(copy)
    for earlier in path.parent.glob(f"{escape(path.name)}.before-*"):
        if earlier != copy:
            with suppress(OSError):
                earlier.unlink()
