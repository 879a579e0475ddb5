"""Builds the container image with buildah, upon a Debian made by mmdebstrap, with wheels that uv fetched before.

The build itself has no network. What takes long to fetch is kept in `.make/image` for the next time: the base for a
week, wheels for good. Whatever index uv is told of in the environment or its own files serves them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.servers import tool
from tests.integration.tools import run_tool

ROOT = Path(__file__).parents[3]
KEPT = ROOT / ".make" / "image"
SUITE = "bookworm"
PACKAGES = "python3-minimal,libpython3-stdlib,ca-certificates,libstdc++6"
"""What the official images of Python have too, and mirrord needs."""

WEEK_S = 7 * 24 * 3600
BUILD_S = 240.0
UV_VARIABLES = {"UV_DEFAULT_INDEX": "index-url", "UV_INDEX_URL": "index-url"}
"""Variables of an index, and their keys in a file."""

PLANTED_PIP = ("usr/local/bin/pip3", "usr/local/lib/python3.11/dist-packages/pip/__init__.py")
"""What official images of Python bring along, and Debian's does not."""


@dataclass(frozen=True)
class Image:
    """An image in buildah's store: its name, what its config says, and where its files can be seen."""

    name: str
    config: Mapping[str, Any]
    root: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        return dict(line.split("=", 1) for line in self.config["config"]["Env"])

    @property
    def command(self) -> list[str]:
        """What runs by default."""
        return [*self.config["config"]["Entrypoint"], *self.config["config"]["Cmd"]]


class Builder:
    """buildah with a store of its own in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._opened: dict[str, Image] = {}
        self._containers: dict[str, str] = {}
        self._program = tool("buildah")
        policy = directory / ".config" / "containers" / "policy.json"
        policy.parent.mkdir(parents=True)
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))

    def run(self, *arguments: str) -> str:
        """Run buildah and return its standard output."""
        store = ["--root", str(self.directory / "root"), "--runroot", str(self.directory / "run")]
        command = [self._program, *store, "--storage-driver", "vfs", *arguments]
        return run_tool(command, home=self.directory, timeout_s=BUILD_S).decode()

    def add(self, name: str, content: Path, place: str, *more: tuple[Path, str]) -> None:
        """Commit an image of files; archives are unpacked."""
        container = self.run("from", "--quiet", "scratch").strip()
        for source, inside in ((content, place), *more):
            self.run("add", "--quiet", container, str(source), inside)
        self.run("commit", "--quiet", "--rm", container, name)

    def build(self, name: str, *arguments: str) -> None:
        """Build the Dockerfile of the project, with no image pulled and no package fetched."""
        settings = self.directory / "uv.toml"
        settings.write_text('offline = true\ncache-dir = "/mnt"\n' + index_settings(os.environ))
        self.run(
            *("build", "--quiet", "--isolation", "chroot", "--format", "docker", "--pull-never", "--timestamp", "0"),
            *("--volume", f"{KEPT / 'uv'}:/mnt", "--secret", f"id=uv,src={settings}"),
            *(*arguments, "--tag", name, str(ROOT)),
        )

    def open(self, name: str) -> Image:
        """Return an image of the store with its files; the store copies them, once for each image."""
        if name not in self._opened:
            inspected = json.loads(self.run("inspect", "--type", "image", name))
            self._containers[name] = self.run("from", "--quiet", "--pull-never", name).strip()
            root = Path(self.run("mount", self._containers[name]).strip())
            self._opened[name] = Image(name, inspected["Docker"], root)
        return self._opened[name]

    def clear(self) -> None:
        """Remove the store: it takes most of a gigabyte, and pytest would keep it over its next runs."""
        shutil.rmtree(self.directory / "root")

    def ask(self, name: str, *command: str) -> str:
        """Run a command in an image and return what it printed."""
        self.open(name)
        return self.run("run", "--isolation", "chroot", self._containers[name], "--", *command)


def arguments_of(dockerfile: str) -> dict[str, str]:
    """Return the names of images that a Dockerfile is built from by default."""
    return dict(re.findall(r"^ARG (BASE|UV)=(\S+)$", dockerfile, re.MULTILINE))


def make_base(builder: Builder, name: str) -> None:
    """Put a Debian with Python into the store under the name of the official image, and a pip as that has one."""
    archive = KEPT / f"base-{hashlib.sha256(f'{SUITE} {PACKAGES}'.encode()).hexdigest()[:12]}.tar"
    with locked(KEPT / "lock"):
        if not archive.exists() or time.time() - archive.stat().st_mtime > WEEK_S:
            making = archive.with_suffix(".new.tar")
            left_out = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man", "locale")]
            command = [tool("mmdebstrap"), "--quiet", "--mode=root", "--variant=essential", f"--include={PACKAGES}"]
            command += ["--aptopt=APT::Install-Recommends false", *left_out, SUITE, str(making)]
            run_tool(command, home=builder.directory, timeout_s=BUILD_S)
            making.replace(archive)
    planted = builder.directory / "planted"
    planted.write_text("# planted by a test\n")
    builder.add(name, archive, "/", *((planted, f"/{place}") for place in PLANTED_PIP))


def make_uv(builder: Builder, name: str) -> None:
    """Put the uv of this environment into the store under the name of its official image."""
    builder.add(name, Path(uv()).resolve(), "/uv")


def fetch_wheels(builder: Builder, base: str, directory: Path) -> None:
    """Fetch what the build will ask uv for, for the Python and the C library of the base."""
    facts = "import platform, sys; print(*sys.version_info[:2], platform.libc_ver()[1].partition('.')[2])"
    major, minor, libc = builder.ask(base, "python3", "-c", facts).split()
    there = ["--python-version", f"{major}.{minor}", "--python-platform", f"{platform.machine()}-manylinux_2_{libc}"]
    extras = re.findall(r'^ARG EXTRAS="(.*)"$', (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)[0].split()
    wanted = (
        ["--constraint", "requirements.lock", "-r", "pyproject.toml", *(f"--extra={extra}" for extra in extras)],
        ["-r", "requirements-build.lock"],
    )
    with locked(KEPT / "lock"):
        for number, requirements in enumerate(wanted):
            target = directory / f"fetched-{number}"
            fetched = [uv(), "pip", "install", "--quiet", "--cache-dir", str(KEPT / "uv"), "--target", str(target)]
            subprocess.run([*fetched, *there, "--no-build", "--require-hashes", *requirements], cwd=ROOT, check=True)
            shutil.rmtree(target)


def uv() -> str:
    """Return the uv beside the Python of the tests."""
    return str(Path(sys.executable).with_name("uv"))


def index_settings(environment: Mapping[str, str]) -> str:
    """Return the index that uv is told of by variables, as a line of its settings; it keeps files by index."""
    for variable, key in UV_VARIABLES.items():
        if environment.get(variable):
            return f"{key} = {json.dumps(environment[variable])}\n"
    return ""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Wait for other test runs of this checkout that fetch the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def compressed_sizes(builder: Builder, image: Image, directory: Path) -> Sequence[int]:
    """Return the bytes of the layers as a registry would have them."""
    builder.run("push", "--quiet", "--format", "docker", image.name, f"dir:{directory}")
    return [layer["size"] for layer in json.loads((directory / "manifest.json").read_text("utf-8"))["layers"]]
