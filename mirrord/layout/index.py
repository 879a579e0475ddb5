"""``index.json`` as a value: which tags and manifests a layout lists.

Entries are kept as they are written, so that what other tools noted in them survives every change.
Source: image-spec v1.1.1 image-layout.md, "index.json file".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from mirrord.errors import InvalidDigestError, InvalidManifestError, InvalidReferenceError, LayoutError
from mirrord.oci.descriptor import Descriptor, parse_descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.jsontext import parse_object
from mirrord.oci.mediatype import OCI_INDEX
from mirrord.oci.reference import Tag
from mirrord.planning.listing import TagEntry, TagPage

REF_NAME = "org.opencontainers.image.ref.name"

_Entry = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutIndex:
    """The entries of ``index.json``. An entry without a name is content that no tag points to.

    Changes return a new value, or the same one where there is nothing to change.
    """

    fields: Mapping[str, object] = field(repr=False)
    entries: tuple[_Entry, ...] = field(repr=False)

    @classmethod
    def empty(cls) -> LayoutIndex:
        """Return the index of a new layout."""
        return cls(fields={"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}, entries=())

    @classmethod
    def parse(cls, raw: bytes, what: str) -> LayoutIndex:
        """Return the index that ``raw`` holds; ``what`` names it in errors.

        Raises:
            LayoutError: it is no index.
        """
        remedy = "restore it from a copy, or write the layout again in a new directory"
        try:
            fields = parse_object(raw, what)
        except InvalidManifestError as exc:
            raise LayoutError(exc.message, remedy=remedy) from exc
        entries = fields.get("manifests")
        if entries is None:  # some tools write null for an empty list
            entries = []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise LayoutError(f'{what}: "manifests" is not a list of objects', remedy=remedy)
        return cls(fields=fields, entries=tuple(entries))

    def to_bytes(self) -> bytes:
        """Return the index as it is written."""
        fields = {**self.fields, "manifests": list(self.entries)}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()

    def tags(self) -> TagPage:
        """Return the tags in the order of the entries; names that are no tags are counted as skipped."""
        found: dict[str, TagEntry] = {}
        skipped = 0
        for entry in self.entries:
            name = _name(entry)
            if not name:
                continue
            try:
                tag = Tag.parse(name)
            except InvalidReferenceError:
                skipped += 1
                continue
            digest = _digest(entry)
            known = found.get(name)
            found[name] = TagEntry(tag=tag, digest=digest if known is None or known.digest == digest else None)
        return TagPage(entries=tuple(found.values()), skipped=skipped)

    def find(self, tag: Tag) -> Descriptor | None:
        """Return what ``tag`` points to, or None.

        Raises:
            LayoutError: two entries have this name and different digests (LAYOUT_AMBIGUOUS).
            InvalidManifestError: the entry is no descriptor.
            InvalidDigestError: its digest is none, or of an unsupported algorithm.
        """
        entries = [entry for entry in self.entries if _name(entry) == tag.name]
        if len({str(entry.get("digest")) for entry in entries}) > 1:
            raise LayoutError(
                f'"index.json" names the tag "{tag}" {len(entries)} times, with different digests',
                code="LAYOUT_AMBIGUOUS",
                remedy="name the image by digest, or remove the entries that are not meant",
            )
        return parse_descriptor(entries[0], f'the entry of "{tag}" in index.json') if entries else None

    def named(self, tag: Tag) -> tuple[Descriptor, ...]:
        """Return all that entries of this name point to and that can be read."""
        found = (_parse(entry) for entry in self.entries if _name(entry) == tag.name)
        return tuple(descriptor for descriptor in found if descriptor)

    def find_digest(self, digest: Digest) -> Descriptor | None:
        """Return the first entry of ``digest``, or None."""
        text = str(digest)
        return next((found for entry in self.entries if entry.get("digest") == text and (found := _parse(entry))), None)

    def lists(self, digest: Digest) -> bool:
        """Say whether there is an entry of ``digest``."""
        text = str(digest)
        return any(entry.get("digest") == text for entry in self.entries)

    def lists_bare(self, digest: Digest) -> bool:
        """Say whether there is an entry of ``digest`` that mirrord may remove: without name and notes."""
        text = str(digest)
        return any(entry.get("digest") == text and _is_bare(entry) for entry in self.entries)

    def manifests(self) -> Iterator[Descriptor]:
        """Yield the entries that can be read; those of unknown digest algorithms cannot."""
        for entry in self.entries:
            if descriptor := _parse(entry):
                yield descriptor

    def with_tag(self, tag: Tag, target: Descriptor) -> LayoutIndex:
        """Return the index with ``tag`` pointing to ``target`` and to nothing else."""
        text = str(target.digest)
        named = [entry for entry in self.entries if _name(entry) == tag.name]
        if named and all(entry.get("digest") == text for entry in named):
            return self.without_bare({target.digest})
        rest = self.without_tag(tag).without_bare({target.digest})
        return replace(rest, entries=(*rest.entries, {**_fields(target), "annotations": {REF_NAME: tag.name}}))

    def with_bare(self, target: Descriptor) -> LayoutIndex:
        """Return the index with ``target`` listed, under no name if it has none."""
        return self if self.lists(target.digest) else replace(self, entries=(*self.entries, _fields(target)))

    def without_tag(self, tag: Tag) -> LayoutIndex:
        """Return the index without the name ``tag``."""
        return self._only([entry for entry in self.entries if _name(entry) != tag.name])

    def without_bare(self, digests: Collection[Digest]) -> LayoutIndex:
        """Return the index without the entries of ``digests`` that have neither name nor notes."""
        texts = {str(digest) for digest in digests}
        return self._only([e for e in self.entries if not (e.get("digest") in texts and _is_bare(e))])

    def without_digest(self, digest: Digest) -> LayoutIndex:
        """Return the index without any entry of ``digest``, and so without its tags."""
        text = str(digest)
        return self._only([entry for entry in self.entries if entry.get("digest") != text])

    def _only(self, entries: list[_Entry]) -> LayoutIndex:
        return self if len(entries) == len(self.entries) else replace(self, entries=tuple(entries))


def _name(entry: _Entry) -> str:
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _is_bare(entry: _Entry) -> bool:
    return not entry.get("annotations")


def _digest(entry: _Entry) -> Digest | None:
    descriptor = _parse(entry)
    return descriptor.digest if descriptor else None


def _parse(entry: _Entry) -> Descriptor | None:
    try:
        return parse_descriptor(entry, "an entry of index.json")
    except (InvalidManifestError, InvalidDigestError):
        return None


def _fields(target: Descriptor) -> dict[str, object]:
    return {"mediaType": target.media_type, "digest": str(target.digest), "size": target.size}
