"""The registries of the soak: what is seeded, changed and killed is what the judge of the end looks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.world import World
from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool


@pytest.fixture
def world(tmp_path: Path, require_tool: RequireTool) -> Iterator[World]:
    require_tool("docker-registry")
    with World(tmp_path / "world", sources=1, targets=2, rules=2, tags=2, seed=7) as world:
        world.seed()
        yield world


def mirror(world: World, mirrord: Mirrord) -> int:
    config = mirrord.work_dir / "config.yaml"
    rules = [
        {
            "name": route.rule,
            "source": f"{route.source.address}/{route.repository}",
            "targets": [f"{route.target.address}/{route.target_repository}"],
        }
        for route in world.routes
    ]
    registries = {registry.address: {"plain_http": True} for registry in world.registries}
    config.write_text(json.dumps({"version": 1, "registries": registries, "rules": rules}))
    return mirrord.run("sync", "--once", "--no-progress", "-c", str(config)).code


def test_targets_differ_until_all_is_mirrored_and_again_after_a_change(world: World, mirrord: Mirrord) -> None:
    before = world.differences()
    assert mirror(world, mirrord) == 0
    between = world.wait_until_equal(timeout_s=0)
    told = [world.change() for _ in range(10)]
    after = world.differences()

    assert [one.partition(" is missing")[0] for one in before] == [
        "rule-000: 1.0",
        "rule-000: 1.1",
        "rule-001: 1.0",
        "rule-001: 1.1",
    ]
    assert between == []
    added = {one.removesuffix(" added") for one in told if one.endswith(" added")}
    assert added
    assert {one.partition(" is missing")[0] for one in after if " is missing" in one} == added
    assert any(" is sha256:" in one for one in after)
    assert mirror(world, mirrord) == 0
    assert world.differences() == []


def test_an_image_that_lost_a_blob_is_a_difference(world: World, mirrord: Mirrord) -> None:
    assert mirror(world, mirrord) == 0
    route = world.routes[0]
    layers = route.target.storage / f"docker/registry/v2/repositories/{route.target_repository}/_layers/sha256"
    digest = min(layers.iterdir()).name
    route.target.blob_file(f"sha256:{digest}").unlink()

    assert world.differences() in (["rule-000: 1.0 is not whole"], ["rule-000: 1.1 is not whole"])


def test_registry_that_was_killed_returns_with_what_it_had(world: World) -> None:
    told = world.strike()
    dead = [registry for registry in world.registries if not registry.process.alive]
    world.revive()

    assert told == f"{dead[0].root.name} killed"
    assert len(dead) == 1
    assert all(registry.process.alive for registry in world.registries)
    assert len(world.differences()) == 4


def test_one_seed_makes_one_world(tmp_path: Path, world: World) -> None:
    with World(tmp_path / "other", sources=1, targets=2, rules=2, tags=2, seed=7) as other:
        other.seed()
        changes = [other.change() for _ in range(5)]
        there = other.differences()

    assert [world.change() for _ in range(5)] == changes
    assert world.differences() == there
