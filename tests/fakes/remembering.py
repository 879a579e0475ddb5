"""A memory of dictionaries, for tests of what runs remember. ``calls`` counts the questions by method."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.memory import ImageKey, ImageMemory, SeenDigest
from mirrord.ports.memory import MOST_SEEN, Memory


class RememberingMemory(Memory):
    """Remembers all that it is told, at once."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.kept: dict[tuple[str, Location], dict[ImageKey, ImageMemory]] = defaultdict(dict)
        self.story: list[ImageMemory] = []
        self.owned: dict[tuple[str, Location], set[Tag]] = defaultdict(set)
        self.history: dict[tuple[Location, str], list[SeenDigest]] = defaultdict(list)
        self.times: dict[Digest, datetime | None] = {}
        self.places: dict[tuple[str, Digest], dict[Repository, datetime]] = defaultdict(dict)

    def image(self, tag: str, target: Location, *, rule: str = "rule") -> ImageMemory:
        """Return what is remembered of the only image of a tag on a target."""
        (found,) = [m for m in self.all(rule) if m.key.ref == tag and m.key.target == target]
        return found

    def all(self, rule: str = "rule") -> list[ImageMemory]:
        """Return all images of a rule."""
        return [m for (name, _), images in self.kept.items() if name == rule for m in images.values()]

    def change(self, **fields: object) -> None:
        """Change fields of all images: a lie, or what was kept long ago."""
        for images in self.kept.values():
            images.update({key: replace(m, **fields) for key, m in images.items()})  # type: ignore[arg-type] # by name

    async def images(self, rule: str, source: Location) -> Mapping[ImageKey, ImageMemory]:
        """Return what was kept."""
        self.calls["images"] += 1
        return dict(self.kept[rule, source])

    def keep_images(self, rule: str, source: Location, images: Iterable[ImageMemory]) -> None:
        """Keep images."""
        images = list(images)
        self.story += images
        self.kept[rule, source].update({image.key: image for image in images})

    def drop_images(self, rule: str, source: Location, keys: Iterable[ImageKey]) -> None:
        """Drop images."""
        for key in keys:
            self.kept[rule, source].pop(key, None)

    def drop_sources(self, rule: str, left: Collection[Location]) -> None:
        """Drop what is of other sources."""
        for name, source in list(self.kept):
            if name == rule and source not in left:
                del self.kept[name, source]

    def own(self, rule: str, target: Location, tags: Iterable[Tag], at: datetime) -> None:
        """Keep tags."""
        self.owned[rule, target].update(tags)

    async def seen(self, source: Location, tags: Collection[str]) -> Mapping[str, Sequence[SeenDigest]]:
        """Return the history of tags."""
        self.calls["seen"] += 1
        return {tag: tuple(found) for tag in tags if (found := self.history.get((source, tag)))}

    def keep_seen(self, source: Location, seen: Iterable[SeenDigest]) -> None:
        """Add to the history of tags."""
        for one in seen:
            known = self.history[source, one.tag]
            if all(earlier.digest != one.digest for earlier in known):
                known.append(one)
                del known[:-MOST_SEEN]

    async def created(self, digests: Collection[Digest]) -> Mapping[Digest, datetime | None]:
        """Return the times that are known."""
        self.calls["created"] += 1
        return {digest: self.times[digest] for digest in digests if digest in self.times}

    def keep_created(self, digest: Digest, created: datetime | None) -> None:
        """Keep a time."""
        self.times[digest] = created

    async def holders(self, host: str, digests: Collection[Digest]) -> Mapping[Digest, Sequence[Repository]]:
        """Return the places of blobs, the last one first."""
        self.calls["holders"] += 1
        return {
            digest: sorted(places, key=places.__getitem__, reverse=True)
            for digest in digests
            if (places := self.places.get((host, digest)))
        }

    def keep_holder(self, repository: Repository, digest: Digest, at: datetime) -> None:
        """Keep a place."""
        self.places[repository.host, digest][repository] = at

    def drop_holder(self, repository: Repository, digest: Digest) -> None:
        """Drop a place."""
        self.places[repository.host, digest].pop(repository, None)

    async def flush(self) -> None:
        """Have nothing to write."""
