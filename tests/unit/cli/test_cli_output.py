from __future__ import annotations

import errno
import io
import json

import pytest
from rich.console import Console
from rich.text import Text

from mirrord.cli.console import hang
from mirrord.cli.output import Output, OutputFailedError
from tests.fakes.commands import run_command


class Failing(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error
        self.asked = 0

    def write(self, text: str) -> int:
        self.asked += 1
        raise self.error


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, color_system=None)


def test_text_in_brackets_is_printed_as_it_stands() -> None:
    stream = io.StringIO()

    Output(stream).text("[red]nginx[/red]@[sha256:ab] :smile:", Text("[bold]"))

    assert stream.getvalue() == "[red]nginx[/red]@[sha256:ab] :smile:\n[bold]\n"


def test_long_lines_are_not_broken_where_there_is_no_terminal() -> None:
    stream = io.StringIO()

    Output(stream).text(Text("word " * 100))

    assert stream.getvalue().count("\n") == 1


def test_on_a_terminal_long_lines_are_broken_between_words_and_indented() -> None:
    shown = hang(Text("    UNAVAILABLE: no answer from the registry at all"), console(36))

    assert shown.plain.splitlines() == ["    UNAVAILABLE: no answer from", "      the registry at all"]


@pytest.mark.parametrize("width", [1, 20, 60], ids=str)
def test_lines_that_fit_or_cannot_be_fitted_stay(width: int) -> None:
    assert hang(Text("  short"), console(width)).plain == "  short"


def test_json_begins_with_the_schema_version() -> None:
    stream = io.StringIO()
    out = Output(stream)

    out.json({"kind": "run"})
    out.json_line({"type": "image"})

    assert stream.getvalue().startswith('{\n  "schema_version": 1,\n  "kind"')
    assert json.loads(stream.getvalue().splitlines()[-1]) == {"schema_version": 1, "type": "image"}


@pytest.mark.covers("E116")
def test_a_reader_that_went_away_is_no_error_and_is_not_asked_again() -> None:
    stream = Failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    out = Output(stream)

    out.raw("one")
    out.text("two")

    assert stream.asked == 1


@pytest.mark.covers("E116")
def test_a_full_device_is_an_error() -> None:
    out = Output(Failing(OSError(errno.ENOSPC, "No space left on device")))

    with pytest.raises(OutputFailedError, match="could not be written to stdout: No space left on device"):
        out.raw("one")


@pytest.mark.parametrize("group", [(), ("config",), ("auth",)], ids=["mirrord", "config", "auth"])
def test_list_of_commands_is_told_in_whole_sentences_at_80_columns(
    group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    lines = run_command(*group, "--help").stdout.splitlines()

    assert [line for line in lines if line.endswith("...") and not line.startswith("Usage:")] == []
    assert max(map(len, lines)) <= 80
