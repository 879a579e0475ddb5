"""Registries for a soak: small images under many tags, of which some move all the time; registries die and return."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Self

from bench.seeds import is_whole, push_image, tags_of
from tests.integration.servers import DockerRegistry

PUSHERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What one rule mirrors."""

    rule: str
    source: DockerRegistry
    target: DockerRegistry
    repository: str
    target_repository: str


class World:
    """Sources and targets, and the routes between them.

    Args:
        root: where the registries store.
        sources: how many registries are read from.
        targets: how many are written to.
        rules: how many routes there are, spread over both.
        tags: tags of each route at the start.
        seed: decides all that is random: what images hold, which tags move, who dies.
        layer_bytes: size of the one layer of an image.
    """

    def __init__(
        self, root: Path, *, sources: int, targets: int, rules: int, tags: int, seed: int, layer_bytes: int = 512
    ) -> None:
        self.sources = [DockerRegistry(root / f"source-{n}", access_log=False) for n in range(1, sources + 1)]
        self.targets = [DockerRegistry(root / f"target-{n}", access_log=False) for n in range(1, targets + 1)]
        self.routes = [self._route(number) for number in range(rules)]
        self.changes = 0
        self.unreachable = 0
        self.outages = 0
        self._random = random.Random(seed)
        self._seed = seed
        self._tags = tags
        self._layer_bytes = layer_bytes
        self._dead: DockerRegistry | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            for registry in self.registries:
                started.enter_context(registry)
            started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for registry in self.registries:
            registry.kill()

    @property
    def registries(self) -> Sequence[DockerRegistry]:
        """All of them."""
        return [*self.sources, *self.targets]

    def seed(self) -> None:
        """Push the images that are there at the start."""
        with ThreadPoolExecutor(PUSHERS) as pool:
            list(pool.map(self._seed_route, self.routes))

    def change(self) -> str:
        """Change one tag at a source, and tell what was done: a new image, a new tag, or an older image again."""
        route = self._random.choice(self.routes)
        kind = self._random.choices(["moved", "added", "rolled back"], [7, 2, 1])[0]
        number = self._random.randrange(self._tags)
        tag = f"new-{self.changes}" if kind == "added" else f"1.{number}"
        seed_text = f"{self._seed}:{route.rule}:{number}" + ("" if kind == "rolled back" else f":{self.changes}")
        self.changes += 1
        try:
            push_image(route.source.port, route.repository, tag, seed_text=seed_text, layer_bytes=self._layer_bytes)
        except (OSError, HTTPException, RuntimeError):  # it is dead just now; the next change is for another
            self.unreachable += 1
            return f"{route.rule}: nothing, its source does not answer"
        return f"{route.rule}: {tag} {kind}"

    def strike(self) -> str:
        """Kill one registry (SIGKILL); `revive` starts it again with what it had stored."""
        self.revive()
        self._dead = self._random.choice(self.registries)
        self._dead.kill()
        self.outages += 1
        return f"{self._dead.root.name} killed"

    def revive(self) -> None:
        """Start the registry that was killed."""
        if self._dead is not None:
            self._dead.start()
            self._dead = None

    def differences(self) -> list[str]:
        """Return where a target does not serve what its source has: nothing when every tag is mirrored whole."""
        found = []
        for route in self.routes:
            there = tags_of(route.target.storage, route.target_repository)
            for tag, digest in sorted(tags_of(route.source.storage, route.repository).items()):
                if there.get(tag) != digest:
                    found.append(f"{route.rule}: {tag} is {there.get(tag, 'missing')}, not {digest}")
                elif not is_whole(route.target.storage, route.target_repository, digest):
                    found.append(f"{route.rule}: {tag} is not whole")
        return found

    def wait_until_equal(self, timeout_s: float, poll_s: float = 1.0) -> list[str]:
        """Wait until targets serve what sources have; return what differs at the end of the time."""
        deadline = time.monotonic() + timeout_s
        while (found := self.differences()) and time.monotonic() < deadline:
            time.sleep(poll_s)
        return found

    def _route(self, number: int) -> Route:
        return Route(
            rule=f"rule-{number:03}",
            source=self.sources[number % len(self.sources)],
            target=self.targets[number // len(self.sources) % len(self.targets)],
            repository=f"team/app-{number:03}",
            target_repository=f"mirror/app-{number:03}",
        )

    def _seed_route(self, route: Route) -> None:
        for number in range(self._tags):
            push_image(
                route.source.port,
                route.repository,
                f"1.{number}",
                seed_text=f"{self._seed}:{route.rule}:{number}",
                layer_bytes=self._layer_bytes,
            )
