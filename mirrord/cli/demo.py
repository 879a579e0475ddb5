"""`mirrord demo`: the whole of it on one machine, offline, in a few seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mirrord.cli.columns import columns
from mirrord.cli.failures import SIGNAL_BASE
from mirrord.cli.options import Colour, ColourOption, NoProgressOption
from mirrord.cli.output import Output
from mirrord.cli.session import load
from mirrord.cli.units import count_text, size_text
from mirrord.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from mirrord.demo.scenario import Scene
    from mirrord.planning.report import RunReport

RELEASE_EVERY_S = 10.0
PROGRAM = "mirrord"
# Those of the examples in the documentation.
SOURCE_PORT = 5001
TARGET_PORT = 5002


def demo(
    *,
    exit_: Annotated[bool, typer.Option("--exit", help="End after the first pass.")] = False,
    registries: Annotated[
        bool, typer.Option("--registries", help="Only the registries, at localhost:5001 and localhost:5002.")
    ] = False,
    no_progress: NoProgressOption = False,
    color: ColourOption = Colour.AUTO,
) -> int:
    """Show mirrord at work, offline: two registries in memory, sample images.

    Without --exit it goes on as a service with its status page, and a new version is released and mirrored every ten
    seconds, until Ctrl-C. With --registries only the two registries run, the sample images in the first of them, for
    commands and rules of your own.
    """
    from mirrord.demo.scenario import open_scene

    out = Output(colour=color)
    if registries:
        if exit_:
            raise UsageError("--exit and --registries do not go together")
        with open_scene((SOURCE_PORT, TARGET_PORT)) as scene:
            return _keep_registries(out, scene)
    with open_scene() as scene:
        _introduce(out, scene)
        code = _first_pass(out, scene, progress=not no_progress, color=color)
        if code or exit_:
            _say_more(out)
            return code
        from mirrord.cli.demoservice import run_service

        return run_service(out, scene, RELEASE_EVERY_S, lambda url: _suggest(out, scene, url))


def _keep_registries(out: Output, scene: Scene) -> int:
    """Say what there is, and keep the registries until a signal ends them; return the exit code."""
    import anyio

    rows = [
        (f"localhost:{SOURCE_PORT}", _content_text(scene)),
        (f"localhost:{TARGET_PORT}", "empty"),
    ]
    out.text(
        "Two registries run in memory, on this machine alone, over plain HTTP:",
        *columns(rows, indent=2),
        "Ctrl-C ends them.",
    )

    async def first_signal() -> int:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            return await anext(aiter(signals))

    return SIGNAL_BASE + anyio.run(first_signal, backend="asyncio")


def _content_text(scene: Scene) -> str:
    return f"{count_text(scene.repositories, 'repository', 'repositories')}, {count_text(scene.tags, 'tag')}"


def _introduce(out: Output, scene: Scene) -> None:
    """Say what there is before anything happens."""
    from rich.text import Text

    rows = [
        ("source", scene.source, f"{_content_text(scene)}: images for two platforms, a chart, signatures"),
        ("target", scene.target, "empty"),
        ("rules", str(scene.config_file), "what to mirror, and where to"),
    ]
    out.text(
        Text("mirrord mirrors container images between registries.", style="bold"),
        "For this demo two registries run in memory, on this machine alone; it needs no network.",
        "",
        *columns(rows, indent=2),
    )


def _first_pass(out: Output, scene: Scene, *, progress: bool, color: Colour) -> int:
    """Plan, sync, and plan again, just as the commands do that are named; return the exit code of the sync."""
    from mirrord.cli.execution import run_rules
    from mirrord.cli.plan import make_plan
    from mirrord.cli.planreport import plan_lines
    from mirrord.cli.progress import make_progress
    from mirrord.cli.runreport import run_lines

    file = str(scene.config_file)
    out.text(*_step(1, "What would be done? A plan asks both sides and changes nothing.", f"plan -c {file}"))
    out.text(*plan_lines(make_plan(file, None, progress=False, color=color), everything=False))
    out.text(*_step(2, "Do it: blobs first, tags last, each byte read once.", f"sync --once -c {file}"))
    config = load(file)
    shown = make_progress(wanted=progress, colour=color, environment=os.environ)
    report, code = run_rules(config.rules, config.registries, progress=shown, events=shown, state=scene.state_url)
    out.text(*run_lines(report))
    if code:
        return code
    out.text(*_step(3, "And again? The target serves every digest, so nothing is left to do.", f"plan -c {file}"))
    out.text(*plan_lines(make_plan(file, None, progress=False, color=color), everything=False))
    out.text(*saved_lines(report))
    return 0


def saved_lines(report: RunReport) -> list[Text]:
    """Return what knowing the target's blobs saved, compared with sending every blob of every image."""
    from rich.text import Text

    tally = report.blobs
    uploaded = tally.uploaded[1]
    naive = uploaded + tally.mounted[1] + tally.existed[1]
    share = f" ({1 - uploaded / naive:.0%})" if naive else ""
    rows = [
        ("every blob of every tag", size_text(naive)),
        ("uploaded", size_text(uploaded)),
        ("not sent, for the target had it", f"{size_text(naive - uploaded)}{share}"),
    ]
    lines = columns(rows, indent=2)
    return [
        Text(),
        Text("What the images share was sent once", style="bold"),
        *map(Text, lines[:-1]),
        Text(lines[-1], style="green"),
    ]


def _suggest(out: Output, scene: Scene, url: str) -> None:
    """Say where the page is, and what to try while the service runs."""
    from rich.text import Text

    from mirrord.demo.scenario import SAMPLE_REPOSITORY

    image = f"{scene.target}/mirror/{SAMPLE_REPOSITORY}"
    commands = (
        f"export MIRRORD_CONFIG={scene.config_file} MIRRORD_API_TOKEN_FILE={scene.token_file}",
        f"{PROGRAM} status --url {url}",
        f'{PROGRAM} tags {image} --semver ">=1.1"',
        f"{PROGRAM} inspect {image}",
        f"{PROGRAM} copy {image} oci:./web",
        f"curl {url}metrics",
    )
    out.text(
        *_step(4, "From now on the service runs: by a schedule, with a page.", f"sync -c {scene.config_file}"),
        *(Text(line, style="bold green") for line in columns([("the page", url)], indent=2)),
        *columns([("its token", f'{scene.token}   (for "Sync now")')], indent=2),
        "",
        Text("Try, in another terminal, while this one runs", style="bold"),
        *(Text(f"  {command}", style="cyan") for command in commands),
        "",
        Text(
            f"Every {RELEASE_EVERY_S:.0f} s the source releases a version, which is mirrored. Ctrl-C ends it.",
            style="bold",
        ),
    )


def _say_more(out: Output) -> None:
    from rich.text import Text

    text = f"`{PROGRAM} demo` without --exit goes on as a service, with its page and commands to try."
    out.text("", Text(text, style="dim"))


def _step(number: int, text: str, command: str) -> Sequence[Text]:
    from rich.text import Text

    return [Text(), Text(f"{number}. {text}", style="bold"), Text(f"   $ {PROGRAM} {command}", style="cyan"), Text()]
