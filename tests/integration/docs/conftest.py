"""What the readers of pages have: a checkout, an empty home, and registries on the ports that the pages name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from mirrord.demo.scenario import open_scene
from tests.conftest import IN_CI
from tests.integration.command import ROOT, Mirrord
from tests.integration.conftest import RequireTool
from tests.integration.docs.pageterminal import Terminal
from tests.integration.docs.pagewalk import Reading, Walk
from tests.integration.docs.pageworld import NoNamespaceError, RegistryInside, private_network
from tests.integration.servers import DockerRegistry

NOT_NEEDED = frozenset({"bench", "build", "dist", "docs", "htmlcov", "tests"})
"""Of a checkout, beside what is hidden: what no command of a page reads."""
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SEED = """\
version: 1
registries: {{"{source}": {{plain_http: true}}, "{target}": {{plain_http: true}}}}
rules:
  - {{name: shop, source: "{source}/shop/*", targets: ["{target}/{{repository}}"]}}
  - {{name: tools, source: "{source}/tools/*", targets: ["{target}/{{repository}}"]}}
  - {{name: charts, source: "{source}/charts/*", targets: ["{target}/{{repository}}"]}}
"""


class ReadPage(Protocol):
    """Carries a page out as its reader would, and returns what was not as the page says."""

    def __call__(self, reading: Reading, *, ports: tuple[int, ...], installed: bool) -> list[str]: ...


@pytest.fixture(scope="module")
def sample_storage(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Path:
    """The storage of a docker-registry that has the sample images, as mirrord brought them there."""
    require_tool("docker-registry")
    root = tmp_path_factory.mktemp("samples")
    with open_scene() as scene, DockerRegistry(root, access_log=False) as registry:
        config = root / "seed.yaml"
        config.write_text(SEED.format(source=scene.source, target=registry.address))
        done = Mirrord(root).run("sync", "--once", "--no-progress", "-c", str(config))
        assert done.code == 0, done.stderr
        assert "10 images: 10 copied" in done.stdout
        return registry.storage


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of a checkout its users need, with what `make` would have installed: that is this very environment."""
    root = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        if entry.name.startswith(".") or entry.name in NOT_NEEDED:
            continue
        if entry.is_dir():
            shutil.copytree(entry, root / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(entry, root / entry.name)
    (root / ".venv").symlink_to(sys.prefix)
    (root / ".make").mkdir()
    (root / ".make/run").touch()
    return root


@pytest.fixture
def read_page(tmp_path: Path, checkout: Path, request: pytest.FixtureRequest, require_tool: RequireTool) -> ReadPage:
    """Read a page in a home and a network of its own.

    ``ports`` are those on which the page presumes registries, the first of them with the sample images; ``installed``
    says whether it presumes mirrord.
    """
    require_tool("unshare", "nsenter", "openssl", "make", "curl")

    def read(reading: Reading, *, ports: tuple[int, ...], installed: bool) -> list[str]:
        work_dir = tmp_path / "checkout"
        shutil.copytree(checkout, work_dir, symlinks=True)
        home = tmp_path / "home"
        home.mkdir()
        with _network() as prefix, ExitStack() as running:
            for port in ports:
                root = tmp_path / f"registry-{port}"
                if port == ports[0]:
                    shutil.copytree(request.getfixturevalue("sample_storage"), root / "storage", copy_function=os.link)
                running.enter_context(RegistryInside(root, port=port, prefix=prefix))
            if installed:
                (home / "bin").mkdir()
                (home / "bin/mirrord").symlink_to(Path(sys.prefix, "bin/mirrord"))
            env = environment(home)
            with Walk(
                reading,
                work_dir,
                lambda: Terminal(work_dir, env=env, prefix=prefix),
                lambda: lend_packages(home),
            ) as walk:
                given = walk.carry_out((ROOT / reading.page).read_text("utf-8"))
        assert given or walk.faults, f"{reading.page} has no command at all"
        return walk.faults

    return read


@pytest.fixture
def own_network(require_tool: RequireTool) -> Iterator[tuple[str, ...]]:
    """A network with a loopback alone: what a command has put before it to be there."""
    require_tool("unshare", "nsenter")
    with _network() as prefix:
        yield prefix


@contextmanager
def _network() -> Iterator[tuple[str, ...]]:
    try:
        with private_network() as prefix:
            yield prefix
    except NoNamespaceError as exc:
        if IN_CI and os.geteuid() == 0:
            raise
        pytest.skip(f"the pages' ports need a network of their own, which cannot be made here: {exc}")


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a reader. pip asks no index: see `lend_packages`."""
    python = Path(getattr(sys, "_base_executable", sys.executable)).resolve().parent
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(home / "bin"), str(python), SYSTEM_PATH]),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        # Zero is how pip takes this one from the environment: the build tool is among what is lent.
        "PIP_NO_BUILD_ISOLATION": "0",
    }


def lend_packages(home: Path) -> None:
    """Put the packages of this environment behind those of one that the reader made, so that none are fetched.

    mirrord itself is installed here by reference, which a path of another environment does not follow: the reader has
    the one that was installed as the page says, or none.
    """
    [packages] = Path(sys.prefix, "lib").glob("python3*/site-packages")
    for made in home.glob("*/lib/python3*/site-packages"):
        (made / "lent.pth").write_text(f"{packages}\n")
