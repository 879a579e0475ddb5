"""Fixtures of the tests of layouts."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """Where a layout may be made; nothing is there yet."""
    return tmp_path / "layout"
