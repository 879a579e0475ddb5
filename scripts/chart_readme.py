"""Keep what the chart says of its values in one place: `make chart` runs it.

The comments `# --` of values.yaml become the table in the chart's README and the descriptions of values.schema.json,
which gets mirrord's own schema of the configuration file, too. The shape of the schema is written by hand.
"""

# ruff: noqa: INP001 - a script, part of no package

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm/mirrord"
BEGIN, END = "<!-- values: made by `make chart` -->\n", "<!-- end of values -->\n"
CONFIGURATION = "Configuration"
"""What the definition of the whole configuration file is called in the chart's schema."""

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9]*):")


@dataclass(frozen=True, slots=True)
class Value:
    """One described value.

    Attributes:
        path: Its keys, from the top.
        default: What holds where it is not set.
        description: The text of its comment, on one line.
    """

    path: tuple[str, ...]
    default: Any
    description: str

    @property
    def name(self) -> str:
        """How it is written on the command line."""
        return ".".join(self.path)


def read_values(text: str) -> list[Value]:
    """Return the described values of a values.yaml, in its order.

    Raises:
        ValueError: A value has no description, neither itself nor, for a mapping, for all that it holds.
    """
    defaults = yaml.safe_load(text)
    described = dict(_descriptions(text))
    undescribed = sorted(".".join(path) for path in _leaves(defaults, described))
    if undescribed:
        raise ValueError(f"without a description: {', '.join(undescribed)}")
    return [Value(path, _at(defaults, path), description) for path, description in described.items()]


def _descriptions(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each key below a comment that begins with `# --`, and the comment."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and comment:
            comment.append(stripped.removeprefix("#").strip())
        elif match := _KEY.match(line):
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if comment:
                yield tuple(path), " ".join(comment)
            comment = []
        else:
            comment = []


def _leaves(
    value: Any, described: Mapping[tuple[str, ...], str], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    if path in described:
        return
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, described, (*path, key))
    else:
        yield path


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values[key]
    return values


def table(values: list[Value]) -> str:
    """Return the values as a table of Markdown."""
    rows = [f"| `{value.name}` | {_cell(value.default)} | {value.description} |" for value in values]
    return "\n".join(["| value | default | |", "| --- | --- | --- |", *rows]) + "\n"


def _cell(default: Any) -> str:
    if default in ("", {}, []) and default is not False:
        return ""
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{text}`"


def readme_text(readme: str, values: list[Value]) -> str:
    """Return a README with its table made anew."""
    head, _, rest = readme.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{table(values)}\n{END}{tail}"


def schema_text(schema: dict[str, Any], values: list[Value], configuration: dict[str, Any]) -> str:
    """Return the chart's schema with descriptions of the values, and with that of the configuration file.

    Args:
        schema: The one to complete.
        values: Whose descriptions it gets.
        configuration: The schema of mirrord's configuration file.

    Raises:
        KeyError: The schema does not know a value.
    """
    for value in values:
        place = schema
        for key in value.path:
            place = place["properties"][key]
        rest = {key: kept for key, kept in place.items() if key != "description"}
        place.clear()
        place.update({"description": value.description, **rest})
    own = {name: definition for name, definition in schema["$defs"].items() if name[0].islower()}
    strict = _without_numbers_as_text(configuration)
    foreign = {key: part for key, part in strict.items() if key not in {"$schema", "$defs"}}
    schema["$defs"] = {**own, CONFIGURATION: foreign, **strict["$defs"]}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _without_numbers_as_text(schema: Any) -> Any:
    """Return a schema that takes text alone where mirrord's takes numbers and truth values as the text they are.

    Helm reads `1.20` as a number and would write the tag `1.2`: it has to be quoted.
    """
    if isinstance(schema, list):
        return [_without_numbers_as_text(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _without_numbers_as_text(part) for key, part in schema.items()}
    if isinstance(strict.get("type"), list) and {"string", "boolean"} <= set(strict["type"]):
        strict["type"] = "string"
    options = strict.get("anyOf", [])
    if options and options[0].keys() <= {"type", "title"} and all(part.get("type") == "string" for part in options):
        del strict["anyOf"]  # the others, `${NAME}` for instance, are text as well
        strict = {**options[0], **strict}
    return strict


def texts() -> dict[Path, str]:
    """Return what the files that are made from others should hold."""
    values = read_values((CHART / "values.yaml").read_text("utf-8"))
    readme, schema = CHART / "README.md", CHART / "values.schema.json"
    configuration = json.loads((ROOT / "mirrord.schema.json").read_text("utf-8"))
    made = {
        readme: readme_text(readme.read_text("utf-8"), values),
        schema: schema_text(json.loads(schema.read_text("utf-8")), values, configuration),
    }
    for folder, pattern in (("dashboards", "*.json"), ("alerts", "*.yaml")):
        for file in sorted((ROOT / "grafana" / folder).glob(pattern)):
            made[CHART / "files" / folder / file.name] = file.read_text("utf-8")
    return made


def surplus() -> list[Path]:
    """Return files of the chart that are copies of nothing any more."""
    there = [file for file in (CHART / "files").rglob("*.*") if not file.name.startswith(".")]
    return sorted(set(there) - set(texts()))


def main() -> None:
    """Write all of them."""
    for file in surplus():
        file.unlink()
    for file, text in texts().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    sys.stdout.write(f"{CHART.relative_to(ROOT)}: made {len(texts())} files\n")


if __name__ == "__main__":
    main()
