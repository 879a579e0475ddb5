"""References and the code say the same: variables, paths of the API, exit codes, metrics, keys of the file."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from mirrord.config.process import PREFIX, ProcessSettings
from mirrord.config.schema import json_schema
from mirrord.planning import report
from mirrord.telemetry.catalog import METRICS
from mirrord.web import create_app
from tests.fakes.clock import FakeClock
from tests.fakes.history import RamHistory
from tests.fakes.service import FakeView

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ENVIRONMENT = DOCS / "reference/environment.md"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")

MAPPINGS = {"environ", "environment", "_environment", "variables", "env"}
"""What the code calls the environment."""
OF_LIBRARIES = {"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "SSL_CERT_DIR"}
"""Variables that boto3 and OpenSSL read, and mirrord does not."""
IN_ANY_CASE = {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}
"""Variables whose names are made of the scheme."""

ELSEWHERE = {
    "registries.*.provider": ("registries/harbor.md", "needed for hosts by which a registry cannot be recognised"),
    "registries.*.tls.verify": ("reference/configuration.md", "shown as what not to do, and never in an example"),
    "registries.*.create_repositories.tag_immutability": ("registries/ecr.md", "one cloud's own"),
    "registries.*.create_repositories.encryption": ("registries/ecr.md", "one cloud's own"),
    "registries.*.create_repositories.encryption.type": ("registries/ecr.md", "one cloud's own"),
    "registries.*.create_repositories.encryption.key": ("registries/ecr.md", "one cloud's own"),
    "rules.referrers.enabled": ("reference/configuration.md", "the same as `referrers: false`, which a page shows"),
    "rules.prune": ("how-to/limit-rates-and-quotas.md", "without effect in this version"),
    "rules.prune.enabled": ("reference/configuration.md", "without effect in this version"),
    "rules.prune.grace": ("reference/configuration.md", "without effect in this version"),
    "rules.prune.max_tags": ("reference/configuration.md", "without effect in this version"),
    "rules.prune.max_share": ("reference/configuration.md", "without effect in this version"),
}
"""Keys that no how-to shows in an example: the page that has each, and why."""


def test_page_of_the_environment_is_that_of_the_settings() -> None:
    """`make docs` writes it anew."""
    text = runpy.run_path(str(ROOT / "scripts/environment_reference.py"))["reference_text"]()

    assert ENVIRONMENT.read_text("utf-8") == text


def test_page_of_the_environment_has_every_variable_that_is_read() -> None:
    assert sorted(read_variables() - told_variables()) == []


def test_page_of_the_environment_has_no_variable_that_nothing_reads() -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in ProcessSettings.model_fields}

    assert sorted(told_variables() - read_variables() - settings - OF_LIBRARIES - IN_ANY_CASE) == []


def test_page_of_the_api_has_the_paths_of_the_api() -> None:
    page = (DOCS / "reference/http-api.md").read_text("utf-8")
    told = {
        (method or "GET", path)
        for cell in re.findall(r"^\| (`[^|]*/[^|]*`) \|", page, re.MULTILINE)
        for method, path in told_paths(cell)
    }

    assert told - {("GET", "/")} == set(served_paths())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_of_the_api_that_a_page_names_are_served(page: Path) -> None:
    known = [re.sub(r"\{\w+\}", "[^/]+", path) for _, path in served_paths()] + [r"/api/v1/openapi\.json", "/api/v1"]
    named = {path.rstrip("/.") for path in re.findall(r"/api/v1[\w/{}.$<>-]*", page.read_text("utf-8"))}

    assert [path for path in sorted(named) if not any(re.fullmatch(one, path) for one in known)] == []


def test_exit_codes_of_the_page_are_those_of_the_code() -> None:
    section = (DOCS / "reference/output.md").read_text("utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    told = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", section, re.MULTILINE) for code in cell.split(",")}

    assert told == {value for name, value in vars(report).items() if name.startswith("EXIT_")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_metrics_that_a_page_names_exist(page: Path) -> None:
    known = {spec.name for spec in METRICS}
    # What a rule records (rule:mirrord_...:max) is no metric of ours.
    named = set(re.findall(r"(?<!:)\bmirrord_[a-z_]+[a-z]\b", page.read_text("utf-8")))

    assert sorted(name for name in named if re.sub("_(bucket|sum|count)$", "", name) not in known) == []


def test_keys_of_the_file_are_shown_in_a_how_to_or_have_a_reason() -> None:
    """A key that nobody meets in a task is found by nobody."""
    shown = {key for page in (DOCS / "how-to").glob("*.md") for key in shown_keys(page)}

    assert sorted(known_keys() - shown - set(ELSEWHERE)) == []


def test_keys_that_have_a_reason_are_shown_nowhere_in_a_how_to() -> None:
    shown = {key for page in (DOCS / "how-to").glob("*.md") for key in shown_keys(page)}

    assert sorted(set(ELSEWHERE) & shown) == []
    assert set(ELSEWHERE) <= known_keys()
    for key, (page, _) in ELSEWHERE.items():
        assert key.rpartition(".")[2] in (DOCS / page).read_text("utf-8"), key


@cache
def read_variables() -> frozenset[str]:
    """Return the variables that the code asks the environment for by a name that stands in it."""
    found: set[str] = set()
    for file in (ROOT / "mirrord").rglob("*.py"):
        if "demo" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            found.update(asked_for(node))
    return frozenset(found)


def asked_for(node: ast.AST) -> Iterator[str]:
    """Yield the variable that `environment.get("NAME")`, or an option with `envvar="NAME"`, asks for."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        asked, name = node.func.value, node.args[0]
        said = asked.attr if isinstance(asked, ast.Attribute) else asked.id if isinstance(asked, ast.Name) else ""
        if said in MAPPINGS and isinstance(name, ast.Constant) and VARIABLE.fullmatch(str(name.value)):
            yield str(name.value)
    if isinstance(node, ast.keyword) and node.arg == "envvar" and isinstance(node.value, ast.Constant):
        yield str(node.value.value)
    if isinstance(node, ast.Constant) and re.fullmatch(f"{PREFIX}[A-Z_]+[A-Z]", str(node.value)):
        yield str(node.value)


def told_variables() -> set[str]:
    """Return the variables that stand in the first columns of the page's tables."""
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", ENVIRONMENT.read_text("utf-8"), re.MULTILINE)

    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell) if VARIABLE.fullmatch(name)}


@cache
def served_paths() -> tuple[tuple[str, str], ...]:
    """Return methods and paths of the API, as its description has them."""
    paths = application().openapi()["paths"]

    return tuple((method.upper(), path) for path, methods in paths.items() for method in methods)


def application() -> FastAPI:
    """Return the service's application, over nothing."""
    return create_app(
        view=FakeView(),
        history=RamHistory(),
        metrics=lambda _: (b"", ""),
        token_file=None,
        is_loopback=True,
        clock=FakeClock(manual=True),
    )


def told_paths(cell: str) -> Iterator[tuple[str, str]]:
    """Yield methods and paths of a table's cell; a method holds for what follows it."""
    method = ""
    for code in re.findall(r"`([^`]+)`", cell):
        said, _, path = code.rpartition(" ")
        method = said or method
        yield method, path


@cache
def known_keys() -> frozenset[str]:
    """Return the keys of the configuration file as dotted paths, those of `defaults` as those of rules."""
    schema = json_schema()
    definitions: dict[str, Any] = schema["$defs"]  # type: ignore[assignment] # a schema is nested anyhow

    def walk(part: Any, path: str) -> Iterator[str]:
        if isinstance(part, list):
            for one in part:
                yield from walk(one, path)
        if not isinstance(part, dict):
            return
        if "$ref" in part:
            yield from walk(definitions[part["$ref"].rpartition("/")[2]], path)
        for name, value in part.get("properties", {}).items():
            key = f"{path}.{name}".lstrip(".").replace("defaults.", "rules.")
            yield key
            yield from walk(value, key)
        yield from walk(part.get("items"), path)
        for choice in ("anyOf", "oneOf", "allOf"):
            yield from walk(part.get(choice), path)
        if path == "registries":
            yield from walk(part.get("additionalProperties"), "registries.*")
            for pattern in part.get("patternProperties", {}).values():
                yield from walk(pattern, "registries.*")

    return frozenset(walk(schema, ""))


def shown_keys(page: Path) -> Iterator[str]:
    """Yield the keys that the examples of a page have, in the form of `known_keys`."""

    def walk(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, list):
            for one in value:
                yield from walk(one, path)
        if not isinstance(value, dict):
            return
        for name, inner in value.items():
            key = f"{path}.{'*' if path == 'registries' else name}".lstrip(".").replace("defaults.", "rules.")
            yield key
            yield from walk(inner, key)

    for language, text in FENCE.findall(page.read_text("utf-8")):
        if language == "yaml":
            yield from walk(yaml.safe_load(text), "")
