"""What command tests share: surroundings without anything of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

_USERS = (
    "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "MIRRORD_CONFIG", "MIRRORD_LOG_LEVEL",
    "MIRRORD_STATE", "FORCE_COLOR", "NO_COLOR", "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
)  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with an empty home directory, which is the working directory too."""
    for name in _USERS:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    return home
