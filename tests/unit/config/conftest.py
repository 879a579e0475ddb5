"""Loading configuration text as a user would: from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mirrord.config.loader import Config, load_config
from mirrord.errors import ConfigError, ConfigProblem

Load = Callable[..., Config]
Problems = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that loads a file with a text or bytes."""

    def load_text(text: str | bytes, environment: Mapping[str, str] | None = None, *, lenient: bool = False) -> Config:
        file = tmp_path / "config.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(str(file), environment or {}, lenient=lenient)

    return load_text


@pytest.fixture
def raised(load: Load) -> Callable[..., tuple[ConfigProblem, ...]]:
    """Return a function that loads a faulty text and returns its problems."""

    def problems_of(text: str | bytes, environment: Mapping[str, str] | None = None) -> tuple[ConfigProblem, ...]:
        with pytest.raises(ConfigError) as caught:
            load(text, environment)
        return caught.value.problems

    return problems_of
