"""Keys without effect in this version are named, wherever someone may rely on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrord.config.loader import load_config

RULE = "rules: [{name: a, source: a.test/b, targets: [c.test/d]%s}]"


def write(directory: Path, text: str) -> str:
    file = directory / "config.yaml"
    file.write_text(f"version: 1\n{text}\n")
    return str(file)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param(RULE % ", on_rollback: block", "rules[0].on_rollback", id="rollback"),
    ],
)
def test_a_key_without_effect_yet_is_a_warning(tmp_path: Path, text: str, key: str) -> None:
    config = load_config(write(tmp_path, text), {})

    assert [(w.code, w.key.endswith(key)) for w in config.warnings] == [("NOT_YET_EFFECTIVE", True)]
