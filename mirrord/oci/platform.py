"""Platforms: ``os/architecture[/variant]``.

Source: image-spec v1.1.1 image-index.md, property ``platform``; variants of ARM as its table gives them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mirrord.errors import InvalidReferenceError, quote

_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}
_DEFAULT_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """What a child of an index runs on. ``variant`` and ``os_version`` are empty where not said."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Return the platform that ``os/architecture[/variant]`` names; common aliases are understood.

        Raises:
            InvalidReferenceError: not of that form (PLATFORM_INVALID).
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidReferenceError(
                f'"{quote(text)}" is no platform; expected os/architecture[/variant], linux/arm64 for instance',
                code="PLATFORM_INVALID",
            )
        architecture = _ALIASES.get(parts[1], parts[1])
        return cls(parts[0], architecture, parts[2] if len(parts) > 2 else "")  # noqa: PLR2004 - os, architecture, variant

    def covers(self, other: Platform) -> bool:
        """Say whether a filter for this platform takes an image for ``other``.

        A filter without a variant takes every variant; ``linux/arm64/v8`` takes an arm64 image that names no
        variant, since v8 is its default.
        """
        if self.os != other.os or self.architecture != _ALIASES.get(other.architecture, other.architecture):
            return False
        default = _DEFAULT_VARIANTS.get(self.architecture, "")
        return not self.variant or self.variant == (other.variant or default)

    @property
    def is_unknown(self) -> bool:
        """Say whether this is ``unknown/unknown``, which build tools give to attestations."""
        return self.os == "unknown" and self.architecture == "unknown"

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
