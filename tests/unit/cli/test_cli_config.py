from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirrord.config.loader import load_config
from tests.fakes.commands import run_command

pytestmark = pytest.mark.usefixtures("bare")

VALID = """\
version: 1
registries:
  registry.test:5000:
    username: robot
    password: {env: SECRET_VARIABLE}
defaults: {schedule: 10m}
rules:
  - name: app
    source: docker.io/team/app
    targets: [registry.test:5000/mirror/app]
    tags: {include: ["1.20", "010", "no", "22:30"]}
"""
FAULTY = VALID.replace("source:", "sauce:").replace("10m", "soon")


def write(text: str) -> str:
    Path("mirrord.yaml").write_text(text, encoding="utf-8")
    return "mirrord.yaml"


def valid(text: str = VALID) -> str:
    return write(text.replace('"22:30"', '"22.30"'))


def test_validate_says_what_is_in_the_file() -> None:
    done = run_command("config", "validate", "-c", valid())

    assert done == (0, "mirrord.yaml: valid, 1 rule, 1 registry\n", "")


def test_validate_shows_warnings_like_a_compiler() -> None:
    text = VALID.replace(
        "password: {env: SECRET_VARIABLE}", "password: {env: SECRET_VARIABLE}\n    tls: {verify: false}"
    )
    file = valid(text)

    done = run_command("config", "validate", "-c", file)
    told = json.loads(run_command("config", "validate", "-c", file, "-o", "json").stdout)

    assert done.code == 0
    assert done.stderr.startswith("warning: mirrord.yaml:")
    assert "1 warning" in done.stdout
    assert told["valid"] is True
    assert [(warning["line"], warning["key"]) for warning in told["warnings"]] == [
        (6, 'registries["registry.test:5000"].tls.verify')
    ]


def test_validate_tells_all_faults_at_once_with_their_places() -> None:
    file = valid(FAULTY)

    done = run_command("config", "validate", "-c", file)
    told = json.loads(run_command("config", "validate", "-c", file, "-o", "json").stdout)["error"]

    assert done.code == 2
    assert "mirrord.yaml:6:12: defaults.schedule:" in done.stderr
    assert 'rules[0].sauce: unknown key (did you mean "source"?)' in done.stderr
    assert told["code"] == "CONFIG_INVALID"
    assert {problem["code"] for problem in told["problems"]} >= {"CONFIG_UNKNOWN_KEY"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        pytest.param("nowhere.yaml", "No such file", id="E110:missing"),
        pytest.param(".", "directory", id="E110:directory"),
    ],
)
def test_validate_of_what_is_no_file_fails(path: str, says: str) -> None:
    done = run_command("config", "validate", "-c", path)

    assert done.code == 2
    assert says in done.stderr


def test_schema_is_the_one_that_is_shipped() -> None:
    done = run_command("config", "schema")

    shipped = Path(__file__).resolve().parents[3] / "mirrord.schema.json"
    assert done.code == 0
    assert done.stdout == shipped.read_text(encoding="utf-8")


@pytest.mark.covers("C33")
@pytest.mark.parametrize("output", ["text", "json"])
def test_show_tells_all_that_holds_and_no_secret(output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_VARIABLE", "correct horse")

    done = run_command("config", "show", "-c", valid(), "--output", output)

    assert done.code == 0
    assert "SECRET_VARIABLE" in done.stdout
    assert "overwrite" in done.stdout
    assert "correct horse" not in f"{done}"


def test_show_can_be_read_as_a_configuration_again() -> None:
    file = valid()

    shown = run_command("config", "show", "-c", file).stdout
    Path("again.yaml").write_text(shown, encoding="utf-8")

    first, again = load_config(file, {}), load_config("again.yaml", {})
    assert again.rules == first.rules
    assert again.registries == first.registries
