"""How to look at a repository: list its tags in pages, or ask for each wanted tag, whichever costs fewer requests."""

from __future__ import annotations

from enum import StrEnum

from mirrord.planning.listing import ListingTraits
from mirrord.planning.rule import TagSelector

ASSUMED_TAGS = 1_000
"""How many tags a repository is taken to have before it was ever listed."""

TAGS_PER_MIRRORED_TAG = 2
"""How many tags a target that was never listed is taken to have for each that is mirrored to it: its signature too."""

_REQUESTS_FOR_TIME = 2
"""A creation time that no listing tells stands in the image's config: one request for the manifest, one for that."""


class Survey(StrEnum):
    """A way to learn the digests of the tags that a rule takes."""

    LIST = "list"
    HEAD_EACH = "head each"


def choose_survey(
    selector: TagSelector, literal_count: int, traits: ListingTraits, known_tag_count: int | None = None
) -> Survey:
    """Return the way that costs fewer requests; where both cost the same, one HEAD a tag.

    Args:
        selector: what the rule takes; all but a selector of literal tags needs a listing.
        literal_count: how many literal tags there are to ask for.
        traits: what a page of the listing holds and tells.
        known_tag_count: how many tags the repository had when it was last listed; None if it never was.
    """
    if selector.literal_tags is None:
        return Survey.LIST
    per_time = _REQUESTS_FOR_TIME if selector.needs_times else 0
    one_by_one = literal_count * (1 + per_time)
    tags = max(literal_count, ASSUMED_TAGS if known_tag_count is None else known_tag_count)
    afterwards = literal_count * ((0 if traits.has_digests else 1) + (0 if traits.has_times else per_time))
    return Survey.LIST if _pages(tags, traits) + afterwards < one_by_one else Survey.HEAD_EACH


def choose_look(count: int, traits: ListingTraits, known_tag_count: int | None = None) -> Survey:
    """Return the way to learn what a target holds under ``count`` tags that costs fewer requests.

    Args:
        count: how many tags are mirrored to it.
        traits: what a page of its listing holds and tells; without digests it is no use.
        known_tag_count: how many tags it had when it was last listed; None if it never was.
    """
    if not traits.has_digests:
        return Survey.HEAD_EACH
    tags = max(count, count * TAGS_PER_MIRRORED_TAG if known_tag_count is None else known_tag_count)
    return Survey.LIST if _pages(tags, traits) < count else Survey.HEAD_EACH


def _pages(tags: int, traits: ListingTraits) -> int:
    """Return the pages of a listing; one without tags is one page too, and a page of no tags would never end."""
    return max(1, -(-tags // max(1, traits.page_size)))
