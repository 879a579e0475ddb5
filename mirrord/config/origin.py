"""The source of a rule as it is written: a repository, a pattern of repositories, one image, or a layout directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from mirrord.config.faults import fault, parsed
from mirrord.config.fields import text_reader
from mirrord.errors import quote
from mirrord.oci.reference import DOCKER_HUB, LAYOUT_SCHEME, Reference, split_host
from mirrord.planning.pattern import PathPattern

_WILDCARD = re.compile(r"[*?]")
_TAG_OR_DIGEST = re.compile(r"[:@]")


@dataclass(frozen=True, slots=True)
class SourceText:
    """What ``source`` says: either a reference, or a host and a pattern of its repositories."""

    text: str
    reference: Reference | None = None
    host: str = ""
    pattern: PathPattern | None = None

    @property
    def names_one_image(self) -> bool:
        """Whether the source has a tag or a digest."""
        return self.reference is not None and bool(self.reference.tag or self.reference.digest)

    def __str__(self) -> str:
        return self.text


def _read(text: str) -> SourceText:
    if text.startswith(LAYOUT_SCHEME) or not _WILDCARD.search(text):
        if "{" in text:
            raise fault("REFERENCE_INVALID", f'the source "{quote(text)}" has a placeholder; a pattern uses * and **')
        return SourceText(text, parsed(Reference.parse, text))
    host, path = parsed(split_host, text)
    stray = _TAG_OR_DIGEST.search(path)
    if stray:
        raise fault(
            "PATTERN_INVALID",
            f'"{quote(text)}": a pattern of repositories has neither tag nor digest; choose tags with the key tags',
        )
    if host == DOCKER_HUB and "/" not in path and "**" not in path:
        path = f"library/{path}"
    return SourceText(text, host=host, pattern=parsed(PathPattern.parse, path))


SourceField = Annotated[
    SourceText,
    text_reader("reference or pattern of repositories", _read, expected="a reference, or a pattern of repositories"),
]
