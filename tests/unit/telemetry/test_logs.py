from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import BlobTally, Outcome, Problem, PullQuota, UnitResult
from mirrord.planning.status import Cause, ProblemStatus, RunResult, RunStatus
from mirrord.ports.events import (
    BreakerChanged,
    ConfigLoaded,
    Event,
    GuardRefused,
    IntegrityFailed,
    Noted,
    QuotaTold,
    RegistryPaused,
    RequestRetried,
    RuleStarted,
    RunBegan,
    RunEnded,
    ScheduleSkipped,
    StateChanged,
    UnitFinished,
)
from mirrord.state.store import REBUILT
from mirrord.telemetry.logevents import EVENTS
from mirrord.telemetry.loglimit import MOST_ALIKE
from mirrord.telemetry.logs import Log, open_log
from mirrord.telemetry.logwriter import LineWriter
from tests.unit.telemetry.told import EVENT_TYPES, MOMENT, make_event

DIGEST = Digest.of(b"image")
SOURCE = Repository("source.example", "team/app")
TARGET = Repository("target.example", "mirror/app")
CANARY = "c4n4ry7b1rd"


def result_of(outcome: Outcome, reason: str = "not on the target", *, tag: str = "1.0", **more: Any) -> UnitResult:
    fields: dict[str, Any] = {
        "rule": "app",
        "source": SOURCE,
        "target": TARGET,
        "tags": ((Tag(tag), Tag(tag)),),
        "outcome": outcome,
        "reason": reason,
        "digest": DIGEST,
        "served": DIGEST,
        **more,
    }
    return UnitResult(**fields)


def failed(number: int = 0) -> UnitFinished:
    problem = Problem(code="UNAVAILABLE", message="no answer", remedy="check the network")
    return UnitFinished(result=result_of(Outcome.FAILED, tag=f"v{number}", problem=problem))


def run_of(result: RunResult = RunResult.OK, **more: Any) -> RunStatus:
    return RunStatus(
        id="20260101T000000-1", rule="app", cause=Cause.SCHEDULE, started=MOMENT, finished=MOMENT, result=result, **more
    )


def lines_of(*events: Event, level: str = "debug") -> list[dict[str, Any]]:
    stream = io.StringIO()
    log = open_log(level, "json", stream, now=lambda: MOMENT)
    for event in events:
        log.emit(event)
    assert log.flush()
    assert (log.faults, log.dropped) == (0, 0)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def told(*events: Event, level: str = "debug") -> list[tuple[str, str]]:
    return [(line["level"], line["event"]) for line in lines_of(*events, level=level)]


@contextmanager
def console(stream: TextIO, environment: dict[str, str] | None = None) -> Iterator[Log]:
    log = open_log("debug", "console", stream, environment=environment or {}, now=lambda: MOMENT)
    yield log
    assert log.flush()


def test_line_of_a_copied_image_has_the_stable_keys() -> None:
    blobs = BlobTally(uploaded=(2, 300))
    copied = result_of(Outcome.COPIED, blobs=blobs, seconds=1.25)

    assert lines_of(RunBegan(run=run_of()), UnitFinished(result=copied))[1] == {
        "ts": "2026-01-01T00:00:00.000Z",
        "level": "info",
        "event": "image_copied",
        "run": "20260101T000000-1",
        "rule": "app",
        "source": "source.example/team/app",
        "target": "target.example/mirror/app",
        "tags": ["1.0"],
        "digest": str(DIGEST),
        "bytes": 300,
        "duration_ms": 1250,
        "reason": "not on the target",
    }


def test_line_of_a_failed_image_says_what_to_do() -> None:
    (line,) = lines_of(failed())

    assert (line["level"], line["code"], line["error"], line["remedy"]) == (
        "error",
        "UNAVAILABLE",
        "no answer",
        "check the network",
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(UnitFinished(result=result_of(Outcome.COPIED)), ("info", "image_copied"), id="copied"),
        pytest.param(
            UnitFinished(result=result_of(Outcome.COPIED, "the tag moved: sha256:1 to sha256:2")),
            ("info", "tag_moved"),
            id="moved",
        ),
        pytest.param(UnitFinished(result=result_of(Outcome.BLOCKED)), ("warning", "image_blocked"), id="blocked"),
        pytest.param(UnitFinished(result=result_of(Outcome.IN_SYNC)), ("debug", "image_in_sync"), id="in-sync"),
        pytest.param(RunBegan(run=run_of()), ("info", "run_began"), id="run-began"),
        pytest.param(RunEnded(run=run_of(), looked=True), ("info", "run_ended"), id="run-ok"),
        pytest.param(RunEnded(run=run_of(RunResult.REFUSED), looked=True), ("warning", "run_ended"), id="run-refused"),
        pytest.param(RunEnded(run=run_of(RunResult.FAILED), looked=False), ("error", "run_ended"), id="run-failed"),
        pytest.param(RequestRetried(host="a", reason="x", wait_s=10.0), ("debug", "request_retried"), id="retry"),
        pytest.param(
            RequestRetried(host="a", reason="x", wait_s=10.1), ("warning", "request_retried"), id="long-retry"
        ),
        pytest.param(
            RegistryPaused(host="a", seconds=0.01, reason="x"), ("debug", "registry_paused"), id="a-bit-longer"
        ),
        pytest.param(RegistryPaused(host="a", seconds=30, reason="x"), ("warning", "registry_paused"), id="pause"),
        pytest.param(BreakerChanged(host="a", is_open=True), ("warning", "breaker_opened"), id="breaker-opens"),
        pytest.param(BreakerChanged(host="a", is_open=False), ("info", "breaker_closed"), id="breaker-closes"),
        pytest.param(IntegrityFailed(host="a", reason="digest"), ("warning", "integrity_failed"), id="integrity"),
        pytest.param(GuardRefused(rule="app", reason="rollback"), ("warning", "guard_refused"), id="guard"),
        pytest.param(GuardRefused(rule="app", reason="immutable"), ("debug", "guard_refused"), id="told-by-image"),
        pytest.param(ScheduleSkipped(rule="app", reason="overlap"), ("warning", "schedule_skipped"), id="skipped"),
        pytest.param(ConfigLoaded(file="m.yaml", at=MOMENT, rules=2), ("info", "config_loaded"), id="config"),
        pytest.param(
            ConfigLoaded(file="m.yaml", at=MOMENT, error="m.yaml:1:1: no"), ("error", "config_refused"), id="refused"
        ),
        pytest.param(StateChanged(error="disk full"), ("error", "state_unusable"), id="state-lost"),
        pytest.param(StateChanged(error=None), ("info", "state_usable"), id="state-back"),
        pytest.param(Noted(what="repository_created", text="made"), ("info", "repository_created"), id="created"),
        pytest.param(Noted(what="bulk_refused", text="no"), ("warning", "bulk_refused"), id="note"),
        pytest.param(Noted(what="bulk_unknown", text="not yet"), ("debug", "bulk_unknown"), id="not-yet"),
        pytest.param(Noted(what="brand_new", text="hm"), ("warning", "noted"), id="unknown-note"),
        pytest.param(Noted(what=REBUILT, text="it was gone"), ("warning", "state_rebuilt"), id="state-lost"),
        pytest.param(QuotaTold(host="a", quota=PullQuota(remaining=3)), ("debug", "quota_told"), id="quota"),
    ],
)
def test_event_is_told_by_its_name_and_level(event: Event, expected: tuple[str, str]) -> None:
    assert told(event) == [expected]


def test_note_about_no_registry_names_none() -> None:
    (line,) = lines_of(Noted(what="state_rebuilt", text="anew"))

    assert "registry" not in line


def test_run_ends_with_its_figures() -> None:
    run = run_of(
        RunResult.FAILED,
        outcomes={"in_sync": 3, "failed": 1},
        requests={"a": 4, "b": 5},
        lag_seconds=61.0,
        problems=(ProblemStatus(code="NOT_FOUND", message="no such repository"),),
    )
    (line,) = lines_of(RunEnded(run=run, looked=False))

    assert (line["in_sync"], line["copied"], line["failed"], line["requests"]) == (3, 0, 1, 9)
    assert (line["lag_seconds"], line["problems"]) == (61.0, ["NOT_FOUND: no such repository"])


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_lines_below_the_level_are_not_written(level: str) -> None:
    events: list[Event] = [
        failed(),
        UnitFinished(result=result_of(Outcome.BLOCKED)),
        UnitFinished(result=result_of(Outcome.COPIED)),
        UnitFinished(result=result_of(Outcome.IN_SYNC)),
    ]
    order = ["error", "warning", "info", "debug"]

    assert [seen for seen, _ in told(*events, level=level)] == order[: order.index(level) + 1]


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_every_event_is_told_by_a_name_of_the_list_or_not_at_all(kind: type[Any]) -> None:
    silent = {"BlobProgress", "BlobFinished"}
    lines = lines_of(make_event(kind, lambda name: f"some {name}"))

    assert [line["event"] in EVENTS for line in lines] == ([] if kind.__name__ in silent else [True])


SECRETS = [
    pytest.param("Authorization: Bearer {}", id="bearer"),
    pytest.param("Basic {}==", id="basic"),
    pytest.param("GET https://user:{}@registry.example/v2/", id="userinfo"),
    pytest.param("postgresql://mirrord:{}@db.example/mirrord", id="other-scheme"),
    pytest.param("https://bucket.s3.amazonaws.com/x?X-Amz-Credential=a&X-Amz-Signature={}", id="aws"),
    pytest.param("https://storage.googleapis.com/x?X-Goog-Signature={}&x=y", id="google"),
    pytest.param("https://acct.blob.core.windows.net/x?sv=2026&sig={}&se=1", id="azure"),
    pytest.param("/v2/blob?sv=2026&sig={}", id="azure-path"),
    pytest.param("/x?X-Amz-Date=1&X-Amz-Security-Token={}", id="aws-path"),
    pytest.param("login failed: password={}", id="password"),
    pytest.param('{{"access_token": "{}"}}', id="json"),
    pytest.param("https://x.example/" + "y" * 3000 + "?signature=" + "z" * 3000 + "{}", id="long-url"),
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.covers("A48", "C33")
def test_no_secret_in_any_field_of_any_event_is_written(secret: str, form: Any) -> None:
    stream = io.StringIO()
    log = open_log("debug", form, stream)
    for kind in EVENT_TYPES:
        log.emit(make_event(kind, lambda _name: secret.format(CANARY)))
        log.emit(make_event(kind, lambda name: secret.format(CANARY) if name not in ("what", "error") else name))
    assert log.flush()

    assert log.faults == 0
    assert len(stream.getvalue().splitlines()) > len(EVENT_TYPES)
    assert CANARY not in stream.getvalue()


def test_value_under_the_name_of_a_secret_is_hidden() -> None:
    stream = io.StringIO()
    log = open_log("info", "json", stream)
    log.tell("service_started", password=CANARY, settings={"api_token": CANARY, "listen": "127.0.0.1:8080"})
    assert log.flush()

    assert CANARY not in stream.getvalue()
    assert "127.0.0.1:8080" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.covers("A45", "C34", "E141")
def test_remote_text_stays_on_one_line_and_does_nothing_to_a_terminal(form: Any) -> None:
    evil = 'x\r\n{"level": "error", "event": "fake"}\x1b[2J\x07\u202egnp.exe\u2028\x85'
    stream = io.StringIO()
    log = open_log("debug", form, stream)
    kinds = [kind for kind in EVENT_TYPES if kind.__name__ not in ("BlobProgress", "BlobFinished")]
    for kind in kinds:
        log.emit(make_event(kind, lambda _name: evil))
    assert log.flush()

    written = stream.getvalue()
    lines = written.splitlines()
    assert len(lines) == len(kinds)
    assert written.replace("\n", "").isprintable()
    if form == "json":
        assert all(json.loads(line)["event"] != "fake" for line in lines)


def test_text_without_an_end_is_cut() -> None:
    (line,) = lines_of(Noted(what="bulk_refused", text="y" * 1_000_000))

    assert len(line["text"]) < 2_100


def test_line_for_people_has_colours_on_a_terminal_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    written: dict[str, str] = {}
    for name, stream, environment in (
        ("pipe", io.StringIO(), {}),
        ("terminal", Terminal(), {}),
        ("no colour", Terminal(), {"NO_COLOR": "1"}),
        ("dumb", Terminal(), {"TERM": "dumb"}),
    ):
        with console(stream, environment) as log:
            log.emit(StateChanged(error="disk full"))
        written[name] = stream.getvalue()

    assert [name for name, text in written.items() if "\x1b" in text] == ["terminal"]
    assert "state_unusable" in written["pipe"]
    assert "disk full" in written["pipe"]


def test_fifty_thousand_failures_write_a_bounded_number_of_lines() -> None:
    """The first of a run stand in full; a line at the run's end says how many more there were."""
    stream = io.StringIO()
    log = open_log("info", "json", stream)
    log.emit(RunBegan(run=run_of()))
    for number in range(50_000):
        log.emit(failed(number))
    log.emit(RunEnded(run=run_of(RunResult.FAILED), looked=True))
    assert log.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert len(lines) == 1 + MOST_ALIKE + 1 + 1
    assert (lines[-2]["event"], lines[-2]["of"], lines[-2]["count"]) == (
        "lines_held_back",
        "image_failed",
        50_000 - MOST_ALIKE,
    )
    assert (lines[-2]["level"], lines[-2]["run"]) == ("error", run_of().id)


def test_failures_of_the_next_run_are_told_again() -> None:
    once: list[Event] = [RuleStarted(rule="app"), *(failed(number) for number in range(MOST_ALIKE + 1))]

    assert told(*once, *once, level="error").count(("error", "image_failed")) == 2 * MOST_ALIKE


def test_what_was_held_back_is_told_at_the_end_too() -> None:
    stream = io.StringIO()
    log = open_log("error", "json", stream)
    for number in range(MOST_ALIKE + 5):
        log.emit(failed(number))
    log.close()

    assert json.loads(stream.getvalue().splitlines()[-1])["count"] == 5


class Broken(io.StringIO):
    """A stream that fails as long as it is told to."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "pipe"), BlockingIOError(11, "full"), OSError(28, "no space"), ValueError("closed")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.covers("D97")
def test_stream_that_takes_nothing_stops_nobody_and_is_told_afterwards(error: Exception) -> None:
    stream = Broken(error)
    log = open_log("info", "json", stream)
    log.emit(StateChanged(error="one"))
    log.emit(StateChanged(error="two"))
    assert log.flush()
    stream.error = None
    log.emit(StateChanged(error=None))
    assert log.flush()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert log.dropped == 2
    assert [(line["event"], line.get("count")) for line in lines] == [("lines_dropped", 2), ("state_usable", None)]


@pytest.mark.covers("D97")
def test_reader_that_went_away_stops_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        log = open_log("info", "json", stream)
        log.emit(StateChanged(error=None))
        assert log.flush()

        assert log.dropped == 1


@pytest.mark.covers("D97")
def test_reader_that_reads_nothing_stops_nobody() -> None:
    """A full pipe that blocks holds up the thread that writes, and what waits is bounded."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream, dropped_line=lambda count: f"dropped {count}", most_waiting=10)
        for number in range(100):
            writer.write(f"{number:05d}" + "x" * 10_000)

        assert writer.dropped > 50
        got = threading.Thread(target=lambda: read.extend(reader.readlines()))
        read: list[bytes] = []
        got.start()
        assert writer.flush(10)
        writer.write("last")
        writer.close()
        stream.close()
        got.join()

        assert [line for line in read if line.startswith(b"dropped")] == [f"dropped {writer.dropped}\n".encode()]
        assert len(read) == 100 - writer.dropped + 2
        assert read[-1] == b"last\n"


def test_line_that_was_torn_does_not_spoil_the_next_one() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream, dropped_line=lambda count: f"dropped {count}")
        writer.write("x" * 200_000)  # a pipe takes 64 KiB
        assert writer.flush(20)
        taken = os.read(reader.fileno(), 1_000_000)
        writer.write("next")
        writer.close()
        stream.close()

        assert set(taken) == {ord("x")}
        assert reader.read() == b"\ndropped 1\nnext\n"


def test_closed_log_takes_lines_and_forgets_them() -> None:
    stream = io.StringIO()
    log = open_log("info", "json", stream)
    log.close()
    log.emit(StateChanged(error=None))

    assert (log.dropped, stream.getvalue()) == (1, "")


def test_event_that_cannot_be_told_is_counted_and_stops_nobody() -> None:
    log = open_log("info", "json", io.StringIO())
    log.emit("no event")  # type: ignore[arg-type] # on purpose

    assert log.faults == 1


@pytest.fixture
def library() -> Callable[[Callable[[], None]], list[dict[str, Any]]]:
    def run(act: Callable[[], None]) -> list[dict[str, Any]]:
        stream = io.StringIO()
        log = open_log("debug", "json", stream)
        with log.listen():
            act()
        assert log.flush()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return run


@pytest.mark.parametrize("name", ["uvicorn.error", "sqlalchemy.pool", "apscheduler", "google.auth", "of.somebody"])
def test_warning_of_a_library_is_a_line_like_the_others(name: str, library: Any) -> None:
    (line,) = library(lambda: logging.getLogger(name).warning("pool of %d is full", 5))

    assert (line["level"], line["event"], line["logger"], line["text"]) == (
        "warning",
        "library",
        name,
        "pool of 5 is full",
    )


@pytest.mark.parametrize("name", ["httpx2", "httpcore2", "uvicorn.access", "aiohttp.access", "botocore.auth"])
def test_library_that_tells_every_request_is_not_heard(name: str, library: Any) -> None:
    logging.getLogger(name).setLevel(logging.NOTSET)

    assert library(lambda: logging.getLogger(name).info("GET https://x.example/?token=%s", CANARY)) == []


def test_error_of_a_library_tells_where_it_came_from_without_a_second_line(library: Any) -> None:
    def act() -> None:
        try:
            raise ValueError(f"bad\npassword={CANARY}")
        except ValueError:
            logging.getLogger("uvicorn.error").exception("in the application")

    (line,) = library(act)

    assert (line["level"], line["text"]) == ("error", "in the application")
    assert line["error"].startswith("ValueError: bad\\n")
    assert line["trace"][-1].endswith(" act")
    assert CANARY not in json.dumps(line)


def test_message_of_a_library_that_does_not_fit_its_arguments_is_told_all_the_same(library: Any) -> None:
    record = logging.LogRecord("uvicorn", logging.WARNING, "x.py", 1, "%d of %d", ("x",), None)
    (line,) = library(lambda: logging.getLogger().handlers[-1].emit(record))

    assert "cannot be put together" in line["text"]


def test_loggers_of_libraries_are_as_before_afterwards(library: Any) -> None:
    logger = logging.getLogger("httpx2")
    before = (logger.level, list(logging.getLogger().handlers))
    library(lambda: None)

    assert (logger.level, list(logging.getLogger().handlers)) == before


def test_library_that_repeats_itself_is_held_back(library: Any) -> None:
    def act() -> None:
        for _ in range(1000):
            logging.getLogger("asyncio").error("once more")

    assert len(library(act)) == MOST_ALIKE


def test_page_on_the_log_has_every_event_with_its_level() -> None:
    text = (Path(__file__).parents[3] / "docs/reference/logs.md").read_text("utf-8")
    section = text.partition("## Events")[2]
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([a-z, ]+) \|", section, re.MULTILINE))

    assert rows == EVENTS


def test_made_events_have_a_text_in_every_field() -> None:
    """The canary above is worth what these events are."""
    found = [
        (kind.__name__, field.name)
        for kind in EVENT_TYPES
        for field in dataclasses.fields(kind)
        if field.type in ("str", "str | None")
        and getattr(make_event(kind, lambda name: f"<{name}>"), field.name) != f"<{field.name}>"
    ]

    assert found == []
