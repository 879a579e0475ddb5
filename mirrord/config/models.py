"""The whole configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mirrord.config.faults import fault
from mirrord.config.fields import Reader
from mirrord.config.registry_models import RegistrySection
from mirrord.config.rule_models import RuleOptions, RuleSection
from mirrord.config.section import Section
from mirrord.config.tree import EXTENSION_PREFIX, Scalar
from mirrord.errors import quote

VERSION = 1


def _read_version(scalar: Scalar) -> int:
    if scalar.text != str(VERSION):
        raise fault(
            "VERSION_UNSUPPORTED",
            f'"{quote(scalar.text, 40)}" is no version that can be read; write version: {VERSION}',
        )
    return VERSION


def _registries(value: object) -> object:
    """Leave out ``x-`` keys that are no host, and take nothing for no registries."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    # x-registry.internal is a registry that someone has: only what cannot be one is an extension.
    return {k: v for k, v in value.items() if not k.startswith(EXTENSION_PREFIX) or "." in k or ":" in k}


class Document(Section):
    """A configuration file of mirrord."""

    version: Annotated[
        Literal[1],
        Reader("the version of the file's format, 1", _read_version, {"const": VERSION}, lambda value: value),
    ] = Field(description="The version of the file's format.")
    registries: Annotated[dict[str, RegistrySection], BeforeValidator(_registries)] = Field(
        default={},
        description="Settings by registry, `host[:port]`. A registry that needs none needs no entry.",
        examples=[{"docker.io": {"username": "mirror-bot", "password": {"env": "DOCKERHUB_TOKEN"}}}],
    )
    defaults: RuleOptions = Field(
        default=RuleOptions(), description="What holds for every rule that does not say otherwise."
    )
    rules: tuple[RuleSection, ...] = Field(default=(), description="What to mirror.")

    def options(self, rule: RuleSection) -> RuleOptions:
        """Return all options of a rule: its own, those of ``defaults``, and what holds without either."""
        values = {
            name: getattr(rule if name in rule.model_fields_set else self.defaults, name)
            for name in RuleOptions.model_fields
        }
        return RuleOptions.model_construct(_fields_set=None, **values)
