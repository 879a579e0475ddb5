"""The reference page of the configuration file, made from the descriptions of its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mirrord.config.schema import json_schema

_PREFACE = """\
# Configuration file

<!-- Made by `mirrord.config.reference` from the descriptions in `mirrord/config`. A test compares. -->

One YAML file (UTF-8) says what to mirror. [config.example.yaml](../../config.example.yaml) shows every part of it;
its first line makes editors complete and check the keys by
[mirrord.schema.json](../../mirrord.schema.json), which `mirrord config schema` prints too.

- **Keys**: unknown and repeated keys are errors, with a place and a suggestion. Keys that begin with `x-` are ignored
  wherever this page lists keys, and serve to keep anchors; under `registries`, such a key with a `.` or `:` in it is
  a registry. `<<: *anchor` and `<<: [*one, *other]` merge mappings: keys that are written out win.
- **Text is text**: where text is expected, `1.20`, `010`, `22:30` and `no` are taken as they are written. Truth values
  are `true` and `false`, numbers are decimal.
- **Variables**: `${NAME}`, `${NAME:-default}` and `${NAME:?message}` in any value, or in a registry's key, are
  replaced after YAML was parsed. The default, and the message as an error, apply where the variable is not set or
  empty; `${NAME}` alone must be set. `$$` is a dollar, and so is `$` before anything but `{`, `(` and `$`. Nothing is
  ever run.
- **Durations** are numbers with units, `90s`, `15m`, `6h`, `30d`, `1h30m` (`ms s m h d w`). **Sizes** have `B`, `KiB`,
  `MiB`, `GiB`, `TiB` (powers of 1024) or `KB`, `MB`, `GB`, `TB` (powers of 1000). **Percentages** have `%`.
- **Secrets** never stand in the file. They are read when they are needed, so a rotated one needs no restart.
- **Relative paths** of secrets and certificates begin at the configuration file's directory; those of `oci:DIRECTORY`
  at the working directory, as on the command line.
- **Limits**: 16 MiB, 50 levels, 500,000 values with aliases followed, 20,000 rules.

A registry that needs no settings needs no entry. `docker.io` and its aliases are one registry and have one entry.

A key of a rule replaces the same key of `defaults` as a whole: a rule with `tags` of its own takes nothing from the
`tags` of `defaults`. `tags` of `defaults` do not apply to a source that names one image, nor `repositories` to one
that is no pattern.

The whole file is checked before anything is done, and all faults are reported at once, as
`config.yaml:9:5: rules[0].shedule: unknown key (did you mean "schedule"?)`. Rules that feed each other in a circle
(`RULE_LOOP`) and targets where two images would meet on one tag (`RULE_CONFLICT`) are among them, as far as the file
alone can tell; what it cannot rule out is a warning.
"""
_HEADINGS = {
    "Document": "The file",
    "RegistrySection": "A registry",
    "RuleSection": "A rule",
}
_LEFT_OUT = frozenset({"RuleOptions"})


def reference_text() -> str:
    """Return the page, as Markdown."""
    schema = json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    parts = [_PREFACE, *_section("Document", schema)]
    for name in _reachable(schema, definitions):
        parts.extend(_section(name, _mapping(definitions[name])))
    return "\n".join(parts)


def _reachable(schema: dict[str, object], definitions: dict[str, object]) -> Iterator[str]:
    """Yield the definitions in reading order: each before those that it refers to."""
    seen = set(_LEFT_OUT)

    def walk(item: object) -> Iterator[str]:
        for name in _references(item):
            if name not in seen:
                seen.add(name)
                yield name
                yield from walk(definitions[name])

    yield from walk(schema["properties"])


def _references(item: object) -> Iterator[str]:
    if isinstance(item, dict):
        if isinstance(item.get("$ref"), str):
            yield item["$ref"].rpartition("/")[2]
        for value in item.values():
            yield from _references(value)
    elif isinstance(item, list):
        for value in item:
            yield from _references(value)


def _section(name: str, schema: dict[str, object]) -> Iterator[str]:
    heading = _HEADINGS.get(name) or f"`{_key_of(name)}`"
    yield f"## {heading}\n\n{schema['description']}\n"
    yield "| key | takes | default | |\n| --- | --- | --- | --- |"
    properties = schema["properties"]
    assert isinstance(properties, dict)
    required = schema.get("required", [])
    assert isinstance(required, list)
    for key, value in properties.items():
        default = "required" if key in required else _default(value)
        yield f"| `{key}` | {_cell(_form(value))} | {default} | {_cell(_description(value))} |"
    yield ""


def _key_of(name: str) -> str:
    words = name.removesuffix("Section")
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in words).lstrip("_")


def _mapping(definition: dict[str, object]) -> dict[str, object]:
    """Return the mapping of a definition that may also be written as a scalar."""
    branches = definition.get("anyOf")
    return branches[1] if isinstance(branches, list) else definition


def _form(value: dict[str, object]) -> str:
    """Return what a key takes, in words."""
    reference, branches, words = value.get("$ref"), value.get("anyOf"), value.get("enum")
    if isinstance(reference, str):
        return _link(reference)
    if isinstance(branches, list):
        # That a variable may stand for every value is said once, above.
        return " or ".join(_form(branch) for branch in branches if branch.get("pattern") != r"\$\{")
    if isinstance(words, list):
        return ", ".join(f"`{word}`" for word in words)
    if "const" in value:
        return f"`{value['const']}`"
    return _simple(value)


def _simple(value: dict[str, object]) -> str:
    kind = value.get("type")
    items, values = value.get("items"), value.get("additionalProperties")
    if kind == "array" and isinstance(items, dict):
        return f"list of {_form(items)}"
    if kind == "object" and isinstance(values, dict):
        return f"mapping to {_form(values)}"
    known = {
        "boolean": "`true`, `false`",
        "null": "`null`",
        "integer": f"{value.get('minimum')} to {value.get('maximum')}",
        "number": f"number up to {value.get('maximum')}",
    }
    return known.get(str(kind)) or str(value.get("title", "text"))


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    if name in _LEFT_OUT:
        return "keys of [a rule](#a-rule), but `name`, `source` and `targets`"
    heading = _HEADINGS.get(name)
    return (
        f"[{heading.lower()}](#{heading.lower().replace(' ', '-')})"
        if heading
        else f"[{_key_of(name)}](#{_key_of(name)})"
    )


def _default(value: dict[str, object]) -> str:
    default = value.get("default")
    return "" if default in (None, {}, []) else f"`{json.dumps(default).strip(chr(34))}`"


def _description(value: dict[str, object]) -> str:
    text = str(value["description"])
    examples = value.get("examples")
    if isinstance(examples, list):
        shown = [example if isinstance(example, str) else json.dumps(example) for example in examples]
        text += " For instance " + ", ".join(f"`{example}`" for example in shown) + "."
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
