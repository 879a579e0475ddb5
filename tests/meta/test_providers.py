"""A registry that is known has all that belongs to it: its module, its page, its tests and its emulation."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.catalog import known_providers

ROOT = Path(__file__).parents[2]
PROVIDERS = [provider for provider in known_providers() if type(provider).__module__.startswith("mirrord.")]
# What is said and shown of the specification itself, is said and shown of distribution; ECR Public stands with ECR.
OTHER_NAMES = {"generic": "distribution", "ecr-public": "ecr"}
# Providers that share a module, and its tests.
MODULES = {"ecr-public": "ecr"}

each_provider = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


def page_name(provider: Provider) -> str:
    """Return the name under which the provider's page, traps and emulation stand."""
    return OTHER_NAMES.get(provider.name, provider.name)


def top_level_names(file: Path) -> set[str]:
    """Return the names that a module assigns at its top level."""
    body = ast.parse(file.read_text("utf-8")).body
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@each_provider
def test_provider_has_a_module_of_its_name(provider: Provider) -> None:
    assert type(provider).__module__ == f"mirrord.registry.providers.{MODULES.get(provider.name, provider.name)}"


@each_provider
def test_provider_has_a_page_that_the_index_links_to(provider: Provider) -> None:
    name = page_name(provider)

    assert (ROOT / f"docs/registries/{name}.md").is_file()
    index = (ROOT / "docs/registries/README.md").read_text("utf-8")
    assert f"]({name}.md)" in index
    assert f"`{MODULES.get(provider.name, provider.name)}`" in index


@each_provider
def test_provider_has_tests_of_its_own_and_of_its_traps(provider: Provider) -> None:
    name = page_name(provider)
    unit = ROOT / f"tests/unit/registry/providers/test_{MODULES.get(provider.name, provider.name)}.py"

    assert provider.name == "generic" or unit.is_file()
    assert list((ROOT / "tests/traps").glob(f"test_{name}*.py"))


@each_provider
def test_provider_has_an_emulation_with_its_names(provider: Provider) -> None:
    name = page_name(provider)
    file = ROOT / f"tests/fakes/registries/{name}.py"

    assert file.is_file()
    assert {name.upper(), f"NAMES_{name.upper()}"} <= top_level_names(file)


def test_pages_and_emulations_belong_to_providers() -> None:
    names = {page_name(provider) for provider in PROVIDERS}
    pages = {file.stem for file in (ROOT / "docs/registries").glob("*.md")} - {"README"}
    emulations = {file.stem for file in (ROOT / "tests/fakes/registries").glob("[a-z]*.py")} - {"scene"}

    assert pages <= names
    assert {stem for stem in emulations if not any(re.match(rf"{name}(?:_|$)", stem) for name in names)} == set()


def test_names_of_providers_are_those_that_the_configuration_takes() -> None:
    reference = (ROOT / "docs/reference/configuration.md").read_text("utf-8")
    [listed] = re.findall(r"^\| `provider` \| (.+?) or `null`", reference, re.MULTILINE)

    assert set(re.findall(r"`([a-z]+)`", listed)) == {
        MODULES.get(provider.name, provider.name) for provider in PROVIDERS
    }
