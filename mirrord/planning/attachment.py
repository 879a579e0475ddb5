"""Tags that belong to another image: cosign's signatures, attestations and SBOMs, and the referrers fallback tag.

They follow their subject and are never a choice of their own.
Forms: distribution-spec v1.1.1 "Referrers Tag Schema" (``sha256-<hex>``); cosign adds ``.sig``, ``.att``, ``.sbom``.
"""

from __future__ import annotations

import re

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag

COSIGN_SUFFIXES = ("sig", "att", "sbom")
_HEX_DIGITS = 64

_ATTACHMENT = re.compile(
    rf"(?P<algorithm>sha256|sha512)-(?P<hex>[0-9a-f]{{{_HEX_DIGITS}}})(?:\.(?:{'|'.join(COSIGN_SUFFIXES)}))?"
)


def fallback_tag(subject: Digest) -> Tag:
    """Return the tag under which registries without the referrers API keep the referrers of ``subject``."""
    return Tag(f"{subject.algorithm}-{subject.hex[:_HEX_DIGITS]}")


def cosign_tags(subject: Digest) -> tuple[Tag, ...]:
    """Return the tags under which cosign keeps the signature, attestations and SBOM of ``subject``."""
    return tuple(Tag(f"{fallback_tag(subject)}.{suffix}") for suffix in COSIGN_SUFFIXES)


def is_attachment(tag: Tag) -> bool:
    """Say whether ``tag`` belongs to another image."""
    return _ATTACHMENT.fullmatch(tag.name) is not None


def attachment_subject(tag: Tag) -> Digest | None:
    """Return the digest of the image that ``tag`` belongs to; None if that cannot be told.

    It cannot for a tag of its own, and not for an attachment of a sha512 digest: the tag schema cuts a digest after
    64 hex digits, since a tag has at most 128 characters. `is_attachment` tells these two apart.
    """
    match = _ATTACHMENT.fullmatch(tag.name)
    if match is None or match["algorithm"] != "sha256":
        return None
    return Digest(match["algorithm"], match["hex"])


def describe_attachment(tag: Tag) -> str:
    """Return what an attachment belongs to, in words; three dots stand for digits that the tag does not have."""
    algorithm, _, rest = tag.name.partition("-")
    return f"attachment of {algorithm}:{rest.partition('.')[0]}{'' if attachment_subject(tag) else '...'}"
