"""Fixtures that start real registries and tools; each asks for what it needs, and says what is missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest
import trustme

from tests.integration.command import Finished, Mirrord
from tests.integration.processes import find_tool
from tests.integration.servers import Credentials, DockerRegistry, TLSFront, tool
from tests.integration.tools import Buildah, Skopeo, ToolError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RequireTool = Callable[..., None]
BROWSER_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
BROWSER_WAIT_MS = 15_000
"""So long a page may take on a busy machine, in milliseconds."""

NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}


class StartRegistry(Protocol):
    """Starts one more docker-registry with the options of `DockerRegistry`."""

    def __call__(
        self,
        *,
        credentials: Credentials | None = None,
        delete: bool = True,
        read_only: bool = False,
        descriptor_cache: bool = False,
        relative_locations: bool = False,
    ) -> DockerRegistry: ...


class StartFront(Protocol):
    """Starts one more nginx before a registry with the options of `TLSFront`."""

    def __call__(
        self,
        backend: DockerRegistry,
        *,
        credentials: Credentials | None = None,
        forwarded_proto: bool = True,
        limit_bodies: bool = False,
    ) -> TLSFront: ...


class RunMirrord(Protocol):
    """Runs a command of mirrord to its end."""

    def __call__(self, *arguments: str, env: dict[str, str] | None = None, timeout_s: float = 50.0) -> Finished: ...


class Certificate(NamedTuple):
    """A server certificate for loopback in files, and the authority that signed it."""

    certificate_file: Path
    key_file: Path
    ca_file: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory: it starts processes."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)


@pytest.fixture
def start_registry(tmp_path: Path, require_tool: RequireTool) -> Iterator[StartRegistry]:
    """Start registries, each with storage and port of its own; all end with the test."""
    require_tool("docker-registry", "htpasswd")
    with ExitStack() as running:

        def start(**options: object) -> DockerRegistry:
            root = tmp_path / f"registry-{len(list(tmp_path.glob('registry-*'))) + 1}"
            return running.enter_context(DockerRegistry(root, **options))  # type: ignore[arg-type] # named in StartRegistry

        yield start


@pytest.fixture
def source(start_registry: StartRegistry) -> DockerRegistry:
    """A registry to copy from, open to everyone."""
    return start_registry()


@pytest.fixture
def target(start_registry: StartRegistry) -> DockerRegistry:
    """A registry to copy to, open to everyone, deletions allowed."""
    return start_registry()


@pytest.fixture
def private_registry(start_registry: StartRegistry) -> DockerRegistry:
    """A registry that asks for a password."""
    return start_registry(credentials=Credentials("mirror", "correct horse: battery"))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1 and localhost."""
    directory = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    made = Certificate(directory / "server.pem", directory / "server.key", directory / "ca.pem")
    for chained in issued.cert_chain_pems:
        chained.write_to_path(str(made.certificate_file), append=True)
    issued.private_key_pem.write_to_path(str(made.key_file))
    authority.cert_pem.write_to_path(str(made.ca_file))
    return made


@pytest.fixture
def start_tls_front(tmp_path: Path, require_tool: RequireTool, certificate: Certificate) -> Iterator[StartFront]:
    """Start an nginx with TLS, and a password if wanted, before a registry; all end with the test."""
    require_tool("nginx", "htpasswd")
    with ExitStack() as running:

        def start(backend: DockerRegistry, **options: object) -> TLSFront:
            root = tmp_path / f"front-{len(list(tmp_path.glob('front-*'))) + 1}"
            front = TLSFront(root, backend=backend, **certificate._asdict(), **options)  # type: ignore[arg-type] # named in StartFront
            return running.enter_context(front)

        yield start


@pytest.fixture
def skopeo(tmp_path: Path, require_tool: RequireTool) -> Skopeo:
    """Skopeo, as client and witness."""
    require_tool("skopeo")
    work_dir = tmp_path / "skopeo"
    work_dir.mkdir()
    return Skopeo(work_dir)


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Buildah:
    """Buildah with a store of its own; skipped where the user may not build."""
    require_tool("buildah", "busybox")
    builder = Buildah(tmp_path_factory.mktemp("buildah"))
    try:
        builder.run("rm", builder.run("from", "scratch").strip())
    except ToolError as exc:
        if os.geteuid() == 0:
            raise
        pytest.skip(f"buildah cannot build as user {os.geteuid()}: {exc}")
    return builder


@pytest.fixture(scope="session")
def busybox_layout(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runnable image, made by a real builder: an OCI layout of busybox on this machine's platform."""
    layout = tmp_path_factory.mktemp("busybox") / "layout"
    buildah.save(build_busybox(buildah, NATIVE.get(platform.machine(), "amd64")), layout)
    return layout


@pytest.fixture(scope="session")
def busybox_index_layout(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with an index over busybox images of three platforms that share a layer."""
    layout = tmp_path_factory.mktemp("busybox-index") / "layout"
    images = [build_busybox(buildah, architecture) for architecture in ("amd64", "arm64", "s390x")]
    buildah.save_index("localhost/busybox-index", images, layout)
    return layout


@pytest.fixture
def mirrord(tmp_path: Path) -> Iterator[Mirrord]:
    """The command line of mirrord; what it started is killed at the end."""
    work_dir = tmp_path / "mirrord"
    work_dir.mkdir()
    command = Mirrord(work_dir)
    yield command
    command.close()


@pytest.fixture
def run_mirrord(mirrord: Mirrord) -> RunMirrord:
    """Run a command of mirrord to its end: `run_mirrord("sync", "--once", "-c", str(file))`."""
    return mirrord.run


@pytest.fixture(scope="module")
def browser(require_tool: RequireTool) -> Iterator[Browser]:
    """Debian's chromium, without a window. Of a module and no longer: while it lives, no other event loop can run."""
    from playwright.sync_api import expect, sync_playwright

    require_tool("chromium")
    expect.set_options(timeout=BROWSER_WAIT_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find_tool("chromium"), args=list(BROWSER_FLAGS))
        yield launched
        launched.close()


def build_busybox(buildah: Buildah, architecture: str) -> str:
    """Commit an image for an architecture to the builder's store and return its name.

    The binary is the same for every architecture: layers are shared, configs and the layer on top differ.
    """
    base = buildah.build("localhost/busybox-base", files={"/bin/busybox": Path(tool("busybox"))})
    return buildah.build(
        f"localhost/busybox-{architecture}",
        base=base,
        texts={"/etc/architecture": f"{architecture}\n"},
        architecture=architecture,
        entrypoint=["/bin/busybox"],
    )
