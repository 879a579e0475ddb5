"""What the tests of the recipes share: registries with passwords, and `mirrord` on a PATH, as the recipes expect it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.recipes.worlds import World, make_world
from tests.integration.command import Mirrord
from tests.integration.conftest import StartRegistry, start_registry

__all__ = ["start_registry"]


@pytest.fixture
def mirrord(tmp_path: Path) -> Iterator[Mirrord]:
    """The command line of mirrord; what it started is killed at the end."""
    work_dir = tmp_path / "mirrord"
    work_dir.mkdir()
    command = Mirrord(work_dir)
    yield command
    command.close()


@pytest.fixture
def world(start_registry: StartRegistry, tmp_path: Path) -> World:
    """Two registries that ask for passwords, and images at the first."""
    return make_world(start_registry, tmp_path)
