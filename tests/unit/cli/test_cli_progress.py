from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from mirrord.cli.bars import bars
from mirrord.cli.options import Colour
from mirrord.cli.output import make_console
from mirrord.cli.progress import Bars, Lines, Silence, make_progress, summary_line
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.report import BlobTally, Outcome, Problem, UnitResult
from mirrord.ports.events import (
    BlobFinished,
    BlobProgress,
    BlobStarted,
    Event,
    ImagesPlanned,
    RuleStarted,
    UnitFinished,
)
from mirrord.sync.activity import Activity, Rate

SOURCE = Repository("docker.io", "library/nginx")
TARGET = Repository("registry.internal", "mirror/nginx")
MIB = 1024 * 1024


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    """A stream whose other end is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Stuck(io.StringIO):
    """A stream that takes no more text until it is let go: a full pipe, a terminal that was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.let_go.wait(20)
        return len(text)


def finished(outcome: Outcome, *tags: str, problem: Problem | None = None, carried_out: bool = True) -> UnitFinished:
    result = UnitResult(
        rule="nginx",
        source=SOURCE,
        target=TARGET,
        tags=tuple((Tag.parse(tag), Tag.parse(tag)) for tag in tags),
        outcome=outcome,
        reason="",
        problem=problem,
        digest=Digest.of(b"image"),
        blobs=BlobTally(uploaded=(1, MIB)),
        seconds=1.5,
    )
    return UnitFinished(result=result, carried_out=carried_out)


def planned(tags: int) -> ImagesPlanned:
    return ImagesPlanned(rule="nginx", images=tags, units=tags, tags=tags)


def started(transfer: int, size: int = 4 * MIB) -> BlobStarted:
    digest = Digest.of(str(transfer).encode())
    return BlobStarted(transfer=transfer, digest=digest, size=size, source=SOURCE, targets=(TARGET,))


def activity_of(*events: Event, watch: Watch | None = None) -> Activity:
    activity = Activity(watch or Watch())
    for event in events:
        activity.take(event)
    return activity


def drawn(activity: Activity, *, width: int = 110, height: int = 30) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(bars(activity, Rate(activity.now()), width=width, height=height))
    return capture.get()


def test_images_are_counted_once_a_tag() -> None:
    activity = activity_of(
        RuleStarted(rule="nginx"),
        planned(4),
        finished(Outcome.IN_SYNC, "0", carried_out=False),
        finished(Outcome.COPIED, "1", "latest"),
        finished(Outcome.FAILED, "2"),
    )

    assert (activity.done, activity.total, activity.failed) == (3, 4, 1)


def test_work_that_nobody_planned_raises_the_total() -> None:
    activity = activity_of(planned(1), finished(Outcome.COPIED, "1"), finished(Outcome.COPIED, "2"))

    assert (activity.done, activity.total) == (2, 2)


def test_a_transfer_is_shown_while_it_runs() -> None:
    watch = Watch()
    activity = activity_of(planned(1), started(1), BlobProgress(transfer=1, read=MIB), watch=watch)
    watch.now += 2

    assert "1.0 MiB/4.0 MiB 512 KiB/s 0:06" in drawn(activity)

    activity.take(BlobFinished(transfer=1))

    assert "/4.0 MiB" not in drawn(activity)
    assert activity.read_bytes == MIB


def test_progress_of_an_unknown_transfer_is_counted_and_no_error() -> None:
    activity = activity_of(BlobProgress(transfer=7, read=5), BlobFinished(transfer=7))

    assert activity.read_bytes == 5


def test_a_rate_forgets_what_was_long_ago() -> None:
    rate = Rate(0.0)
    for second in range(1, 11):
        rate.measure(float(second), second * 100)

    assert rate.measure(20.0, 1000) == 0.0


def test_at_most_eight_transfers_are_drawn_and_the_others_counted() -> None:
    shown = drawn(activity_of(planned(1), *(started(number) for number in range(11))))

    assert shown.count("0 B/4.0 MiB") == 8
    assert "3 more transfers" in shown


def test_a_low_terminal_gets_fewer_bars() -> None:
    shown = drawn(activity_of(planned(1), *(started(number) for number in range(11))), height=6)

    assert len(shown.splitlines()) == 4


@pytest.mark.covers("E116")
@pytest.mark.parametrize("width", [1, 20, 60, 200])
def test_bars_fit_any_width(width: int) -> None:
    shown = drawn(activity_of(planned(1), started(1), started(2)), width=width)

    assert all(len(line) <= width for line in shown.splitlines())


def test_before_anything_is_planned_the_display_says_what_is_looked_at() -> None:
    shown = drawn(activity_of(RuleStarted(rule="a"), RuleStarted(rule="b"), planned(0)))

    assert "looking at 2 rules, 0 images so far" in shown


def test_without_a_terminal_each_image_that_was_worked_on_is_a_line() -> None:
    stream = io.StringIO()
    problem = Problem(code="UNAVAILABLE", message="no answer", remedy="try later")

    with Lines(stream, now=Watch()) as lines:
        lines.emit(planned(2))
        lines.emit(finished(Outcome.IN_SYNC, "0", carried_out=False))
        lines.emit(finished(Outcome.COPIED, "1"))
        lines.emit(finished(Outcome.FAILED, "2", problem=problem))

    assert stream.getvalue().splitlines() == [
        "[1/2] copied docker.io/library/nginx:1 -> registry.internal/mirror/nginx: 1.0 MiB uploaded, 1.5 s",
        "[2/2] failed docker.io/library/nginx:2 -> registry.internal/mirror/nginx: UNAVAILABLE: no answer; try later",
    ]


def test_without_a_terminal_a_summary_comes_from_time_to_time() -> None:
    class Heard(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.twice = threading.Event()

        def write(self, text: str) -> int:
            written = super().write(text)
            if self.getvalue().count("\n") > 1:
                self.twice.set()
            return written

    stream = Heard()
    with Lines(stream, summary_s=0.001):
        assert stream.twice.wait(10)

    assert stream.getvalue().startswith("0:00 0 images looked at, 0 B read, 0 B/s, 0 transfers\n")


def test_a_summary_tells_of_images_bytes_and_failures() -> None:
    watch = Watch()
    activity = activity_of(
        planned(3), finished(Outcome.FAILED, "1"), started(1), BlobProgress(transfer=1, read=10 * MIB), watch=watch
    )
    rate = Rate(watch.now)
    watch.now += 65

    assert summary_line(activity, rate) == "1:05 1/3 images, 1 failed, 10.0 MiB read, 158 KiB/s, 1 transfer"


@pytest.mark.covers("E116")
@pytest.mark.parametrize("kind", [Lines, Bars])
def test_a_stream_that_is_gone_breaks_nothing(kind: type[Lines | Bars]) -> None:
    with make(kind, Broken()) as progress:
        progress.emit(planned(1))
        progress.emit(finished(Outcome.COPIED, "1"))


def test_a_reader_that_takes_nothing_never_holds_up_the_run() -> None:
    stream = Stuck()
    with Lines(stream) as lines:
        for _ in range(20_000):
            lines.emit(finished(Outcome.COPIED, "1"))
        stream.let_go.set()


def test_bars_leave_nothing_behind() -> None:
    stream = Terminal()
    with make(Bars, stream) as progress:
        progress.emit(planned(1))

    assert stream.getvalue() == "" or stream.getvalue().endswith(("\x1b[?25h", "\x1b[2K", "\x1b[1A\x1b[2K"))


def make(kind: type[Lines | Bars], stream: io.StringIO) -> Lines | Bars:
    return Bars(stream, colour=Colour.NEVER) if kind is Bars else Lines(stream)


@pytest.mark.parametrize(
    ("stream", "wanted", "environment", "kind"),
    [
        pytest.param(Terminal(), True, {"TERM": "xterm"}, Bars, id="terminal"),
        pytest.param(Terminal(), True, {"TERM": "dumb"}, Lines, id="dumb-terminal"),
        pytest.param(Terminal(), True, {}, Lines, id="terminal-of-no-kind"),
        pytest.param(io.StringIO(), True, {"TERM": "xterm", "FORCE_COLOR": "1"}, Lines, id="pipe"),
        pytest.param(Terminal(), False, {"TERM": "xterm"}, Silence, id="not-wanted"),
    ],
)
def test_the_display_suits_the_stream(
    stream: io.StringIO, wanted: bool, environment: dict[str, str], kind: type[object]
) -> None:
    progress = make_progress(wanted=wanted, colour=Colour.AUTO, environment=environment, stream=stream)

    assert type(progress) is kind


@pytest.mark.covers("E116")
@pytest.mark.parametrize(
    ("stream", "colour", "environment", "coloured"),
    [
        pytest.param(io.StringIO(), Colour.AUTO, {}, False, id="pipe"),
        pytest.param(io.StringIO(), Colour.AUTO, {"FORCE_COLOR": "1"}, True, id="forced"),
        pytest.param(io.StringIO(), Colour.ALWAYS, {"NO_COLOR": "1"}, True, id="the-flag-comes-first"),
        pytest.param(Terminal(), Colour.AUTO, {"NO_COLOR": "1"}, False, id="no-color"),
        pytest.param(Terminal(), Colour.NEVER, {"FORCE_COLOR": "1"}, False, id="never"),
    ],
)
def test_colours_follow_the_flag_the_environment_and_the_stream(
    stream: io.StringIO, colour: Colour, environment: dict[str, str], coloured: bool
) -> None:
    console = make_console(stream, colour, environment)
    with console.capture() as capture:
        console.print("text", style="bold red")

    assert ("\x1b[" in capture.get()) is coloured
