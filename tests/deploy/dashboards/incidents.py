"""A mirrord to which everything happens that its dashboards tell of, over real registries and one that is emulated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.fakes.faults import Respond
from tests.fakes.images import make_image
from tests.fakes.profiles import BASIC, DISTRIBUTION_V3, Rate
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put
from tests.integration import scenes
from tests.integration.scenes import noise
from tests.integration.servers import DockerRegistry

BASE = noise(1, 300_000)
"""A layer that all images share."""
PULLS = 60
KEPT = ("base", "releases")
"""Rules whose target has a tag that they may not move."""


@dataclass
class Incidents:
    """Registries, the rules upon them, and what can happen to them.

    ``hub`` counts pulls, as Docker Hub does, and may ask for patience; ``private`` asks for a password that nobody
    has; ``frail`` is a target that dies. ``every`` is the schedule of the rules, ``slowly`` that of the rule whose
    failures are counted one by one, ``promise`` what it promises.
    """

    directory: Path
    source: DockerRegistry
    east: DockerRegistry
    west: DockerRegistry
    frail: DockerRegistry
    hub: FakeRegistry
    private: FakeRegistry
    portal: BlockingPortal
    every: str = "1s"
    slowly: str = "4s"
    promise: str = "2s"
    bandwidth: str | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.directory / "config.yaml"

    def begin(self) -> None:
        """Push the first images and write the configuration: every rule has something to do."""
        for name in ("app", "web", "edge", "base", "releases", "tools"):
            self.publish(name, "v1")
        for name in KEPT:
            scenes.push_image(self.west, f"mirror/{name}", "v1", [noise(7, 3000)])
        self.release("1.0")
        self._damage()
        self.write_config(self.directory)

    def write_config(self, directory: Path, beneath: str = "mirror") -> Path:
        """Write the rules to a file and return it; new images go to repositories ``beneath`` a path of targets."""
        targets = {
            "app": [self.east, self.west],
            "web": [self.east],
            "edge": [self.frail],
            "base": [self.west],
            "releases": [self.west],
            "tools": [self.east],
        }
        options: dict[str, dict[str, object]] = {
            "app": {"freshness": "1m"},
            "edge": {"freshness": self.promise, "schedule": self.slowly},
            "base": {"overwrite": False},
            "releases": {"immutable_tags": ["v*"]},
        }
        rules: list[dict[str, object]] = [
            {
                "name": name,
                "source": f"{self.source.address}/team/{name}",
                "targets": [f"{target.address}/{'mirror' if name in KEPT else beneath}/{name}" for target in to],
                "schedule": self.every,
                **options.get(name, {}),
            }
            for name, to in targets.items()
        ]
        hub = {"source": f"{self.hub.host}/library/nginx", "targets": [f"{self.east.address}/{beneath}/nginx"]}
        rules.append({"name": "nginx", **hub, "schedule": self.every})
        private = {"source": f"{self.private.host}/team/secret", "targets": [f"{self.east.address}/{beneath}/secret"]}
        rules.append({"name": "secret", **private, "schedule": self.every})
        registries = scenes.plain(self.source, self.east, self.west, self.frail)
        if self.bandwidth is not None:
            registries[self.source.address] = {"plain_http": True, "bandwidth": self.bandwidth}
        counting = {"plain_http": True, "quota": {"reserve": 5}}
        return scenes.write_config(
            directory, rules, {**registries, self.hub.host: counting, self.private.host: {"plain_http": True}}
        )

    def second(self) -> Path:
        """Return the configuration of a second service, which has a rule of the same name."""
        folder = self.directory / "second"
        folder.mkdir()
        rule = {
            "name": "app",
            "source": f"{self.source.address}/team/app",
            "targets": [f"{self.west.address}/second/app"],
        }
        return scenes.write_config(folder, [{**rule, "schedule": self.every}], scenes.plain(self.source, self.west))

    def publish(self, name: str, tag: str | None = None, size_bytes: int = 60_000) -> None:
        """Have the source serve a new image under a tag, or a new one; all images share a layer."""
        number = next(self._numbers)
        layers = [BASE, noise(100 + number, size_bytes)]
        scenes.push_image(self.source, f"team/{name}", tag or f"v{number}", layers, note=str(number))

    def release(self, tag: str) -> None:
        """Have the registry that counts pulls serve a new image."""
        self.portal.call(put, self.hub.store, "library/nginx", make_image(f"nginx {tag}"), tag)

    def be_short(self, seconds: int = 1) -> None:
        """Have the registry that counts pulls ask for patience once, and fail twice in passing."""
        patience = Respond(429, headers=(("Retry-After", str(seconds)),))
        self.hub.fault(patience, kind="manifest GET")
        self.hub.fault(Respond(503), kind="tags/list", times=2)

    def _damage(self) -> None:
        """Have the source serve a blob of `tools` that is not what its digest says."""
        pushed = scenes.push_image(self.source, "team/tools", "v9", [noise(8, 3000)])
        self.source.blob_file(pushed.blobs[-1]).write_bytes(noise(9, 3000))

    def spoil_config(self) -> None:
        """Write a configuration that is refused."""
        config = json.loads(self.config.read_text("utf-8"))
        config["rules"][0]["shedule"] = "1m"
        self.config.write_text(json.dumps(config), "utf-8")


@contextmanager
def incidents(directory: Path) -> Iterator[Incidents]:
    """Start the registries; they end with the context."""
    profile = replace(DISTRIBUTION_V3, rate=Rate(pulls=PULLS))
    with ExitStack() as running:
        portal = running.enter_context(start_blocking_portal())
        hub = running.enter_context(portal.wrap_async_context_manager(FakeRegistry(profile)))
        private = running.enter_context(portal.wrap_async_context_manager(FakeRegistry(BASIC)))
        source, east, west, frail = (
            running.enter_context(DockerRegistry(directory / name)) for name in ("source", "east", "west", "frail")
        )
        yield Incidents(directory, source, east, west, frail, hub, private, portal)
