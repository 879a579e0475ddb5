"""Descriptors: type, digest and size of content that something points to.

Source: image-spec v1.1.1 descriptor.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from mirrord.errors import InvalidDigestError, InvalidManifestError, quote
from mirrord.oci.digest import Digest
from mirrord.oci.jsontext import check_keys, fold
from mirrord.oci.mediatype import is_foreign_layer, is_index, is_manifest
from mirrord.oci.platform import Platform

MAX_BLOB_SIZE = 2**50
"""One pebibyte: a size above it is a mistake or an attack, and nothing is ever allocated from a declared size."""

_MAX_INTEGER = 2**63 - 1  # image-spec: size is an int64
_KEYS = fold("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A pointer to content. ``size`` is in bytes; ``urls`` are further places, never followed unless asked for."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether the content is an index."""
        return is_index(self.media_type)

    @property
    def is_manifest(self) -> bool:
        """Whether the content is an image manifest."""
        return is_manifest(self.media_type)

    @property
    def is_foreign(self) -> bool:
        """Whether the content is a layer that the spec allows to be kept elsewhere."""
        return is_foreign_layer(self.media_type)


def parse_descriptor(value: object, where: str) -> Descriptor:
    """Return the descriptor that a JSON value holds; ``where`` names it in errors, with its place.

    Raises:
        InvalidManifestError: a field is missing or of the wrong type (MANIFEST_INVALID) or written in another case
            (MANIFEST_AMBIGUOUS), the size is unusable (SIZE_INVALID, BLOB_TOO_LARGE), or inline data does not fit
            the digest (DATA_MISMATCH).
        InvalidDigestError: the digest is none, or of an unsupported algorithm.
    """
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{where} is not an object")
    check_keys(value, _KEYS, where)
    media_type = _text(value, "mediaType", where)
    if not media_type:
        raise InvalidManifestError(f"{where}.mediaType is empty")
    digest_text = _text(value, "digest", where)
    try:
        digest = Digest.parse(digest_text)
    except InvalidDigestError as exc:
        raise InvalidDigestError(f"{where}.digest: {exc.message}", code=exc.code) from None
    descriptor = Descriptor(
        media_type=media_type,
        digest=digest,
        size=_size(value.get("size"), where),
        annotations=parse_annotations(value.get("annotations"), f"{where}.annotations"),
        platform=_platform(value.get("platform")),
        artifact_type=_optional_text(value.get("artifactType")),
        urls=_urls(value.get("urls"), where),
    )
    _check_data(value.get("data"), descriptor, where)
    return descriptor


def parse_annotations(value: object, where: str) -> Mapping[str, str]:
    """Return the annotations that a JSON value holds; those that are not text are left out.

    Raises:
        InvalidManifestError: the value is no object.
    """
    if value is None:
        return _NOTHING
    if not isinstance(value, dict):
        raise InvalidManifestError(f"{where} is not an object")
    return MappingProxyType({key: text for key, text in value.items() if isinstance(text, str)})


def _text(value: dict[str, object], key: str, where: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise InvalidManifestError(f"{where}.{key} is missing or not text")
    return text


def _optional_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _size(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
        raise InvalidManifestError(
            f"{where}.size is {quote(repr(value), 40)}; expected a whole number of bytes", code="SIZE_INVALID"
        )
    if value > MAX_BLOB_SIZE:
        raise InvalidManifestError(
            f"{where}.size is {value}; more than {MAX_BLOB_SIZE} bytes are not believed",
            code="BLOB_TOO_LARGE",
        )
    return value


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    return Platform(
        _optional_text(value.get("os")),
        _optional_text(value.get("architecture")),
        _optional_text(value.get("variant")),
        _optional_text(value.get("os.version")),
    )


def _urls(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise InvalidManifestError(f"{where}.urls is not a list of text")
    return tuple(value)


def _check_data(value: object, descriptor: Descriptor, where: str) -> None:
    if value is None:
        return
    try:
        content = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        content = None
    if content is None or len(content) != descriptor.size:
        raise InvalidManifestError(f"{where}.data is not {descriptor.size} bytes of base64", code="DATA_MISMATCH")
    if Digest.of(content, descriptor.digest.algorithm) != descriptor.digest:
        raise InvalidManifestError(f"{where}.data does not have the digest {descriptor.digest}", code="DATA_MISMATCH")
