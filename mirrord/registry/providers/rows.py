"""Rows of tag lists, as APIs beside the distribution API tell them: read without trust, the newest of one name."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from mirrord.errors import InvalidDigestError, InvalidReferenceError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagEntry, TagPage

Moment = TypeVar("Moment", datetime, int, str)


def read_tag(name: object) -> Tag | None:
    """Return the tag of a row; None where its name is none."""
    try:
        return Tag.parse(name) if isinstance(name, str) else None
    except InvalidReferenceError:
        return None


def read_digest(text: object) -> Digest | None:
    """Return the digest of a row; one that is none counts as not told."""
    try:
        return Digest.parse(text) if isinstance(text, str) else None
    except InvalidDigestError:
        return None


class NewestRows(Generic[Moment]):
    """The rows read so far. A tag that moves while pages are read is told more than once.

    Of several rows of one tag the newest counts. Where two that are equally new differ, the digest is left open: what
    the tag names has to be asked then.
    """

    def __init__(self) -> None:
        """Know no row yet."""
        self._newest: dict[Tag, tuple[Moment, Digest | None]] = {}
        self._changed: dict[Tag, None] = {}
        self._skipped = 0

    def __bool__(self) -> bool:
        """Say whether there was any tag."""
        return bool(self._newest)

    def add(self, name: object, moment: Moment, digest: Digest | None) -> None:
        """Add a row; one whose name is no tag is counted, and no more."""
        tag = read_tag(name)
        if tag is None:
            self._skipped += 1
            return
        known = self._newest.get(tag)
        if known is not None and (moment < known[0] or (moment, digest) == known):
            return
        unclear = known is not None and moment == known[0]
        self._newest[tag] = (moment, None if unclear else digest)
        self._changed[tag] = None

    def page(self) -> TagPage:
        """Return what was new since the page before; a tag that comes again has a newer row."""
        entries = tuple(TagEntry(tag=tag, digest=self._newest[tag][1]) for tag in self._changed)
        page = TagPage(entries=entries, skipped=self._skipped)
        self._changed, self._skipped = {}, 0
        return page
