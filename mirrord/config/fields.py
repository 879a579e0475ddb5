"""The types of single values: how each is read from a scalar, told to an editor, and written back.

Scalars reach pydantic as `Scalar`, unconverted: what ``1.20`` means is decided by the field that it stands in.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from mirrord.config.faults import fault, parsed
from mirrord.config.interpolation import escape, interpolate
from mirrord.config.tree import Scalar, describe
from mirrord.errors import quote
from mirrord.oci.platform import Platform
from mirrord.oci.reference import parse_host
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.semver import VersionRange
from mirrord.planning.target import TargetTemplate

TEXT_TYPES = ["string", "number", "boolean"]
"""What an editor's YAML 1.2 reader may make of text such as ``1.20`` and ``true``."""
VARIABLE_SCHEMA = {"type": "string", "pattern": r"\$\{"}
"""What stands in place of a value that is no text when it comes from the environment."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What validators need besides the value: pydantic's validation context."""

    environment: Mapping[str, str] = field(repr=False)


def resolve(value: Scalar, info: ValidationInfo) -> Scalar:
    """Return ``value`` with its variables replaced.

    Text from the environment means what it would mean without quotes: ``"${VERIFY}"`` can be a truth value.
    """
    if "$" not in value.text:
        return value
    assert isinstance(info.context, Reading)
    text = interpolate(value.text, info.context.environment)
    return Scalar(text, value.plain or "${" in value.text, value.position)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean "x"?)`` where a known word is near, else nothing."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Reads one scalar. Use as the annotation of a pydantic field.

    Attributes:
        expected: what the field takes, in words.
        convert: makes the value, or raises a `fault`.
        schema: the JSON Schema of the field.
        write: makes what the configuration would say, for `mirrord config show`.
    """

    expected: str
    convert: Callable[[Scalar], object]
    schema: Mapping[str, object]
    write: Callable[[object], object] = field(default=lambda value: escape(str(value)))

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._read, serialization=core_schema.plain_serializer_function_ser_schema(self.write)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        if self.schema.get("type") == "string" and "enum" not in self.schema:
            return dict(self.schema)
        return {"anyOf": [dict(self.schema), VARIABLE_SCHEMA]}

    def _read(self, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, Scalar) or value.is_null:
            raise fault("CONFIG_TYPE", f"expected {self.expected}, got {describe(value)}")
        return self.convert(resolve(value, info))


def text_reader(
    title: str, convert: Callable[[str], object] = str, *, of_tags: bool = False, expected: str = "text"
) -> Reader:
    """Return a reader of text, which is always the raw characters."""

    def read(scalar: Scalar) -> object:
        if not scalar.text:
            raise fault("CONFIG_TYPE", f"expected {expected}, got empty text")
        return convert(scalar.text)

    return Reader(expected, read, {"type": TEXT_TYPES if of_tags else "string", "title": title})


def _refuse(scalar: Scalar, expected: str, remedy: str = "") -> Exception:
    hint = remedy or ("; leave out the quotes" if not scalar.plain else "")
    return fault("CONFIG_TYPE", f'expected {expected}, got "{quote(scalar.text, 60)}"{hint}')


_YES = {"yes", "on", "y"}
_NO = {"no", "off", "n"}


def _read_flag(scalar: Scalar) -> bool:
    if scalar.flag is not None:
        return scalar.flag
    word = scalar.text.lower()
    remedy = "; write true" if word in _YES else "; write false" if word in _NO else ""
    raise _refuse(scalar, "true or false", remedy if scalar.plain else "")


def whole_number(low: int, high: int) -> Reader:
    """Return a reader of whole numbers from ``low`` to ``high``."""
    expected = f"a whole number from {low} to {high:,}"

    def read(scalar: Scalar) -> int:
        if scalar.integer is None:
            raise _refuse(scalar, expected)
        if not low <= scalar.integer <= high:
            raise fault("OUT_OF_RANGE", f"{scalar.integer} is out of range; expected {expected}")
        return scalar.integer

    return Reader(expected, read, {"type": "integer", "minimum": low, "maximum": high}, _as_is)


def rate(high: float) -> Reader:
    """Return a reader of numbers above 0, up to ``high``."""
    expected = f"a number above 0, at most {high:,.0f}"

    def read(scalar: Scalar) -> float:
        if scalar.number is None:
            raise _refuse(scalar, expected)
        if not 0 < scalar.number <= high:
            raise fault("OUT_OF_RANGE", f"{quote(scalar.text, 40)} is out of range; expected {expected}")
        return scalar.number

    return Reader(expected, read, {"type": "number", "exclusiveMinimum": 0, "maximum": high}, _as_is)


def choice(words: type[StrEnum] | tuple[str, ...]) -> Reader:
    """Return a reader of one of a few words."""
    known = tuple(str(word) for word in words)
    expected = f"one of {', '.join(known)}"

    def read(scalar: Scalar) -> str:
        if scalar.text not in known:
            raise fault(
                "CONFIG_VALUE", f'"{quote(scalar.text, 60)}" is none of {", ".join(known)}{suggest(scalar.text, known)}'
            )
        return scalar.text if isinstance(words, tuple) else words(scalar.text)

    return Reader(expected, read, {"type": "string", "enum": list(known)})


def _as_is(value: object) -> object:
    return value


def _host(text: str) -> str:
    return parsed(parse_host, text)


Text = Annotated[str, text_reader("text")]
TagText = Annotated[str, text_reader("text", of_tags=True)]
Flag = Annotated[bool, Reader("true or false", _read_flag, {"type": "boolean"}, _as_is)]
Host = Annotated[str, text_reader("host[:port]", _host, expected="a registry, host[:port]")]
TagPatternField = Annotated[
    TagPattern, text_reader("pattern of tags", lambda text: parsed(TagPattern.parse, text), of_tags=True)
]
PathPatternField = Annotated[
    PathPattern, text_reader("pattern of repositories", lambda text: parsed(PathPattern.parse, text))
]
VersionRangeField = Annotated[
    VersionRange, text_reader("range of versions", lambda text: parsed(VersionRange.parse, text), of_tags=True)
]
PlatformField = Annotated[Platform, text_reader("os/architecture[/variant]", lambda text: parsed(Platform.parse, text))]
TargetField = Annotated[
    TargetTemplate, text_reader("reference or template", lambda text: parsed(TargetTemplate.parse, text))
]
