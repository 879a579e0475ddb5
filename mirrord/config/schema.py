"""The JSON Schema of the configuration file, for editors."""

from __future__ import annotations

import json
from datetime import timedelta

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from mirrord.config.models import Document
from mirrord.config.section import Section
from mirrord.config.tree import EXTENSION_PREFIX
from mirrord.planning.duration import format_duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DEFINITIONS = "#/$defs/"


class _Generator(GenerateJsonSchema):
    """Tells defaults in the words of the file, and leaves out titles that only repeat the key."""

    schema_dialect = DIALECT

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's
        """Return False: the key is the title."""
        return False

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002 - pydantic's
        """Return the schema in the order in which it was written: examples are meant to be read."""
        return value

    def encode_default(self, dft: object) -> object:
        """Return a default as the file would say it."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, Section):
            return dft.model_dump(mode="json", exclude_unset=True)
        return super().encode_default(dft)


def json_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of the configuration file."""
    generated = Document.model_json_schema(schema_generator=_Generator)
    definitions = generated.pop("$defs")
    shorthands = {section.__name__: section.shorthand for section in _sections(Section) if section.shorthand}
    for name, definition in definitions.items():
        _allow_extensions(definition)
        _put_required_first(definition)
        if name in shorthands:
            definitions[name] = {"anyOf": [dict(shorthands[name]), definition]}
    _allow_extensions(generated)
    generated["title"] = "mirrord configuration"
    return {"$schema": DIALECT, **generated, "$defs": definitions}


def schema_text() -> str:
    """Return the schema as it is shipped."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def keys_below(schema: dict[str, object], path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the keys that a mapping at ``path`` may have; none where the schema does not say."""
    options = _options(schema, schema)
    for step in path:
        inner = [_step(option, step) for option in options]
        options = [found for item in inner if isinstance(item, dict) for found in _options(item, schema)]
    return tuple(key for option in options for key in _mapping(option.get("properties")))


def _step(option: dict[str, object], step: str | int) -> object:
    if isinstance(step, int):
        return option.get("items")
    return _mapping(option.get("properties")).get(step) or option.get("additionalProperties")


def _options(item: dict[str, object], schema: dict[str, object]) -> list[dict[str, object]]:
    """Return what ``item`` may be, with references followed."""
    reference = item.get("$ref")
    if isinstance(reference, str):
        target = _mapping(schema["$defs"])[reference.removeprefix(_DEFINITIONS)]
        return _options(_mapping(target), schema)
    branches = item.get("anyOf")
    if isinstance(branches, list):
        return [found for branch in branches for found in _options(branch, schema)]
    return [item]


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _sections(section: type[Section]) -> list[type[Section]]:
    below = section.__subclasses__()
    return below + [found for child in below for found in _sections(child)]


def _put_required_first(definition: JsonSchemaValue) -> None:
    required = definition.get("required", [])
    properties = definition["properties"]
    definition["properties"] = {key: properties[key] for key in [*required, *properties]}


def _allow_extensions(definition: JsonSchemaValue) -> None:
    definition.pop("title", None)
    definition["patternProperties"] = {f"^{EXTENSION_PREFIX}": {}}
    # Sections without a mapping, {}, are as good as all their defaults: a key with comments below it is null.
    if "required" not in definition:
        definition["type"] = ["object", "null"]
