"""Notes: what mirrord coped with, told with --verbose on stderr and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrord.cli.notes import MOST_NOTES, Notes
from mirrord.cli.progress import Silence
from mirrord.ports.events import Noted
from tests.fakes.commands import run_command, serving
from tests.fakes.images import make_index
from tests.fakes.profiles import DISTRIBUTION_V3
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A source whose mirror has nothing to give."""
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V3) as (source, target):
        put(source.store, "team/app", make_index("app"), "1.0")
        file = tmp_path / "mirrord.yaml"
        file.write_text(
            "version: 1\n"
            "registries:\n"
            f'  "{source.host}": {{plain_http: true, mirrors: ["localhost:1"]}}\n'
            f'  "{target.host}": {{plain_http: true}}\n'
            "rules:\n"
            f'  - {{name: app, source: "{source.host}/team/app", targets: ["{target.host}/app"]}}\n'
        )
        yield file


@pytest.mark.parametrize("command", [("sync", "--once"), ("sync", "--once", "--dry-run"), ("plan",)], ids=" ".join)
@pytest.mark.parametrize("progress", [(), ("--no-progress",)], ids=["progress", "quiet"])
def test_verbose_tells_notes_on_stderr_and_never_in_json(
    config: Path, command: tuple[str, ...], progress: tuple[str, ...]
) -> None:
    done = run_command(*command, "-c", str(config), "-o", "json", "--verbose", *progress)

    assert done.code == 0
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == len(set(notes)) >= 1
    assert "localhost:1" in notes[0]
    assert json.loads(done.stdout)["schema_version"] == 1
    assert "note:" not in done.stdout


def test_copy_tells_notes_with_verbose_alone(config: Path) -> None:
    source, target = (line.partition('"')[2].partition('"')[0] for line in config.read_text().splitlines()[2:4])
    copy = ("copy", f"{source}/team/app:1.0", "-c", str(config))

    quiet = run_command(*copy, f"{target}/quiet")
    told = run_command(*copy, f"{target}/told", "--verbose")

    assert (quiet.code, told.code) == (0, 0)
    assert "note:" not in quiet.stderr + quiet.stdout + told.stdout
    assert "note: " in told.stderr
    assert "localhost:1" in told.stderr


def test_notes_are_not_told_without_verbose(config: Path) -> None:
    done = run_command("sync", "--once", "-c", str(config))

    assert done.code == 0
    assert "note:" not in done.stderr + done.stdout


def test_notes_are_told_once_on_one_line_and_not_without_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Notes(Silence()) as notes:
        for number in range(MOST_NOTES + 5):
            notes.emit(Noted(what="x", text=f"number {number}\nof many"))
            notes.emit(Noted(what="x", text="number 0\nof many"))

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MOST_NOTES + 1
    assert (lines[0], lines[-1]) == (r"note: number 0\nof many", "note: 5 more notes are not shown")
