"""Values to rows and back. What cannot be read back, being of another version, is as if it were not there."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Row

from mirrord.errors import MirrordError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import (
    LAYOUT_SCHEME,
    LayoutDirectory,
    Location,
    Repository,
    parse_host,
    parse_repository_path,
)
from mirrord.planning.memory import ImageKey, ImageMemory, ImageState
from mirrord.planning.report import Problem
from mirrord.planning.status import (
    BlobCount,
    BlobCounts,
    Cause,
    Change,
    ImageStatus,
    ProblemStatus,
    RunResult,
    RunStatus,
)

Values = dict[str, Any]

MOST_INTEGER = 2**63 - 1
"""The largest number of a column."""

_STATES = frozenset(ImageState)
_UNREADABLE = (MirrordError, ValueError, TypeError, KeyError, AttributeError)


@lru_cache(maxsize=4096)
def location_of(text: str) -> Location:
    """Return the location that a column holds.

    Raises:
        InvalidReferenceError: it holds none.
    """
    if text.startswith(LAYOUT_SCHEME):
        return LayoutDirectory(text.removeprefix(LAYOUT_SCHEME))
    host, _, path = text.partition("/")
    return Repository(parse_host(host), parse_repository_path(path))


def image_key(rule: str, source: Location, key: ImageKey) -> Values:
    """Return the columns that name an image."""
    return {
        "rule": rule,
        "source": str(source),
        "ref": key.ref,
        "target": str(key.target),
        "target_tag": key.target_tag,
    }


def image_values(image: ImageMemory) -> Values:
    """Return the other columns of an image."""
    problem = image.problem
    return {
        "state": image.state.value,
        "digest": _text(image.digest),
        "reason": image.reason,
        "code": problem.code if problem is not None else None,
        "message": problem.message if problem is not None else None,
        "remedy": problem.remedy if problem is not None else None,
        "first_seen": image.first_seen,
        "behind_since": image.behind_since,
        "served": _text(image.served),
        "proven_at": image.proven_at,
        "scope": image.scope,
        "referrers_at": image.referrers_at,
        "referrers_mark": image.referrers_mark,
        "subjects": " ".join(map(str, image.subjects)),
    }


def image_memory(row: Row[Any]) -> ImageMemory | None:
    """Return what a row remembers of an image; None if it cannot be read."""
    try:
        problem = Problem(code=row.code, message=row.message or "", remedy=row.remedy or "") if row.code else None
        return ImageMemory(
            key=ImageKey(row.ref, location_of(row.target), row.target_tag),
            state=ImageState(row.state),
            digest=_digest(row.digest),
            reason=row.reason,
            problem=problem,
            first_seen=row.first_seen,
            behind_since=row.behind_since,
            served=_digest(row.served),
            proven_at=row.proven_at,
            scope=row.scope,
            referrers_at=row.referrers_at,
            referrers_mark=row.referrers_mark,
            subjects=tuple(Digest.parse(text) for text in row.subjects.split()),
        )
    except _UNREADABLE:
        return None


def image_status(row: Row[Any], live: ImageState | None = None) -> ImageStatus | None:
    """Return a row as the API shows it; None if its state is none of those that there are.

    ``live`` is a state that holds in place of the one that is remembered.
    """
    if row.state not in _STATES:
        return None
    problem = None
    if row.code:
        problem = ProblemStatus(code=row.code, message=row.message or "", remedy=row.remedy or "")
    return ImageStatus(
        rule=row.rule,
        source=row.source,
        tag=row.ref if ":" not in row.ref else None,
        target=row.target,
        target_tag=row.target_tag or None,
        state=live or ImageState(row.state),
        reason=row.reason if live is None else "",
        problem=problem if live is None else None,
        digest=row.digest,
        served=row.served,
        first_seen=row.first_seen,
        behind_since=row.behind_since,
        proven_at=row.proven_at,
    )


def run_values(run: RunStatus) -> Values:
    """Return the columns of a run."""
    changes = _json([asdict(change) for change in run.changes])
    return {
        "rule": run.rule,
        "started": run.started,
        "finished": run.finished,
        "uploaded_bytes": min(run.blobs.uploaded.bytes, MOST_INTEGER),
        "mounted_bytes": min(run.blobs.mounted.bytes, MOST_INTEGER),
        "existed_bytes": min(run.blobs.existed.bytes, MOST_INTEGER),
        "fanout_bytes": min(run.fanout_bytes, MOST_INTEGER),
        "status": _json(asdict(replace(run, changes=()))),
        "changes_count": len(run.changes),
        "changes_bytes": len(changes) if run.changes else 0,
        "changes": changes,
    }


def run_status(status: str, changes: str = "[]", count: int = 0) -> RunStatus | None:
    """Return the run that columns hold; None if they cannot be read.

    ``count`` is how many changes the run was kept with: of those that are forgotten since the number is told.
    """
    try:
        values = json.loads(status)
        blobs = values.pop("blobs")
        values["changes"] = tuple(_change(change) for change in json.loads(changes))
        values["changes_left_out"] += max(0, count - len(values["changes"]))
        return RunStatus(
            **{
                **values,
                "cause": Cause(values["cause"]),
                "result": RunResult(values["result"]),
                "started": _moment(values["started"]),
                "finished": _moment(values["finished"]),
                "blobs": BlobCounts(**{name: BlobCount(**count) for name, count in blobs.items()}),
                "problems": tuple(_problem(problem) for problem in values["problems"]),
                "warnings": tuple(values["warnings"]),
            }
        )
    except _UNREADABLE:
        return None


def _change(values: Values) -> Change:
    problem = values.pop("problem")
    return Change(
        **{**values, "tags": tuple(values["tags"])}, problem=_problem(problem) if problem is not None else None
    )


def _problem(values: Values) -> ProblemStatus:
    return ProblemStatus(**{**values, "at": _moment(values["at"])})


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), default=_as_text)


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


def _text(digest: Digest | None) -> str | None:
    return str(digest) if digest is not None else None


def _digest(text: str | None) -> Digest | None:
    return Digest.parse(text) if text is not None else None
