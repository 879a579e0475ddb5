"""The version of a store's tables: made new, brought forward under the lock with a copy kept, or refused."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from mirrord.errors import StateError, quote
from mirrord.state.tables import METADATA

HEAD = "0001"
"""The newest version; a test holds it against the migrations. With it at hand a start need not load them."""

FOREIGN = "no state store of mirrord"


def version_of(connection: Connection) -> str | None:
    """Return the version of a store's tables; None: there are none yet.

    Raises:
        StateError: there are tables of something else.
    """
    names = inspect(connection).get_table_names()
    if "alembic_version" in names:
        row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
        return str(row[0]) if row is not None else None
    if names:
        raise StateError(
            f"the file is {FOREIGN}: it has the table {quote(names[0], 60)}",
            code="STATE_PATH_INVALID",
            remedy="name another file: MIRRORD_STATE=sqlite:///PATH",
        )
    return None


def bring_forward(engine: Engine, path: Path) -> None:
    """See that a store has the newest tables; before one that has others is changed, a copy is kept beside it.

    Raises:
        StateError: it is of a newer mirrord (STATE_NEWER), or of something else.
    """
    with engine.connect() as connection:
        version = version_of(connection)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise StateError(
            f'the state store "{quote(str(path))}" was written by a newer mirrord (version {quote(version, 20)} of its '
            f"tables; this one knows {HEAD})",
            code="STATE_NEWER",
            remedy="run the newer mirrord, or name another file with MIRRORD_STATE: a new one costs time, no image",
        )
    if version is None:
        with engine.begin() as connection:
            make_new(connection)
        return
    _keep_copy(engine, path)
    with engine.begin() as connection:
        migrate(connection)


def make_new(connection: Connection) -> None:
    """Make the newest tables at once: the migrations would make the same, with 10 MB of what runs them in memory."""
    METADATA.create_all(connection)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def migrate(connection: Connection, to: str = "head") -> None:
    """Run the migrations on a connection."""
    from alembic import command  # noqa: PLC0415 - a start with the newest tables does not need it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _keep_copy(engine: Engine, path: Path) -> None:
    """Copy the file as it is before a migration; of earlier copies none is kept."""
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    for earlier in path.parent.glob(f"{path.name}.before-*"):
        with contextlib.suppress(OSError):
            earlier.unlink()
    shutil.copy2(path, path.with_name(f"{path.name}.before-{HEAD}"))
