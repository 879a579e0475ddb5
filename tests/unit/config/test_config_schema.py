"""The JSON Schema and the reference page: made from the models, shipped as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrord.config.reference import reference_text
from mirrord.config.schema import DIALECT, json_schema, keys_below, schema_text

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", ["mirrord.schema.json", "mirrord/config/mirrord.schema.json"])
def test_the_shipped_schema_is_the_generated_one(file: str) -> None:
    assert (ROOT / file).read_text() == schema_text()


def test_the_shipped_reference_is_the_generated_one() -> None:
    assert (ROOT / "docs/reference/configuration.md").read_text() == reference_text()


def test_the_example_names_the_schema_for_editors() -> None:
    first = (ROOT / "config.example.yaml").read_text().splitlines()[0]

    assert first == "# yaml-language-server: $schema=./mirrord.schema.json"


def mappings(schema: dict[str, object]) -> Iterator[dict[str, object]]:
    """Yield every schema of a mapping with known keys."""
    for part in (schema, *parts(schema["$defs"])):
        if "properties" in part:
            yield part


def parts(item: object) -> Iterator[dict[str, object]]:
    if isinstance(item, dict):
        yield item
        for value in item.values():
            yield from parts(value)
    elif isinstance(item, list):
        for value in item:
            yield from parts(value)


def test_every_key_is_described_and_x_keys_are_allowed() -> None:
    found = list(mappings(json_schema()))

    assert len(found) > 10
    for mapping in found:
        assert mapping["additionalProperties"] is False
        assert mapping["patternProperties"] == {"^x-": {}}
        properties = mapping["properties"]
        assert isinstance(properties, dict)
        for key, value in properties.items():
            assert str(value.get("description", "")).endswith("."), key


def test_every_key_that_is_not_required_has_a_default() -> None:
    for mapping in mappings(json_schema()):
        required = mapping.get("required", [])
        properties = mapping["properties"]
        assert isinstance(required, list)
        assert isinstance(properties, dict)
        assert {key for key, value in properties.items() if "default" not in value} == set(required)


def test_defaults_read_as_in_the_file() -> None:
    text = json.dumps(json_schema())

    assert '"default": "10%"' in text
    assert '"default": "7d"' in text
    assert '"default": "P' not in text


def test_the_dialect_is_2020_12() -> None:
    assert json_schema()["$schema"] == DIALECT


def test_tags_may_look_like_numbers_to_an_editor() -> None:
    definitions = json_schema()["$defs"]
    assert isinstance(definitions, dict)

    assert definitions["TagsSection"]["properties"]["include"]["items"]["anyOf"][0]["type"] == [
        "string",
        "number",
        "boolean",
    ]


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ((), {"version", "registries", "defaults", "rules"}),
        (("registries", "ghcr.io", "tls"), {"ca_file", "cert_file", "key_file", "verify"}),
        (("rules", 3, "tags", "newest"), {"count", "by"}),
        (("rules", 0, "referrers"), {"enabled", "types", "recheck"}),
        (("rules", 0, "name", "x"), set()),
    ],
)
def test_the_schema_knows_the_keys_at_a_path(path: tuple[str | int, ...], keys: set[str]) -> None:
    assert set(keys_below(json_schema(), path)) == keys
