"""SIGKILL at random instants of a sync: one more pass makes everything right, and sends no finished blob again."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.processes import Process
from tests.integration.scenes import noise
from tests.integration.servers import DockerRegistry

KILLS = 50
IMAGES = 160
REPOSITORIES = 8
LONGEST_S = 0.5


@pytest.mark.timeout(240)
@pytest.mark.covers("C4", "C7", "D54")
def test_killed_fifty_times_it_loses_nothing_and_sends_nothing_twice(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    """The seed of the instants is fixed; how far a run comes in that time is up to the machine."""
    pushed = _seed(source)
    settings = {registry.address: {"plain_http": True, "bandwidth": "1500KiB"} for registry in (source, target)}
    rules = [
        {
            "name": f"rule-{number}",
            "source": f"{source.address}/team/app-{number}",
            "targets": [f"{target.address}/mirror/app-{number}"],
        }
        for number in range(REPOSITORIES)
    ]
    config = scenes.write_config(tmp_path, rules, settings)
    state = {"MIRRORD_STATE": f"sqlite:///{tmp_path}/state.db"}
    instants = random.Random(4711)
    in_the_middle = 0

    for _ in range(KILLS):
        process = _begin(mirrord, config, state, target)
        time.sleep(instants.uniform(0, LONGEST_S))
        in_the_middle += process.alive
        process.kill()
        assert _is_whole(tmp_path / "state.db")
    killed = {name: scenes.tag_digest(target, *name) for name in pushed}
    done = mirrord.run("sync", "--once", "-c", str(config), "--output", "json", env=state)

    assert in_the_middle == KILLS
    assert {served for name, served in killed.items() if served is not None} <= set(pushed.values())
    assert 0 < sum(served is not None for served in killed.values()) < IMAGES
    assert done.code == 0, done.stderr
    assert {name: scenes.tag_digest(target, *name) for name in pushed} == pushed
    totals = json.loads(done.stdout)["totals"]
    assert totals["copied"] + totals["in_sync"] == IMAGES
    assert _finished_twice(target) == {}
    assert _is_whole(tmp_path / "state.db")


def _begin(mirrord: Mirrord, config: Path, state: dict[str, str], target: DockerRegistry) -> Process:
    """Start a sync, and return when it asks the target."""
    before = len(target.requests())
    # Coverage slows the start down, and a killed process tells nothing of it.
    process = mirrord.start("sync", "--once", "-c", str(config), env={**state, "COVERAGE_PROCESS_CONFIG": ""})
    process.wait_until(lambda: len(target.requests()) > before, what="working")
    return process


def _seed(source: DockerRegistry) -> dict[tuple[str, str], str]:
    """Push the images; return their digests by the name that they have on the target."""
    shared = noise(1, 20_000)
    found = {}
    for number in range(IMAGES):
        repository, tag = f"app-{number % REPOSITORIES}", f"v{number}"
        image = scenes.push_image(source, f"team/{repository}", tag, [shared, noise(100 + number, 200_000)], note=tag)
        found[f"mirror/{repository}", tag] = image.digest
    return found


def _is_whole(file: Path) -> bool:
    with sqlite3.connect(file) as connection:
        (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return bool(answer == "ok")


def _finished_twice(target: DockerRegistry) -> dict[tuple[str, str], int]:
    """Return uploads that were finished more than once, by repository and digest."""
    finished: Counter[tuple[str, str]] = Counter()
    for request in target.requests():
        if request.method == "PUT" and "/blobs/uploads/" in request.path and request.status == 201:
            repository = request.route.partition("/v2/")[2].partition("/blobs/")[0]
            finished[repository, request.path.partition("digest=")[2]] += 1
    return {name: count for name, count in finished.items() if count > 1}
