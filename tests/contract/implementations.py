"""The implementations of `RepositoryReader` and `RepositoryWriter` that the contract holds for.

To add one: write an async context manager that takes an empty directory and yields an `OpenedRepository`, and name
it in `IMPLEMENTATIONS`, with what it cannot do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mirrord.layout import LayoutReader, LayoutWriter
from mirrord.oci.reference import LayoutDirectory
from mirrord.ports.credentials import Credential
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.ports.settings import RegistrySettings
from tests.fakes.clients import Client, open_client
from tests.fakes.registry import BEARER, DISTRIBUTION_V2, DISTRIBUTION_V3, FakeRegistry, Profile
from tests.integration.servers import Credentials, DockerRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRepository:
    """Reader and writer of one repository that does not exist yet, and a reader of one that never does."""

    reader: RepositoryReader
    writer: RepositoryWriter
    absent: RepositoryReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One implementation, and what its store can do: the adapter cannot do more.

    Attributes:
        name: the id in test names.
        open: yields a new repository; its argument is an empty directory for whatever it needs.
        backends: the event loops that it runs on.
        tools: the programs that it needs; the tests are skipped without them, or fail in CI.
        deletes_tags: whether a tag can be deleted without its manifest.
        deletes_manifests: whether a manifest can be deleted by digest.
        refuses_missing_blobs: whether a manifest is refused while a blob of it is missing.
        refuses_missing_children: whether an index is refused while a child of it is missing.
        takes_sparse_indexes: whether an index is taken without children that are said to be left out on purpose.
        referrers_from_api: what `ReferrersAnswer.from_api` says there.
        tells_blobs_from_manifests: whether a blob that is asked for as a manifest is missing; docker-registry 2.8.2
            answers 500.
    """

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[OpenedRepository]]
    backends: tuple[str, ...] = ("asyncio",)
    tools: tuple[str, ...] = ()
    deletes_tags: bool = True
    deletes_manifests: bool = True
    refuses_missing_blobs: bool = True
    refuses_missing_children: bool = True
    takes_sparse_indexes: bool = False
    referrers_from_api: bool = True
    tells_blobs_from_manifests: bool = True


@asynccontextmanager
async def open_layout(directory: Path) -> AsyncIterator[OpenedRepository]:
    """Yield an image layout directory."""
    location = LayoutDirectory(str(directory / "layout"))
    yield OpenedRepository(
        reader=LayoutReader(location),
        writer=LayoutWriter(location),
        absent=LayoutReader(LayoutDirectory(str(directory / "absent"))),
    )


def emulated(profile: Profile) -> Callable[[Path], AbstractAsyncContextManager[OpenedRepository]]:
    """Return a maker of repositories in an emulated registry, spoken to over HTTP."""

    @asynccontextmanager
    async def open_emulated(_directory: Path) -> AsyncIterator[OpenedRepository]:
        async with FakeRegistry(profile) as registry, open_client(registry) as client:
            yield _opened(client)

    return open_emulated


@asynccontextmanager
async def open_docker_registry(directory: Path) -> AsyncIterator[OpenedRepository]:
    """Yield a repository in a docker-registry process that asks for a password, spoken to over HTTP."""
    user = Credentials("robot", "correct horse")
    with DockerRegistry(directory / "registry", credentials=user) as registry:
        host = registry.address
        settings = RegistrySettings(host=host, plain_http=True)
        credential = Credential(username=user.username, secret=user.password)
        async with open_client(host, settings=settings, credential=credential) as client:
            yield _opened(client)


def _opened(client: Client) -> OpenedRepository:
    return OpenedRepository(
        reader=client.reader("team/app"), writer=client.writer("team/app"), absent=client.reader("team/absent")
    )


IMPLEMENTATIONS: tuple[Implementation, ...] = (
    Implementation(name="layout", open=open_layout, backends=("asyncio", "trio"), takes_sparse_indexes=True),
    Implementation(name="distribution-v3", open=emulated(DISTRIBUTION_V3)),
    Implementation(
        name="distribution-v2", open=emulated(DISTRIBUTION_V2), deletes_tags=False, referrers_from_api=False
    ),
    Implementation(name="bearer", open=emulated(BEARER)),
    Implementation(
        name="docker-registry",
        open=open_docker_registry,
        tools=("docker-registry", "htpasswd"),
        deletes_tags=False,
        referrers_from_api=False,
        tells_blobs_from_manifests=False,
    ),
)
