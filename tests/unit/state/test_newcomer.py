"""Where the state cannot be, a newcomer is told what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrord.errors import StateError
from mirrord.state.place import prepare


def test_directory_that_cannot_be_made_is_answered_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StateError) as raised:
        prepare(tmp_path / "file" / "mirrord" / "state.db")

    error = raised.value
    assert error.code == "STATE_PATH_INVALID"
    assert "cannot be made: Not a directory" in error.message
    assert f"'{tmp_path}/file/mirrord'" in error.remedy
    assert "sudo install -d -m 700 -o " in error.remedy
    assert error.remedy.endswith("MIRRORD_STATE=sqlite:///home/me/.local/state/mirrord/state.db")
