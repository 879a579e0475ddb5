"""What a new repository gets: encryption, and a lifecycle policy that stands in the file or beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mirrord.config.policies import LARGEST_POLICY, read_policy
from mirrord.errors import ConfigProblem
from tests.unit.config.conftest import Load

HEAD = "version: 1\nrules: []\nregistries:\n  registry.test:\n    create_repositories:\n"
POLICY = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 10},
                "action": {"type": "expire"},
            }
        ]
    }
)


def creation(load: Load, lines: str) -> dict[str, object]:
    config = load(f"{HEAD}{lines}")
    return dict(config.registries["registry.test"].create_repositories or {})


def test_encryption_of_new_repositories_arrives(load: Load) -> None:
    found = creation(load, "      encryption: {type: KMS, key: alias/mirror$$1}\n")

    assert found["encryption"] == {"type": "KMS", "key": "alias/mirror$1"}


def test_encryption_key_without_kms_is_refused(raised: Callable[..., tuple[ConfigProblem, ...]]) -> None:
    [problem] = raised(f"{HEAD}      encryption: {{key: alias/mirror}}\n")

    assert problem.code == "CONFIG_CONFLICT"
    assert "type: KMS" in problem.message


def test_lifecycle_policy_stands_in_the_file_itself(load: Load) -> None:
    assert creation(load, f"      lifecycle_policy: '{POLICY}'\n")["lifecycle_policy"] == POLICY


def test_lifecycle_policy_stands_in_a_file_beside_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "lifecycle.json").write_text(POLICY, "utf-8")

    assert creation(load, "      lifecycle_policy: lifecycle.json\n")["lifecycle_policy"] == POLICY


def test_lifecycle_policy_that_is_not_there_is_told_at_its_place(
    raised: Callable[..., tuple[ConfigProblem, ...]],
) -> None:
    [problem] = raised(f"{HEAD}      lifecycle_policy: absent.json\n")

    assert (problem.code, problem.line) == ("CONFIG_VALUE", 6)
    assert "absent.json cannot be read: No such file" in problem.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"\xff", "no UTF-8", id="binary"),
        pytest.param(b"[]" + b" " * 100, "no JSON object", id="a list"),
        pytest.param(b"{" + b" " * 100, "no JSON", id="broken"),
        pytest.param(b'{"rules": []}', "shorter than 100", id="too short"),
        pytest.param(b"[" * 30_000, "no JSON", id="very deep"),
        pytest.param(b'{"a": "' + b"x" * LARGEST_POLICY + b'"}', "longer than 30,720", id="too long"),
    ],
)
def test_lifecycle_policy_that_is_none_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "policy.json").write_bytes(content)

    with pytest.raises(ValueError, match=said):
        read_policy("policy.json", str(tmp_path))


def test_directory_is_no_lifecycle_policy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_policy(".", str(tmp_path))
