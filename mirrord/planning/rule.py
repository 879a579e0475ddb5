"""Rules: what the user wants, as values. `mirrord.config.rules` makes them from the configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mirrord.oci.digest import Digest
from mirrord.oci.platform import Platform
from mirrord.oci.reference import Location, Tag
from mirrord.planning.pattern import PathPattern, TagPattern
from mirrord.planning.schedule import Schedule
from mirrord.planning.semver import VersionRange
from mirrord.planning.target import TargetTemplate


class NewestBy(StrEnum):
    """What makes a tag newer than another."""

    SEMVER = "semver"
    CREATED = "created"
    NAME = "name"


class IndexMode(StrEnum):
    """What a platform filter makes of an index."""

    REWRITE = "rewrite"
    SPARSE = "sparse"


class ForeignLayers(StrEnum):
    """What happens to layers that the spec allows to be kept elsewhere."""

    KEEP = "keep"
    FETCH = "fetch"


class OnRollback(StrEnum):
    """What happens when a tag returns to an older digest."""

    WARN = "warn"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """Keep only the ``count`` newest of the tags that passed all name filters."""

    count: int
    by: NewestBy


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSelector:
    """Which tags of a repository a rule takes.

    A tag is taken if ``include`` or ``semver`` takes it; with neither, every tag is. ``exclude`` then removes,
    ``max_age`` (None: any age) removes what is older, and ``newest`` keeps the newest of what is left.
    """

    include: tuple[TagPattern, ...] = ()
    semver: VersionRange | None = None
    exclude: tuple[TagPattern, ...] = ()
    newest: Newest | None = None
    max_age: timedelta | None = None

    @property
    def needs_times(self) -> bool:
        """Whether the choice depends on when an image was created."""
        return self.max_age is not None or (self.newest is not None and self.newest.by is NewestBy.CREATED)

    @property
    def literal_tags(self) -> tuple[Tag, ...] | None:
        """The tags that can be asked for one by one without a listing; None if a listing is needed."""
        if not self.include or self.semver is not None:
            return None
        tags = tuple(pattern.literal for pattern in self.include)
        return None if None in tags else tuple(tag for tag in tags if tag is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySelector:
    """Which repositories of a registry a rule reads: those that match ``pattern`` and no pattern of ``exclude``."""

    host: str
    pattern: PathPattern
    include: tuple[PathPattern, ...] = ()
    exclude: tuple[PathPattern, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a rule reads: one location, or many repositories by pattern (then ``location`` is None).

    ``tag`` or ``digest`` are set when the rule names exactly one image.
    """

    location: Location | None = None
    repositories: RepositorySelector | None = None
    tag: Tag | None = None
    digest: Digest | None = None

    @property
    def host(self) -> str:
        """The registry that is read."""
        if self.location is not None:
            return self.location.host
        assert self.repositories is not None
        return self.repositories.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrers:
    """Whether and which signatures, SBOMs and attestations come along. ``types`` empty: all artifact types.

    ``recheck`` says how old the last look at an unchanged image's referrers may be; zero looks every time.
    """

    enabled: bool = True
    types: tuple[str, ...] = ()
    recheck: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a rule allows to be done to its targets."""

    overwrite: bool = True
    immutable_tags: tuple[TagPattern, ...] = ()
    target_recheck: timedelta = timedelta(hours=1)
    foreign_layers: ForeignLayers = ForeignLayers.KEEP
    on_rollback: OnRollback = OnRollback.WARN

    def is_immutable(self, source: Tag | None, target: Tag | None) -> bool:
        """Say whether a tag, by its name at the source or on the target, never moves once it is mirrored."""
        names = [tag for tag in (source, target) if tag is not None]
        return any(pattern.matches(name) for pattern in self.immutable_tags for name in names)

    def forbids_moving(self, source: Tag | None, target: Tag | None) -> bool:
        """Say whether a tag that exists on the target must not be moved."""
        return not self.overwrite or self.is_immutable(source, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSelector:
    """Which platforms of an index are wanted (empty: all of them, the index byte for byte), and how it is cut."""

    platforms: tuple[Platform, ...] = ()
    mode: IndexMode = IndexMode.REWRITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of what to mirror. ``by_hand``: it comes from a command's arguments, and stands in no file.

    ``schedule`` None: the service runs it when asked to. ``freshness`` is the promise; None: none was made.
    """

    name: str
    source: Source
    targets: tuple[TargetTemplate, ...]
    tags: TagSelector = TagSelector()
    platforms: PlatformSelector = PlatformSelector()
    referrers: Referrers = Referrers()
    policy: Policy = Policy()
    schedule: Schedule | None = None
    freshness: timedelta | None = None
    by_hand: bool = False
