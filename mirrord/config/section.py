"""The base of all mappings of the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from mirrord.config.faults import fault
from mirrord.config.fields import resolve
from mirrord.config.tree import EXTENSION_PREFIX, Scalar, describe


class Section(BaseModel):
    """A mapping with known keys. Others are errors, but for those that begin with ``x-``, which are ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=False)

    shorthand: ClassVar[Mapping[str, object] | None] = None
    """The JSON Schema of the scalar that may stand for the mapping."""

    form: ClassVar[str] = ""
    """How the mapping is written, where something else is easily written in its place."""

    @classmethod
    def expand(cls, scalar: Scalar) -> dict[str, object]:
        """Return the mapping that ``scalar`` stands for."""
        raise cls._no_mapping(scalar)

    @classmethod
    def _no_mapping(cls, value: object) -> PydanticCustomError:
        hint = f"; write {cls.form}" if cls.form else ""
        return fault("CONFIG_TYPE", f"expected a mapping, got {describe(value)}{hint}")

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, value: object, info: ValidationInfo) -> object:
        if value is None or (isinstance(value, Scalar) and value.is_null):
            return {}  # all lines below the key are comments
        if isinstance(value, Scalar):
            return cls.expand(value if cls.shorthand is None else cls._resolve(value, info))
        if not isinstance(value, dict):
            raise cls._no_mapping(value)
        return {
            key: None if isinstance(item, Scalar) and item.is_null else item
            for key, item in value.items()
            if not key.startswith(EXTENSION_PREFIX)
        }

    @classmethod
    def _resolve(cls, scalar: Scalar, info: ValidationInfo) -> Scalar:
        return resolve(scalar, info)
