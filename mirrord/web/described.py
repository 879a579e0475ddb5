"""The OpenAPI document's words: what the docstrings of the values say of each field, with nothing written twice."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from mirrord.planning import status

_SECTION: Final = re.compile(r"\n\s*Attributes:\n(?P<body>.*)\Z", re.DOTALL)
_ATTRIBUTE: Final = re.compile(r" {0,4}(?P<name>[a-z_]+): (?P<text>.*)")
_CODE: Final = re.compile(r"``?([^`]*)``?")


def describe(app: FastAPI) -> None:
    """Have the document of an application say what its values and their fields mean."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        document = plain()
        if is_new:
            for name, schema in document["components"]["schemas"].items():
                _describe(schema, getattr(status, name, None))
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way: "Extending OpenAPI" of its manual


def attributes(docstring: str) -> Mapping[str, str]:
    """Return what the section ``Attributes`` of a docstring says of each field, on one line each, as Markdown."""
    section = _SECTION.search(f"\n{docstring}")
    found: dict[str, str] = {}
    name = ""
    for line in section["body"].splitlines() if section is not None else ():
        match = _ATTRIBUTE.fullmatch(line)
        if match is not None:
            name = match["name"]
            found[name] = match["text"]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return {field: _markdown(text) for field, text in found.items()}


def _describe(schema: dict[str, Any], kind: object) -> None:
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return
    text = inspect.cleandoc(kind.__doc__ or "")
    schema["description"] = _markdown(_SECTION.sub("", f"\n{text}").strip())
    for name, said in attributes(text).items():
        if name in schema["properties"]:
            schema["properties"][name]["description"] = said


def _markdown(text: str) -> str:
    return _CODE.sub(r"`\1`", text)
