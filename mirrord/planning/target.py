"""Target templates: where the images of a source go, one location and tag for each.

A template is a reference in which the path and the tag may have placeholders. Nothing is ever evaluated:
a placeholder is one of five words, and its value is text that already passed the grammar of references.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mirrord.errors import InvalidReferenceError, quote
from mirrord.oci.reference import (
    LAYOUT_SCHEME,
    LayoutDirectory,
    Location,
    Reference,
    Repository,
    Tag,
    looks_like_host,
    parse_repository_path,
    shown,
)

IN_PATH = ("{registry}", "{repository}", "{namespace}", "{name}")
IN_TAG = (*IN_PATH, "{tag}")
LAYOUT_REGISTRY = "layout"

_PLACEHOLDER = re.compile(r"\{[a-z]+\}")
_BRACE = re.compile(r"[{}]")
_TAG_PLACEHOLDER = "{tag}"
# Valid both as path segment and as tag, so that what is left to fail at a sample are the template's own characters.
_SAMPLES = {placeholder: placeholder.strip("{}") for placeholder in IN_TAG}


@dataclass(frozen=True, slots=True)
class TargetTemplate:
    """Where the images of a source go: ``[host[:port]/]path[:tag]`` or ``oci:DIRECTORY[:tag]`` with placeholders.

    In the path:

    - ``{repository}`` is the source's path, ``{name}`` its last segment, ``{namespace}`` all before that. A path
      segment of which nothing is left, such as ``{namespace}`` for a source path of one segment, is left out, so that
      ``mirror/{namespace}/{name}`` gives ``mirror/{name}``.
    - ``{registry}`` is the source's host. The ``:`` before a port becomes ``_`` (``registry.internal_5000``), and an
      IPv6 address is written in full with ``_`` for each ``:``. No host has a ``_``, so two hosts never become one.
    - For a source that is a layout directory, ``{repository}`` and ``{name}`` are the last segment of its path,
      ``{namespace}`` is empty and ``{registry}`` is ``layout``.

    The tag may have all of these and ``{tag}``, the source's tag. The registry itself is always fixed.

    Attributes:
        text: the template as the user wrote it.
        host: the registry that is written, or what limits and reports call the layout directory (with its
            placeholders, since these do not say which limits hold).
        placeholders: the words of those that the template has, ``repository`` for instance.
    """

    text: str
    host: str = field(compare=False, repr=False)
    placeholders: frozenset[str] = field(compare=False, repr=False)
    _is_layout: bool = field(compare=False, repr=False)
    _path: str = field(compare=False, repr=False)
    _tag: str = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> TargetTemplate:
        """Return the template that ``text`` writes.

        Raises:
            InvalidReferenceError: a placeholder that there is not, or where it cannot stand, or a digest
                (TEMPLATE_INVALID); or the fixed parts are no reference (REFERENCE_INVALID, REGISTRY_INVALID).
        """
        _refuse_at_sign(text)
        _check_placeholders(text)
        sample = _parse_sample(text)
        location_text, _, tag_text = text.rpartition(":") if sample.tag else (text, "", "")
        if _TAG_PLACEHOLDER in location_text:
            raise _invalid(text, f"{_TAG_PLACEHOLDER} can stand in the tag only, after a colon", IN_PATH)
        placeholders = frozenset(found.strip("{}") for found in _PLACEHOLDER.findall(text))
        if isinstance(sample.location, LayoutDirectory):
            path = location_text.removeprefix(LAYOUT_SCHEME)
            host = LayoutDirectory(path).host
            return cls(text, host, placeholders, _is_layout=True, _path=path, _tag=tag_text)
        path = _path_of(text, location_text)
        return cls(text, sample.location.host, placeholders, _is_layout=False, _path=path, _tag=tag_text)

    def location(self, source: Location) -> Location:
        """Return where the images of ``source`` go.

        Raises:
            InvalidReferenceError: what comes out is no valid repository, or the template needs the name of a layout
                directory that has no name (TEMPLATE_RESULT_INVALID).
        """
        values = self._values(source)
        segments = [(segment, _fill(segment, values)) for segment in self._path.split("/")]
        # A segment that is empty in the template itself is the beginning of an absolute path.
        path = "/".join(filled for segment, filled in segments if filled or not segment)
        if self._is_layout:
            if not path:
                raise self._bad_result(source, "an empty path")
            return LayoutDirectory(path.rstrip("/") or "/")
        try:
            return Repository.parse(f"{self.host}/{parse_repository_path(path)}")
        except InvalidReferenceError as exc:
            raise self._bad_result(source, exc.message) from None

    def tag(self, tag: Tag | None, source: Location | None = None) -> Tag | None:
        """Return the target's tag for the source's ``tag``, None for an image without one.

        Without a tag part it is the same tag. An image without a tag gets one only from a tag part without ``{tag}``.

        Args:
            tag: the source's tag; None for an image named by digest.
            source: where the image comes from; may be left out unless the tag part has a placeholder besides ``{tag}``.

        Raises:
            InvalidReferenceError: what comes out is no valid tag (TEMPLATE_RESULT_INVALID).
        """
        if not self._tag:
            return tag
        if tag is None and _TAG_PLACEHOLDER in self._tag:
            return None
        values = {_TAG_PLACEHOLDER: tag.name} if tag else {}
        if source is not None:
            values |= self._values(source)
        text = _fill(self._tag, values)
        try:
            return Tag.parse(text)
        except InvalidReferenceError as exc:
            raise self._bad_result(source, exc.message) from None

    @property
    def fixed_path(self) -> str:
        """What every path that comes out begins with: that of the template up to its first placeholder."""
        return self._path.partition("{")[0]

    def __str__(self) -> str:
        return self.text

    def _values(self, source: Location) -> dict[str, str]:
        """Return the value of every placeholder but the tag's."""
        if isinstance(source, Repository):
            path, registry = source.path, _registry_segment(source.host)
        else:
            path, registry = source.path.rpartition("/")[2], LAYOUT_REGISTRY
            if self.placeholders & {"repository", "name"}:
                try:
                    parse_repository_path(path)
                except InvalidReferenceError as exc:
                    raise self._bad_result(source, exc.message) from None
        namespace, _, name = path.rpartition("/")
        return dict(zip(IN_PATH, (registry, path, namespace, name), strict=True))

    def _bad_result(self, source: Location | None, problem: str) -> InvalidReferenceError:
        place = f" for {shown(str(source))}" if source is not None else ""
        return InvalidReferenceError(
            f'the target "{shown(self.text)}"{place} gives {problem}', code="TEMPLATE_RESULT_INVALID"
        )


def _refuse_at_sign(text: str) -> None:
    """Refuse what stands behind or before an ``@``; a layout directory may have one in its name."""
    _, at, after = text.rpartition("@")
    if not at or text.startswith(LAYOUT_SCHEME):
        return
    if "/" in after:
        raise InvalidReferenceError(
            f'the target "{shown(text)}" is not valid: leave out user and password',
            code="REGISTRY_INVALID",
            remedy="give the registry a credential in the configuration",
        )
    raise _digest_refused(text)


def _check_placeholders(text: str) -> None:
    position = 0
    while brace := _BRACE.search(text, position):
        start = brace.start()
        match = _PLACEHOLDER.match(text, start)
        if match is None or match[0] not in IN_TAG:
            which = f"character {start + 1}"
            if "@" not in text[start:]:  # else it may be a character of a password
                word = text[start : text.find("}", start) + 1] or text[start]
                which += f' ("{quote(word, 40)}")'
            raise _invalid(text, f"{which} is no placeholder", IN_TAG if _in_tag(text, start) else IN_PATH)
        position = match.end()


def _in_tag(text: str, position: int) -> bool:
    """Say whether a colon before ``position`` begins the tag; one before the last slash belongs to a port."""
    before = text[:position].removeprefix(LAYOUT_SCHEME)
    return ":" in before.rpartition("/")[2] and "/" not in text[position:]


def _parse_sample(text: str) -> Reference:
    try:
        sample = Reference.parse(_fill(text, _SAMPLES))
    except InvalidReferenceError as exc:
        raise InvalidReferenceError(
            f'the target "{shown(text)}" is not valid: {exc.message}', code=exc.code, remedy=exc.remedy
        ) from None
    if sample.digest:
        raise _digest_refused(text)
    return sample


def _path_of(text: str, location_text: str) -> str:
    """Return the path of a template of repositories, with its placeholders."""
    first, slash, rest = location_text.partition("/")
    if slash and looks_like_host(_fill(first, _SAMPLES)):
        if _BRACE.search(first):
            raise _invalid(text, "the registry of a target is fixed", IN_PATH)
        return rest
    if "{registry}" in first:
        raise _invalid(text, "{registry} stands where the target's registry is expected; begin with that", IN_PATH)
    return location_text


def _registry_segment(host: str) -> str:
    """Return ``host`` as part of a path: no two hosts give the same."""
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        host = ipaddress.IPv6Address(address).exploded + port
    return host.replace(":", "_")


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), text)


def _digest_refused(text: str) -> InvalidReferenceError:
    return InvalidReferenceError(
        f'the target "{shown(text)}" has a digest; a target is a location with or without a tag',
        code="TEMPLATE_INVALID",
        remedy="leave out the part from @ on",
    )


def _invalid(text: str, problem: str, allowed: tuple[str, ...]) -> InvalidReferenceError:
    return InvalidReferenceError(
        f'the target "{shown(text)}" is not valid: {problem}',
        code="TEMPLATE_INVALID",
        remedy=f"placeholders are {' '.join(allowed)}",
    )
