"""Five rules that end in five ways: in sync, on two targets, blocked, behind, and without a source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.integration import scenes
from tests.integration.scenes import noise
from tests.integration.servers import DockerRegistry

PROMISE_S = 1.0
SHARED = noise(1, 60_000)


@dataclass
class World:
    """Registries, the rules upon them, and their configuration file."""

    source: DockerRegistry
    east: DockerRegistry
    west: DockerRegistry
    frail: DockerRegistry
    config: Path

    @property
    def reachable(self) -> tuple[DockerRegistry, ...]:
        """The registries that are there to the end, and know what they were asked."""
        return self.source, self.east, self.west

    def fall_behind(self) -> None:
        """Have the source move the tag of `late`, whose target dies."""
        scenes.push_image(self.source, "team/late", "v1", [noise(200, 3000)])
        self.frail.kill()


def make_world(start: Callable[[], DockerRegistry], directory: Path) -> World:
    source, east, west, frail = (start() for _ in range(4))
    for number in range(3):
        scenes.push_image(source, "team/app", f"v{number}", [SHARED, noise(100 + number, 3000)])
    for number in range(2):
        scenes.push_image(source, "team/both", f"v{number}", [SHARED, noise(110 + number, 40_000)])
    scenes.push_image(source, "team/kept", "v1", [noise(120, 3000)])
    scenes.push_image(west, "mirror/kept", "v1", [noise(122, 3000)])
    scenes.push_image(source, "team/kept", "v2", [noise(121, 3000)])
    scenes.push_image(source, "team/late", "v1", [noise(130, 3000)])
    targets = {"app": [east], "both": [east, west], "kept": [west], "late": [frail], "missing": [east]}
    options: dict[str, dict[str, object]] = {
        "app": {"schedule": "1h"},
        "kept": {"immutable_tags": ["v*"], "freshness": "1h"},
        "late": {"freshness": f"{PROMISE_S:g}s"},
    }
    rules = [
        {
            "name": name,
            "source": f"{source.address}/team/{name}",
            "targets": [f"{target.address}/mirror/{name}" for target in to],
            **options.get(name, {}),
        }
        for name, to in targets.items()
    ]
    config = scenes.write_config(directory, rules, scenes.plain(source, east, west, frail))
    return World(source, east, west, frail, config)


def seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()


def without_zeros(found: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    return {labels: value for labels, value in found.items() if value}
