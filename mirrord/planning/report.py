"""What came of a run: results of units, folded into a report and an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mirrord.errors import MirrordError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STARTUP = 3
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class Outcome(StrEnum):
    """How an image stands on a target at the end of a run."""

    IN_SYNC = "in sync"
    COPIED = "copied"
    SKIPPED = "skipped"
    BLOCKED = "blocked"
    FAILED = "failed"

    @property
    def key(self) -> str:
        """The outcome as a key and value of JSON: ``in_sync``."""
        return self.value.replace(" ", "_")


class BlobOutcome(StrEnum):
    """How a blob came to be on a target."""

    EXISTED = "existed"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something did not work: an error's code, text and remedy."""

    code: str
    message: str
    remedy: str = ""

    @classmethod
    def of(cls, error: MirrordError) -> Problem:
        """Return what ``error`` says."""
        return cls(code=error.code, message=error.message, remedy=error.remedy)

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text}; {self.remedy}" if self.remedy else text


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobTally:
    """Blobs of one unit by outcome, as (count, bytes)."""

    existed: tuple[int, int] = (0, 0)
    mounted: tuple[int, int] = (0, 0)
    uploaded: tuple[int, int] = (0, 0)

    def __add__(self, other: BlobTally) -> BlobTally:
        return BlobTally(
            existed=_sum(self.existed, other.existed),
            mounted=_sum(self.mounted, other.mounted),
            uploaded=_sum(self.uploaded, other.uploaded),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """How one source digest stands on one target, for the tags that share this outcome.

    ``tags`` pairs source and target tag; a pair of None is an image named by digest alone. ``digest`` is what the
    source resolved to, ``served`` what the target serves (another one after a platform filter); both None where
    the source could not be resolved. ``created`` are the target's tags that did not exist before this unit made them.
    ``seconds`` is the time of the copy.
    """

    rule: str
    source: Location
    target: Location
    tags: tuple[tuple[Tag | None, Tag | None], ...]
    outcome: Outcome
    reason: str
    digest: Digest | None = None
    served: Digest | None = None
    problem: Problem | None = None
    blobs: BlobTally = BlobTally()
    referrers: int = 0
    created: tuple[Tag, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReport:
    """One rule's part of a run.

    ``listed`` counts the source's tags, ``filtered`` those that no filter took. ``problems`` are the rule's own
    (a listing that failed), ``warnings`` what its owner should look at. ``by_hand``: the rule stands in no file.
    """

    rule: str
    listed: int = 0
    filtered: int = 0
    results: tuple[UnitResult, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    by_hand: bool = False

    @property
    def label(self) -> str:
        """What the rule is called where it is spoken of: by its name, or by that of the command."""
        return self.rule if self.by_hand else f"rule {self.rule}"

    def count(self, outcome: Outcome) -> int:
        """Return how many images (tags on targets) ended like this."""
        return sum(len(result.tags) for result in self.results if result.outcome is outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullQuota:
    """What a registry said last of its quota of pulls, by which it counts manifests that are fetched.

    ``limit`` pulls in each window of ``window_s`` seconds, both None where it does not say; ``remaining`` of them were
    left, of which ``reserve`` are never spent.
    """

    remaining: int
    limit: int | None = None
    window_s: int | None = None
    reserve: int = 0

    @property
    def free(self) -> int:
        """How many may still be spent."""
        return max(0, self.remaining - self.reserve)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """What a run cost: requests and bytes, by registry host, and how many requests were retries.

    ``pulls`` counts the manifests fetched from registries that count them too, and ``quotas`` is what these said last.
    ``bulk_differs`` counts, by registry, the tags of which a listing told something else than the registry itself.
    """

    requests: dict[str, int] = field(default_factory=dict)
    bytes_read: dict[str, int] = field(default_factory=dict)
    bytes_written: dict[str, int] = field(default_factory=dict)
    retries: int = 0
    pulls: dict[str, int] = field(default_factory=dict)
    quotas: dict[str, PullQuota] = field(default_factory=dict)
    bulk_differs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One execution of rules, from ``started`` to ``finished`` (UTC)."""

    started: datetime
    finished: datetime
    dry_run: bool
    rules: tuple[RuleReport, ...]
    traffic: TrafficReport = TrafficReport()
    interrupted: bool = False

    def count(self, outcome: Outcome) -> int:
        """Return how many images (tags on targets) ended like this."""
        return sum(rule.count(outcome) for rule in self.rules)

    @property
    def blobs(self) -> BlobTally:
        """All blobs of the run by outcome."""
        return summarise(result for rule in self.rules for result in rule.results)


def summarise(results: Iterable[UnitResult]) -> BlobTally:
    """Return the blobs of all results, added up."""
    total = BlobTally()
    for result in results:
        total += result.blobs
    return total


def window_text(seconds: int) -> str:
    """Return the length of a quota's window: ``6 h``, ``90 min`` or ``45 s``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:,} {unit}"
    return f"{seconds:,} s"


def exit_code(rules: Sequence[RuleReport]) -> int:
    """Return the exit code that tells the truth about a run: failures come before refusals."""
    if any(rule.problems or rule.count(Outcome.FAILED) for rule in rules):
        return EXIT_FAILED
    if any(rule.count(Outcome.BLOCKED) for rule in rules):
        return EXIT_REFUSED
    return EXIT_OK


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
