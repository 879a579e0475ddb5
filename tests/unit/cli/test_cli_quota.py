"""Quotas of pulls at the command line: what plan and sync say of them, and the exit code where the reserve holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.images import make_index
from tests.fakes.profiles import DISTRIBUTION_V3, Profile, Rate
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

COUNTING = Profile(name="counting", rate=Rate(pulls=10))


@pytest.fixture
def registries() -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with serving(COUNTING, DISTRIBUTION_V3) as (source, target):
        for number in range(2):
            put(source.store, "team/app", make_index(f"app {number}"), f"1.{number}")
        yield source, target


@pytest.fixture
def config(registries: tuple[FakeRegistry, FakeRegistry], tmp_path: Path) -> Path:
    source, target = registries
    file = tmp_path / "mirrord.yaml"
    file.write_text(
        "version: 1\n"
        "registries:\n"
        f'  "{source.host}": {{plain_http: true, quota: {{reserve: RESERVE}}}}\n'
        f'  "{target.host}": {{plain_http: true}}\n'
        "rules:\n"
        f'  - {{name: app, source: "{source.host}/team/app", targets: ["{target.host}/app"]}}\n'
    )
    return file


def run(config: Path, reserve: int, *arguments: str) -> Finished:
    file = config.with_name("reserve.yaml")
    file.write_text(config.read_text().replace("RESERVE", str(reserve)))
    return run_command(*arguments, "-c", str(file), "--no-progress")


def test_run_ends_with_what_was_spent_and_what_is_left(
    registries: tuple[FakeRegistry, FakeRegistry], config: Path
) -> None:
    done = run(config, 2, "sync", "--once")

    assert done.code == 0
    assert done.stdout.splitlines()[-1] == f"{registries[0].host}: 6 pulls spent, 4 of 10 left in 6 h, 2 reserved"
    assert registries[0].switches.pulled == 6


def test_plan_says_what_the_run_then_spends(registries: tuple[FakeRegistry, FakeRegistry], config: Path) -> None:
    source, _ = registries
    planned = json.loads(run(config, 1, "plan", "-o", "json").stdout)
    source.switches.pulls.clear()
    source.switches.pulled = 0
    told = json.loads(run(config, 1, "sync", "--once", "-o", "json").stdout)

    rest = {"limit": 10, "remaining": 4, "window_seconds": 21_600, "reserve": 1}
    assert planned["pulls"] == {source.host: {"needed": 6, **rest}}
    assert planned["estimate"]["pulls"] == 6
    assert told["traffic"]["pulls"] == {source.host: {"spent": 6, **rest}}
    assert source.switches.pulled == 6


def test_reserve_that_holds_makes_the_run_fail_and_says_until_when(
    registries: tuple[FakeRegistry, FakeRegistry], config: Path
) -> None:
    done = run(config, 7, "sync", "--once")

    assert done.code == 1
    assert "1 copied, 1 failed" in done.stdout
    assert "QUOTA_RESERVED" in done.stdout
    assert "7 of 10 pulls in 6 h are left, all of them within the reserve of 7; there will be more by" in done.stdout
    assert registries[0].switches.pulled == 3


def test_plan_of_what_is_in_sync_needs_no_pulls(registries: tuple[FakeRegistry, FakeRegistry], config: Path) -> None:
    run(config, 1, "sync", "--once")
    done = run(config, 1, "plan")

    assert done.code == 0
    assert done.stdout.splitlines()[-1] == f"{registries[0].host}: no pulls needed; 4 of 10 left in 6 h, 1 reserved"


def test_plan_that_may_spend_nothing_says_that_it_does_not_know(
    registries: tuple[FakeRegistry, FakeRegistry], config: Path
) -> None:
    """What cannot be read is neither "no changes" nor "no pulls"."""
    run(config, 7, "sync", "--once")
    done = run(config, 7, "plan")

    assert done.code == 1
    assert "nothing planned: 1 in sync, 1 failed" in done.stdout
    assert "how many pulls are needed could not be found out; 7 of 10 left in 6 h, 7 reserved" in done.stdout


def test_registry_without_a_reserve_that_counts_nothing_is_not_spoken_of(
    registries: tuple[FakeRegistry, FakeRegistry], config: Path
) -> None:
    done = run(config, 0, "sync", "--once")

    assert done.code == 0
    assert "pull" not in done.stdout
