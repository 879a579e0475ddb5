"""The second half of `mirrord demo`: the service, and a source that releases a version now and then."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import datetime

import anyio
import anyio.to_thread

from mirrord.cli.failures import SIGNAL_BASE
from mirrord.cli.output import Output
from mirrord.cli.session import collect_garbage_from_here, has_uvloop
from mirrord.cli.units import count_text, size_text, time_text
from mirrord.demo.scenario import Scene
from mirrord.planning.report import Outcome
from mirrord.planning.status import RunStatus
from mirrord.ports.events import Event, EventSink, RunEnded

LOOPBACK = "127.0.0.1"
PORT = 8080
DRAIN_S = 5


class Releases(EventSink):
    """Releases a version every now and then, and says what the service made of it."""

    def __init__(self, out: Output, scene: Scene, every_s: float) -> None:
        self._out = out
        self._every_s = every_s
        self._scene = scene
        self._released: list[str] = []

    async def go_on(self) -> None:
        """Go on until the task is cancelled."""
        while True:
            await anyio.sleep(self._every_s)
            self._released.append(await anyio.to_thread.run_sync(self._scene.release))

    def emit(self, event: Event) -> None:
        """Say in a line what a run copied, or what went wrong."""
        if not isinstance(event, RunEnded):
            return
        run = event.run
        if run.problems:
            self._out.text(f"  {_clock()}  {run.rule}: {run.problems[0].code}: {run.problems[0].message}")
        elif run.outcomes.get(Outcome.COPIED.key):
            versions, self._released = self._released, []
            self._out.text(f"  {_clock()}  {release_line(run, versions)}")


def release_line(run: RunStatus, versions: Sequence[str]) -> str:
    """Return what a run made of released versions, on one line."""
    copied = run.outcomes.get(Outcome.COPIED.key, 0)
    held = run.blobs.existed.bytes + run.blobs.mounted.bytes
    what = f"shop/web:{versions[-1]} released" if versions else run.rule
    return (
        f"{what}: {count_text(copied, 'tag')} mirrored in {time_text(run.seconds or 0.0)}, "
        f"{size_text(run.blobs.uploaded.bytes)} uploaded, {size_text(held)} spared"
    )


def _clock() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"


def run_service(out: Output, scene: Scene, every_s: float, on_ready: Callable[[str], None]) -> int:
    """Run the service over the demo's rules until a signal ends it, with a release every ``every_s`` seconds.

    Returns:
        the exit code.
    """
    from mirrord.app.serve import Serving, serve
    from mirrord.config.process import load_process_settings

    releases = Releases(out, scene, every_s)
    settings = load_process_settings(
        {
            "MIRRORD_STATE": scene.state_url,
            "MIRRORD_LISTEN": f"{LOOPBACK}:{free_port(PORT)}",
            "MIRRORD_API_TOKEN_FILE": str(scene.token_file),
            "MIRRORD_LOG_LEVEL": "error",
            "MIRRORD_LOG_FORMAT": "console",
            "MIRRORD_DRAIN_TIMEOUT": f"{DRAIN_S}s",
        }
    )
    serving = Serving(
        config=str(scene.config_file),
        settings=settings,
        environment=os.environ,
        stream=sys.stderr,
        events=releases,
        on_ready=on_ready,
    )

    async def work() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(releases.go_on)
            number = await serve(serving)
            group.cancel_scope.cancel()
        return SIGNAL_BASE + number if number else 0

    collect_garbage_from_here()
    return anyio.run(work, backend="asyncio", backend_options={"use_uvloop": has_uvloop()})


def free_port(wanted: int) -> int:
    """Return ``wanted`` if nobody listens there, else 0: any port that is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, wanted))
        except OSError:
            return 0
    return wanted
