"""The scene of `mirrord demo`: two registries in memory, sample images in one of them, and rules that join them."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal

from mirrord.demo.images import SAMPLES, WEB, load, release
from mirrord.demo.registry import RegistryApp
from mirrord.demo.serving import LOOPBACK, serve
from mirrord.errors import StartupError

CONFIG_NAME = "mirrord.yaml"
TOKEN_NAME = "token"  # noqa: S105 - the name of its file

CONFIG = """\
# The rules of the demo. The registries that they name are there as long as the demo runs.
version: 1

registries:
  {source}: {{plain_http: true}}
  {target}: {{plain_http: true}}

defaults:
  schedule: 5s
  freshness: 30s

rules:
  - name: shop                                  # every repository below shop/, every tag
    source: {source}/shop/*
    targets: ["{target}/mirror/{{repository}}"]

  - name: tools                                 # releases alone, and the signatures that belong to them
    source: {source}/tools/*
    targets: ["{target}/mirror/{{repository}}"]
    tags: {{exclude: ["*-rc*"]}}

  - name: chart                                 # Helm charts are images like any other
    source: {source}/charts/shop
    targets: ["{target}/mirror/charts/shop"]
    tags: {{semver: ">=1.0 <2"}}
"""


class Scene:
    """Two registries that are running. ``source`` and ``target`` are their hosts, ``config_file`` holds the rules.

    ``directory`` is there as long as the scene; ``state_url`` names a state store in it; ``token`` is that of the
    service's API, and stands in ``token_file``.

    They run on a thread of their own, so that the rest of the program meets them as it meets any registry.
    """

    def __init__(
        self, *, source: str, target: str, directory: Path, images: RegistryApp, portal: BlockingPortal
    ) -> None:
        self.source = source
        self.target = target
        self.directory = directory
        self.config_file = directory / CONFIG_NAME
        self.token_file = directory / TOKEN_NAME
        self.state_url = f"sqlite://{directory}/state.db"
        self.token = secrets.token_urlsafe(18)
        self._images = images
        self._portal = portal
        self._releases = 0

    @property
    def repositories(self) -> int:
        """How many repositories the source has."""
        return len(SAMPLES)

    @property
    def tags(self) -> int:
        """How many tags the source has, signatures apart."""
        return sum(len(sample.tags) for sample in SAMPLES)

    def write_files(self) -> None:
        """Write the configuration file, and the token of the API."""
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(f"{self.token}\n", encoding="utf-8")
        self.config_file.write_text(CONFIG.format(source=self.source, target=self.target), encoding="utf-8")

    def release(self) -> str:
        """Release the next version of shop/web at the source: a tag of its own, and ``latest`` moves to it.

        Blocks for some milliseconds; to be called from any thread but the registries' own.

        Returns:
            The new tag.
        """
        self._releases += 1
        return self._portal.call(release, self._images.store, self._releases)


@contextmanager
def open_scene(ports: tuple[int, int] = (0, 0)) -> Iterator[Scene]:
    """Serve both registries on loopback while the context lasts, with the configuration file in a fresh directory.

    Nothing is asked of any network but loopback, and nothing is left behind.

    Args:
        ports: those of the source and of the target; 0 for any that is free.

    Raises:
        StartupError: a port is taken (LISTEN_FAILED).
    """
    images = RegistryApp()
    with (
        tempfile.TemporaryDirectory(prefix="mirrord-demo-") as directory,
        start_blocking_portal("asyncio", name="demo registries") as portal,
        portal.wrap_async_context_manager(_serve_both(images, ports)) as (source, target),
    ):
        portal.call(load, images.store)
        scene = Scene(source=source, target=target, directory=Path(directory), images=images, portal=portal)
        scene.write_files()
        yield scene


@asynccontextmanager
async def _serve_both(images: RegistryApp, ports: tuple[int, int]) -> AsyncIterator[tuple[str, str]]:
    async with AsyncExitStack() as serving:
        hosts = []
        for app, port in zip((images, RegistryApp()), ports, strict=True):
            try:
                hosts.append(await serving.enter_async_context(serve(app, port=port, grace_s=0.1)))
            except OSError as exc:
                raise StartupError(
                    f"{LOOPBACK}:{port} cannot be listened on: {exc.strerror or exc}",
                    code="LISTEN_FAILED",
                    remedy="end what uses the port",
                ) from exc
        yield hosts[0], hosts[1]


SAMPLE_REPOSITORY = WEB.repository
"""A repository of the source to try commands on."""
