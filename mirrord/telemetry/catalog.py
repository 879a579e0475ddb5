"""Every metric that mirrord has: its name, kind, labels and meaning. docs/reference/metrics.md says the same."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mirrord.planning.memory import ImageState
from mirrord.planning.report import BlobOutcome, Outcome
from mirrord.planning.status import RunResult

IMAGE_BUCKETS_S: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
REQUEST_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
RUN_BUCKETS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 21600.0)

OTHER: Final = "other"
"""What a label says in place of a value that is not on its list."""

IMAGE_STATES: Final = tuple(ImageState)
RUN_RESULTS: Final = tuple(result for result in RunResult if result is not RunResult.RUNNING)
IMAGE_RESULTS: Final = (Outcome.COPIED, Outcome.BLOCKED, Outcome.FAILED)
BLOB_OUTCOMES: Final = (BlobOutcome.UPLOADED, BlobOutcome.MOUNTED, BlobOutcome.EXISTED, BlobOutcome.FAILED)
SAVED_REASONS: Final = ("mounted", "existed", "fanout")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
USUAL_METHODS: Final = METHODS[:5]
CODE_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx", "none")
SKIP_REASONS: Final = ("overlap", "missed", "draining")
RETRY_REASONS: Final = ("unavailable", "rate_limited")
GUARD_REASONS: Final = ("immutable", "overwrite", "rollback")
CREDENTIAL_CODES: Final = frozenset(
    {
        *("AUTH_REJECTED", "AUTH_EXPIRED", "AUTH_REALM_UNTRUSTED", "AUTH_CHALLENGE_INVALID", "AUTH_SCHEME_UNSUPPORTED"),
        *("DENIED", "CREDENTIAL_UNUSABLE", "CREDENTIAL_UNAVAILABLE", "CREDENTIAL_INCOMPLETE"),
    }
)
"""Errors that say that a credential is refused, or that there is none: somebody has to mend it."""
INTEGRITY_REASONS: Final = ("digest", "size", "read_back")


class Kind(StrEnum):
    """What a metric is. A ``standing`` gauge is read at scrape time, from how things stand then."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric. ``name`` is whole, as it is read in Prometheus; ``buckets`` are bounds in seconds."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


IMAGES = Spec(
    "mirrord_images",
    Kind.GAUGE,
    ("rule", "target", "state"),
    "Selected images (tags on targets) by the state in which they are now.",
)
FRESHNESS = Spec(
    "mirrord_freshness_seconds",
    Kind.GAUGE,
    ("rule", "target"),
    "Age of the oldest change at the source that the target does not serve yet; 0 when it serves all of them. "
    "Absent until a run has seen the source.",
)
FRESHNESS_OBJECTIVE = Spec(
    "mirrord_freshness_objective_seconds",
    Kind.GAUGE,
    ("rule",),
    "What the rule promises: a change is served within this time. Absent where it promises nothing.",
)
FRESH = Spec(
    "mirrord_fresh",
    Kind.GAUGE,
    ("rule",),
    "1 while the rule keeps its promise or, where it makes none, all is in sync; 0 also once its source could not be "
    "seen for longer than the promise.",
)
LAST_SUCCESS = Spec(
    "mirrord_last_success_timestamp_seconds",
    Kind.GAUGE,
    ("rule",),
    "When a run of the rule last ended with everything in sync.",
)
LAST_RUN = Spec("mirrord_last_run_timestamp_seconds", Kind.GAUGE, ("rule",), "When the rule last ran to an end.")
NEXT_RUN = Spec("mirrord_next_run_timestamp_seconds", Kind.GAUGE, ("rule",), "When the rule is due next.")
SCHEDULE_INTERVAL = Spec(
    "mirrord_schedule_interval_seconds",
    Kind.GAUGE,
    ("rule",),
    "How far apart the moments of the rule's schedule are at most. Absent where it has none.",
)
FAILED_RUNS = Spec(
    "mirrord_failed_runs",
    Kind.GAUGE,
    ("rule",),
    "Runs that failed one after another up to now; of those before the start of the service at most one counts.",
)
CREDENTIAL_REFUSED = Spec(
    "mirrord_credential_refused",
    Kind.GAUGE,
    ("rule",),
    "1 while runs of the rule fail since a registry refuses a credential, or there is none that can be used.",
)
RUNS = Spec("mirrord_runs_total", Kind.COUNTER, ("rule", "result"), "Runs that ended, by how.")
RUN_DURATION = Spec(
    "mirrord_run_duration_seconds", Kind.HISTOGRAM, ("rule", "result"), "How long runs took.", RUN_BUCKETS_S
)
SCHEDULE_SKIPPED = Spec(
    "mirrord_schedule_skipped_total",
    Kind.COUNTER,
    ("rule", "reason"),
    "Moments of a schedule that passed without a run of their own.",
)
IMAGES_COPIED = Spec(
    "mirrord_images_copied_total",
    Kind.COUNTER,
    ("rule", "target", "result"),
    "Images (tags on targets) that were copied, refused by a policy, or failed.",
)
IMAGE_DURATION = Spec(
    "mirrord_image_duration_seconds",
    Kind.HISTOGRAM,
    ("rule", "target", "result"),
    "How long copies of an image to a target took, all its tags together.",
    IMAGE_BUCKETS_S,
)
BLOBS = Spec(
    "mirrord_blobs_total", Kind.COUNTER, ("target", "outcome"), "Blobs that targets needed, by how they came there."
)
BYTES_READ = Spec("mirrord_bytes_read_total", Kind.COUNTER, ("registry",), "Bytes of blobs read from a registry.")
BYTES_WRITTEN = Spec(
    "mirrord_bytes_written_total", Kind.COUNTER, ("registry",), "Bytes of blobs uploaded to a registry."
)
BYTES_SAVED = Spec(
    "mirrord_bytes_saved_total",
    Kind.COUNTER,
    ("target", "reason"),
    "Bytes of blobs not sent since the target had or mounted them, or not read again since one read fed more targets.",
)
REQUESTS = Spec(
    "mirrord_requests_total", Kind.COUNTER, ("registry", "method", "code_class"), "HTTP requests, by how they ended."
)
REQUEST_DURATION = Spec(
    "mirrord_request_duration_seconds",
    Kind.HISTOGRAM,
    ("registry", "method", "code_class"),
    "How long HTTP requests took until the head of the answer; with an upload, all of its body.",
    REQUEST_BUCKETS_S,
)
RETRIES = Spec("mirrord_retries_total", Kind.COUNTER, ("registry", "reason"), "Requests that were sent again.")
RATE_REMAINING = Spec(
    "mirrord_rate_limit_remaining", Kind.GAUGE, ("registry",), "Pulls left of the registry's quota, as it said last."
)
RATE_RESERVE = Spec(
    "mirrord_rate_limit_reserve", Kind.GAUGE, ("registry",), "Pulls of the quota that are left to others, never spent."
)
RATE_LIMIT = Spec("mirrord_rate_limit_limit", Kind.GAUGE, ("registry",), "Pulls of the registry's quota in a window.")
THROTTLED = Spec(
    "mirrord_throttled_seconds_total",
    Kind.COUNTER,
    ("registry",),
    "Seconds for which the registry was left alone since it asked for that.",
)
IN_FLIGHT = Spec(
    "mirrord_transfers_in_flight", Kind.GAUGE, ("registry",), "Transfers of blobs that involve the registry now."
)
QUEUE_DEPTH = Spec("mirrord_queue_depth", Kind.GAUGE, (), "Rules that wait to begin.")
RELOAD_SUCCESSFUL = Spec(
    "mirrord_config_last_reload_successful",
    Kind.GAUGE,
    (),
    "1 if the configuration file as it stands is in force, 0 if it was refused.",
)
RELOAD_TIMESTAMP = Spec(
    "mirrord_config_last_reload_timestamp_seconds", Kind.GAUGE, (), "When the configuration in force was loaded."
)
GUARD_REFUSALS = Spec(
    "mirrord_guard_refusals_total",
    Kind.COUNTER,
    ("rule", "reason"),
    "Changes that a policy or guard did not let happen.",
)
INTEGRITY_ERRORS = Spec(
    "mirrord_integrity_errors_total",
    Kind.COUNTER,
    ("registry", "reason"),
    "Contents that were not what the registry promised. They were not used.",
)
STATE_USABLE = Spec(
    "mirrord_state_usable", Kind.GAUGE, (), "1 while the state store can be read and written; 0: nothing is remembered."
)
BREAKER_OPEN = Spec(
    "mirrord_breaker_open", Kind.GAUGE, ("registry",), "1 while a registry that keeps failing is left alone."
)
LOOP_LAG = Spec(
    "mirrord_event_loop_lag_seconds", Kind.GAUGE, (), "By how much the event loop was late when last looked at."
)
MEMORY_LIMIT = Spec(
    "mirrord_memory_limit_bytes",
    Kind.GAUGE,
    (),
    "Memory that the process may have, by the limits of its control groups. Absent where it has none.",
)
BUILD_INFO = Spec("mirrord_build_info", Kind.INFO, ("version", "python"), "The version of mirrord and of Python.")

METRICS: Final[tuple[Spec, ...]] = (
    *(IMAGES, FRESHNESS, FRESHNESS_OBJECTIVE, FRESH, LAST_SUCCESS, LAST_RUN, NEXT_RUN),
    *(SCHEDULE_INTERVAL, FAILED_RUNS, CREDENTIAL_REFUSED),
    *(RUNS, RUN_DURATION, SCHEDULE_SKIPPED, IMAGES_COPIED, IMAGE_DURATION),
    *(BLOBS, BYTES_READ, BYTES_WRITTEN, BYTES_SAVED),
    *(REQUESTS, REQUEST_DURATION, RETRIES, RATE_REMAINING, RATE_RESERVE, RATE_LIMIT, THROTTLED),
    *(IN_FLIGHT, QUEUE_DEPTH, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, STATE_USABLE),
    *(GUARD_REFUSALS, INTEGRITY_ERRORS, BREAKER_OPEN, LOOP_LAG, MEMORY_LIMIT, BUILD_INFO),
)
