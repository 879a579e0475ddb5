"""What the tests of the recipes share: registries with passwords, and `mirrord` on a PATH, as the recipes expect it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.recipes.worlds import World, make_world
from tests.integration.conftest import StartRegistry, mirrord, start_registry

__all__ = ["mirrord", "start_registry"]


@pytest.fixture
def world(start_registry: StartRegistry, tmp_path: Path) -> World:
    """Two registries that ask for passwords, and images at the first."""
    return make_world(start_registry, tmp_path)
