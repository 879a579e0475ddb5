"""Plans where MIRRORD_STATE names a store: they cost what the run would, change nothing, and need no lock."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from mirrord.state.lock import StateLock
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.images import make_image
from tests.fakes.profiles import DISTRIBUTION_V3
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

PLANS = [("plan",), ("sync", "--once", "--dry-run")]
TAGS = ["1.0", "1.1", "1.2"]


class World(NamedTuple):
    """Two registries, a rule from one to the other, and the place of a state store."""

    source: FakeRegistry
    target: FakeRegistry
    config: Path
    state: Path

    def run(self, *command: str) -> Finished:
        return run_command(*command, "-c", str(self.config), "--no-progress", "-o", "json")

    def looks(self) -> dict[str, int]:
        """Return how many manifests the target was asked for since the last time."""
        found = dict(self.target.traffic.counts)
        self.target.traffic.clear()
        return found


def files(world: World) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in world.state.parent.iterdir()}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    state = tmp_path / "state" / "state.db"
    state.parent.mkdir()
    monkeypatch.setenv("MIRRORD_STATE", f"sqlite:///{state}")
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V3) as (source, target):
        for tag in TAGS:
            put(source.store, "team/app", make_image(tag), tag)
        config = tmp_path / "mirrord.yaml"
        config.write_text(
            "version: 1\n"
            "registries:\n"
            f'  "{source.host}": {{plain_http: true}}\n'
            f'  "{target.host}": {{plain_http: true}}\n'
            "rules:\n"
            f'  - {{name: app, source: "{source.host}/team/app", targets: ["{target.host}/app"]}}\n'
        )
        yield World(source, target, config, state)


@pytest.mark.parametrize("command", PLANS, ids=" ".join)
def test_plan_believes_what_the_run_remembers_and_leaves_the_store_alone(
    world: World, command: tuple[str, ...]
) -> None:
    assert world.run("sync", "--once").code == 0
    before = files(world)
    assert world.looks()["manifest PUT"] == len(TAGS)

    done = world.run(*command)
    by_plan = world.looks()
    after = files(world)
    world.run("sync", "--once")

    assert (done.code, json.loads(done.stdout)["totals"]["in_sync"]) == (0, len(TAGS))
    assert by_plan == world.looks() == {}
    assert after == before


@pytest.mark.parametrize("command", PLANS, ids=" ".join)
def test_plan_works_while_a_service_has_the_store(world: World, command: tuple[str, ...]) -> None:
    assert world.run("sync", "--once").code == 0
    world.looks()

    with StateLock(world.state, datetime.now(UTC)):
        planned = world.run(*command, "--verbose")
        refused = world.run("sync", "--once")

    assert (planned.code, planned.stderr) == (0, "")
    assert world.looks() == {}
    assert refused.code == 3
    assert "STATE_LOCKED" in refused.stderr


@pytest.mark.parametrize("command", PLANS, ids=" ".join)
def test_plan_without_a_store_asks_both_sides_and_says_so_with_verbose(world: World, command: tuple[str, ...]) -> None:
    quiet = world.run(*command)
    told = world.run(*command, "--verbose")

    assert (quiet.code, told.code) == (0, 0)
    assert quiet.stderr == ""
    assert told.stderr.startswith(f'note: "{world.state}" is not used, this is planned as without memory: there is no')
    assert json.loads(told.stdout)["totals"]["copy"] == len(TAGS)
    assert list(world.state.parent.iterdir()) == []


@pytest.mark.parametrize("command", PLANS, ids=" ".join)
def test_plan_says_that_it_cannot_use_a_store_of_another_version(world: World, command: tuple[str, ...]) -> None:
    """Nobody would ask with --verbose why all of a sudden everything is asked for."""
    assert world.run("sync", "--once").code == 0
    with closing(sqlite3.connect(world.state)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    done = world.run(*command)

    assert (done.code, json.loads(done.stdout)["totals"]["in_sync"]) == (0, len(TAGS))
    assert done.stderr == (
        f'note: "{world.state}" is not used, this is planned as without memory: '
        "its tables are of version 9999, and this mirrord reads 0001; the run would refuse it (STATE_NEWER)\n"
    )


def test_plan_refuses_the_store_that_the_run_would_refuse(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRRORD_STATE", "postgresql://mirrord@db/mirrord")

    done = world.run("plan")

    assert done.code == world.run("sync", "--once").code
    assert "STATE_URL_INVALID" in done.stderr
