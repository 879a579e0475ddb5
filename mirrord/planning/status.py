"""How things stand, as plain values: what the API serves as JSON, the page and `mirrord status` show, metrics export.

Every field is of a type that JSON has, or a moment (UTC), so that these values are the API's schema as they stand.
Sizes are in bytes, spans in seconds, rates in bytes per second. Names of locations and tags are text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mirrord.planning.memory import ImageState


class Cause(StrEnum):
    """Why a rule runs."""

    SCHEDULE = "schedule"
    START = "start"
    MANUAL = "manual"
    SIGNAL = "signal"
    RELOAD = "reload"
    ONCE = "once"


class RunResult(StrEnum):
    """How a run ended. ``ok``: all in sync; ``refused``: a policy kept something; ``interrupted``: it had to stop."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemStatus:
    """Why something did not work, and what to do about it."""

    code: str
    message: str
    remedy: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobCount:
    """A number of blobs and their bytes."""

    count: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobCounts:
    """Blobs by how they came to be on a target."""

    uploaded: BlobCount = BlobCount()
    mounted: BlobCount = BlobCount()
    existed: BlobCount = BlobCount()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An image that a run worked on, and what came of it. ``outcome`` is that of the run's report: ``copied``."""

    source: str
    target: str
    tags: tuple[str, ...]
    outcome: str
    digest: str | None = None
    before: str | None = None
    seconds: float = 0.0
    uploaded_bytes: int = 0
    problem: ProblemStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """One run of one rule.

    Attributes:
        id: text that sorts by the time of the start.
        outcomes: images (tags on targets) by outcome, by the keys of the report's JSON: ``in_sync``, ``copied``,
            ``skipped``, ``blocked``, ``failed``.
        listed: tags seen at the source times targets; ``filtered`` of them no filter took.
        fanout_bytes: of the bytes uploaded, those that were not read for it: one read fed several targets.
        lag_seconds: the freshness at the end of the run: the age of the oldest change that is still not served.
        requests: HTTP requests by registry.
        changes: what was worked on, the first `MOST_CHANGES` of them; listings of runs leave it out.
        changes_left_out: how many more there were.
    """

    id: str
    rule: str
    cause: Cause
    started: datetime
    finished: datetime | None = None
    result: RunResult = RunResult.RUNNING
    listed: int = 0
    filtered: int = 0
    outcomes: dict[str, int] = field(default_factory=dict, hash=False)
    blobs: BlobCounts = BlobCounts()
    fanout_bytes: int = 0
    lag_seconds: float = 0.0
    requests: dict[str, int] = field(default_factory=dict, hash=False)
    pulls: dict[str, int] = field(default_factory=dict, hash=False)
    problems: tuple[ProblemStatus, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    changes_left_out: int = 0

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return (self.finished - self.started).total_seconds() if self.finished is not None else None


MOST_CHANGES = 200
"""So many changes of a run are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """One target of a rule, as its rule names it. ``images`` counts by state; states without an image are left out.

    ``behind_since`` is the moment of the oldest change at the source that is not served; None: there is none.
    """

    target: str
    host: str
    images: dict[ImageState, int] = field(default_factory=dict, hash=False)
    behind_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStatus:
    """A blob on its way. ``eta_seconds`` None: not known yet."""

    digest: str
    source: str
    targets: tuple[str, ...]
    size: int
    done: int
    rate: float
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A run that is going on. ``total`` images need work so far as is known, ``done`` of them are settled.

    ``share`` is what is done of the bytes or images, 0 to 1; None while nothing is known to compare with.
    ``idle_seconds`` is how long nothing has happened.
    """

    run: str
    started: datetime
    looked_at: int = 0
    total: int = 0
    done: int = 0
    failed: int = 0
    read_bytes: int = 0
    rate: float = 0.0
    share: float | None = None
    eta_seconds: float | None = None
    idle_seconds: float = 0.0
    blobs: BlobCounts = BlobCounts()
    transfers: tuple[TransferStatus, ...] = ()


class RuleState(StrEnum):
    """How a rule stands, in one word; the worst of its images, or that it could not look at its source."""

    NEW = "new"
    IN_SYNC = "in_sync"
    OUT_OF_SYNC = "out_of_sync"
    WAITING = "waiting"
    BLOCKED = "blocked"
    FAILED = "failed"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStatus:
    """One rule, as the service knows it.

    Attributes:
        source: what it reads, as its rule names it. ``source_host`` is the registry of that.
        schedule: in words, ``every 15m`` or ``0 */6 * * * Europe/Berlin``; empty: it runs when asked to.
        images: by state, over all targets.
        behind_since: the moment of the oldest change at the source that some target does not serve; None: none.
        freshness_seconds: the age of that now; 0 when there is none.
        objective_seconds: the promise of ``freshness``; None: none was made.
        is_fresh: whether the promise holds, or, where none was made, whether all is in sync. A rule that could not look
            at its source for longer than its promise is not fresh: nobody knows.
        waiting_until: when what it waits for is expected; None: not known, or it does not wait.
        last_looked: when the last run ended that saw its source; ``last_success`` when one ended with all in sync.
        queued: a run was asked for and has not begun.
        problem: the last error of a run or of an image, with its remedy; None once all is in sync again.
    """

    name: str
    source: str
    source_host: str
    targets: tuple[TargetStatus, ...] = ()
    state: RuleState = RuleState.NEW
    schedule: str = ""
    images: dict[ImageState, int] = field(default_factory=dict, hash=False)
    behind_since: datetime | None = None
    freshness_seconds: float = 0.0
    objective_seconds: float | None = None
    is_fresh: bool = True
    waiting_until: datetime | None = None
    last_run: RunStatus | None = None
    last_looked: datetime | None = None
    last_success: datetime | None = None
    next_run: datetime | None = None
    queued: bool = False
    running: Progress | None = None
    problem: ProblemStatus | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """One image (a tag on a target) of one rule.

    Attributes:
        tag: at the source; None: an image that is named by its digest alone. ``target_tag`` is the target's.
        digest: what the source has, as last seen; None: it could not be resolved.
        served: what the target was last seen to serve, which after a platform filter is another one.
        first_seen: when the source was first seen to have ``digest``.
        behind_since: since when the target is known not to serve what the source has; None: it does.
        proven_at: when the target was last seen to serve it, or was written and read back.
    """

    rule: str
    source: str
    tag: str | None
    target: str
    target_tag: str | None
    state: ImageState
    reason: str = ""
    problem: ProblemStatus | None = None
    digest: str | None = None
    served: str | None = None
    first_seen: datetime | None = None
    behind_since: datetime | None = None
    proven_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePage:
    """Images in the order of rule, source, tag and target. ``next`` goes on after them; None: there are no more."""

    images: tuple[ImageStatus, ...] = ()
    total: int = 0
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Runs, the newest first. ``next`` goes on after them; None: there are no more."""

    runs: tuple[RunStatus, ...] = ()
    next: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStatus:
    """What a registry said last of its quota of pulls; ``told_at`` is when, ``reserve`` is never spent."""

    registry: str
    remaining: int
    limit: int | None = None
    window_seconds: int | None = None
    reserve: int = 0
    told_at: datetime | None = None
    refills_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryStatus:
    """One registry that rules use. ``answers`` false: it keeps failing, and is left alone but for some probes."""

    registry: str
    transfers: int = 0
    answers: bool = True
    quota: QuotaStatus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigStatus:
    """The configuration in force. ``error`` says why the file as it stands now was refused; None: it is in force."""

    file: str
    loaded_at: datetime
    rules: int = 0
    error: str | None = None
    error_at: datetime | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What knowing the targets' blobs saved since a moment. ``wanted_bytes``: every blob of every image copied.

    ``fanout_bytes`` were not read again at the source because one read fed several targets.
    """

    since: datetime
    wanted_bytes: int = 0
    uploaded_bytes: int = 0
    saved_bytes: int = 0
    fanout_bytes: int = 0


class Level(StrEnum):
    """How well all is: ``ok``; ``notice``: something is not perfect, but every promise holds; ``bad``: one does not."""

    OK = "ok"
    NOTICE = "notice"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All of it in a sentence: ``11 of 12 mirrors are fresh``; ``details`` say of which what, why and until when."""

    level: Level
    headline: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """The whole service at one moment, ``now``; what the page shows.

    ``state_error`` says why the state store cannot be used; None: it can. ``draining``: it is about to end.
    """

    version: str
    now: datetime
    started: datetime
    verdict: Verdict
    config: ConfigStatus
    rules: tuple[RuleStatus, ...] = ()
    registries: tuple[RegistryStatus, ...] = ()
    saved: Saved | None = None
    rate: float = 0.0
    state_error: str | None = None
    draining: bool = False
