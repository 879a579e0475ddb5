"""Copying one image now: the rule that says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from mirrord.oci.platform import Platform
from mirrord.oci.reference import Reference, Tag
from mirrord.planning.rule import PlatformSelector, Referrers, Rule, Source
from mirrord.planning.target import TargetTemplate

RULE_NAME = "copy"
DEFAULT_TAG = Tag("latest")


def image_rule(
    source: Reference, target: TargetTemplate, *, platforms: Sequence[Platform] = (), referrers: bool = True
) -> Rule:
    """Return the rule that copies one image to one place; what is attached to it is looked for each time.

    Args:
        source: the image; ``latest`` where neither tag nor digest says which.
        target: where it goes; without a tag it gets that of the source.
        platforms: of an index only these; none means all, byte for byte.
        referrers: whether signatures, SBOMs and attestations come along.
    """
    reference = with_tag(source)
    return Rule(
        name=RULE_NAME,
        source=Source(location=reference.location, tag=reference.tag, digest=reference.digest),
        targets=(target,),
        platforms=PlatformSelector(platforms=tuple(platforms)),
        referrers=Referrers(enabled=referrers, recheck=timedelta(0)),
        by_hand=True,
    )


def with_tag(reference: Reference) -> Reference:
    """Return a reference that names an image: ``latest`` where neither tag nor digest says which."""
    if reference.tag is not None or reference.digest is not None:
        return reference
    return Reference(reference.location, DEFAULT_TAG)
