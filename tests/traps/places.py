"""Two registries for one test body: distribution 2.8.2 as it is emulated, and Debian's docker-registry itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.base import Provider
from tests.fakes.clients import Client, open_client
from tests.fakes.faults import LoseAnswer
from tests.fakes.registry import DISTRIBUTION_V2, FakeRegistry
from tests.fakes.relay import open_relay
from tests.integration.servers import DockerRegistry

EMULATED, REAL = "emulated", "real"


class Asked(NamedTuple):
    """One request as it arrived; ``target`` is path and query byte for byte."""

    method: str
    target: str
    status: int | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A registry, a client of it under test, and a client of the test's own.

    ``lose`` loses the answer to the nth request of a method from now on. ``requests`` are those that arrived,
    ``uploads`` the sessions that are open in a repository.
    """

    client: Client
    raw: httpx2.AsyncClient
    lose: Callable[[str, int], None]
    requests: Callable[[], list[Asked]]
    uploads: Callable[[str], list[str]]

    def asked(self, method: str, part: str = "") -> list[Asked]:
        """Return the requests of a method whose target has ``part`` in it."""
        return [found for found in self.requests() if found.method == method and part in found.target]


def both(number: int) -> pytest.MarkDecorator:
    """Run a test in both places: each shows the trap of this number."""
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(EMULATED, id=f"trap-{number:02}-distribution-v2"),
            pytest.param(REAL, id=f"trap-{number:02}-docker-registry", marks=pytest.mark.integration),
        ],
    )


@asynccontextmanager
async def open_place(
    kind: str,
    root: Path,
    *,
    providers: tuple[Provider, ...] | None = None,
    delete: bool = True,
    relative_locations: bool = False,
) -> AsyncIterator[Place]:
    """Open one of the two; the last options are those of `DockerRegistry`."""
    if kind == EMULATED:
        async with (
            FakeRegistry(DISTRIBUTION_V2) as registry,
            open_client(registry, providers=providers) as client,
            httpx2.AsyncClient(base_url=registry.url, verify=False) as raw,
        ):
            yield Place(
                client=client,
                raw=raw,
                lose=lambda method, nth: lose_answer(registry, method, nth),
                requests=lambda: [
                    Asked(record.method, record.target.decode(), record.status) for record in registry.traffic.records
                ],
                uploads=lambda path: [upload.id for upload in registry.store.uploads(path)],
            )
        return
    with DockerRegistry(root / "registry", delete=delete, relative_locations=relative_locations) as server:
        kept: list[Asked] = []  # what the log has before the process ends; a line of its last moments may be lost
        async with open_relay(server.address) as relay:
            settings = RegistrySettings(host=relay.host, plain_http=True)
            async with (
                open_client(relay.host, settings=settings, providers=providers) as client,
                httpx2.AsyncClient(base_url=server.url, verify=False) as raw,
            ):
                yield Place(
                    client=client,
                    raw=raw,
                    lose=relay.lose,
                    requests=lambda: kept or [Asked(*found) for found in server.requests()],
                    uploads=lambda path: uploads_on_disk(server, path),
                )
        kept += [Asked(*found) for found in server.requests()]


def lose_answer(registry: FakeRegistry, method: str, nth: int) -> None:
    """Lose the answer to the ``nth`` request of a method."""
    registry.fault(LoseAnswer(), method=method, nth=nth)


def uploads_on_disk(server: DockerRegistry, path: str) -> list[str]:
    """Return the sessions that docker-registry keeps of a repository."""
    directory = server.storage / "docker/registry/v2/repositories" / path / "_uploads"
    return sorted(found.parent.name for found in directory.glob("*/startedat"))
