"""Registries that stand in for those of the recipes, and the rules of a recipe with their addresses in place."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.recipes.recipefiles import ROOT
from tests.integration import scenes
from tests.integration.conftest import StartRegistry
from tests.integration.scenes import noise
from tests.integration.servers import Credentials, DockerRegistry

VERSIONS = ("1.27.0", "1.27.1", "1.28.0")
SOURCE_TOKEN = "the-token-of-the-source"
TARGET_TOKEN = "the-token-of-the-target"
"""What no output may show."""


@dataclass
class World:
    """A source with images, a target without, both with passwords, and a folder with `mirrord` on its PATH."""

    source: DockerRegistry
    target: DockerRegistry
    bin_dir: Path
    digests: Mapping[str, str]
    blobs: Mapping[str, str]

    def rules_of(self, example: Path, target_host: str) -> str:
        """Return the rules of a recipe, which are about Docker Hub and a target, with the registries of the world."""
        text = example.read_text("utf-8")
        for host, registry in (("docker.io", self.source), (target_host, self.target)):
            text = re.sub(
                rf"^  {re.escape(host)}:\n",
                f'  "{registry.address}":\n    plain_http: true\n',
                text,
                flags=re.MULTILINE,
            )
            text = text.replace(f"{host}/", f"{registry.address}/")
        assert "docker.io" not in text
        return text

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a shell that finds mirrord, and nothing of the user's surroundings."""
        kept = {key: value for key, value in os.environ.items() if key.startswith("COVERAGE_")}
        return {
            **kept,
            "PATH": f"{self.bin_dir}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.bin_dir),
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            **more,
        }

    def served(self, repository: str) -> dict[str, str]:
        """Return what the target serves: digests by tag."""
        found = {tag: scenes.tag_digest(self.target, repository, tag) for tag in VERSIONS}
        return {tag: digest for tag, digest in found.items() if digest is not None}

    def break_image(self, tag: str) -> None:
        """Have the source lose the bytes of a tag's layer."""
        self.source.blob_file(self.blobs[tag]).unlink()

    def retag(self, tag: str) -> None:
        """Have the source move a tag to another image."""
        scenes.push_image(self.source, "library/nginx", tag, [noise(77, 4000)])


def make_world(start: StartRegistry, directory: Path, username: str = "acme-bot") -> World:
    """Start the registries, and put images at the source."""
    source = start(credentials=Credentials("acme-bot", SOURCE_TOKEN))
    target = start(credentials=Credentials(username, TARGET_TOKEN))
    pushed = {
        tag: scenes.push_image(source, "library/nginx", tag, [noise(number, 4000)])
        for number, tag in enumerate(VERSIONS)
    }
    bin_dir = directory / "bin"
    write_program(bin_dir / "mirrord", f'exec "{sys.executable}" -m mirrord "$@"\n')
    return World(
        source=source,
        target=target,
        bin_dir=bin_dir,
        digests={tag: image.digest for tag, image in pushed.items()},
        blobs={tag: image.blobs[1] for tag, image in pushed.items()},
    )


def write_program(file: Path, script: str) -> None:
    """Write a program of the shell."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}", "utf-8")
    file.chmod(0o755)
