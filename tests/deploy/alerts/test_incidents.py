"""Real incidents of a real service make the alerts fire in a real Prometheus, and repairing them ends the alerts.

The rules are those that are delivered; only their spans are divided by `FASTER`, so that an hour passes in seconds.
"""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.alerts.alertfiles import FILES, shortened
from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool
from tests.integration.daemon import Daemon
from tests.integration.processes import ProcessError
from tests.integration.prometheus import Prometheus, prometheus
from tests.integration.scenes import noise
from tests.integration.servers import Credentials, DockerRegistry

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

FASTER = 600
PASSWORD = Credentials("mirror", "correct horse: battery")
FIRING_S = 40.0


@dataclass
class Watched:
    """A service with a rule on an open source, and one whose source asks for a password that nobody gave it."""

    directory: Path
    source: DockerRegistry
    private: DockerRegistry
    target: DockerRegistry
    daemon: Daemon
    there: Prometheus

    def alerts(self, state: str = "firing") -> dict[tuple[str, str], Any]:
        """Return the alerts in a state, by name and rule."""
        found = self.there.ask("alerts")["alerts"]
        return {
            (alert["labels"]["alertname"], alert["labels"].get("rule", "")): alert
            for alert in found
            if alert["state"] == state
        }

    def wait_for(self, condition: Callable[[set[tuple[str, str]]], bool], what: str) -> None:
        """Wait until what fires is as it should be."""
        seen: set[tuple[str, str]] = set()

        def holds() -> bool:
            seen.clear()
            seen.update(self.alerts())
            return condition(seen)

        try:
            self.there.wait_until(holds, what, FIRING_S)
        except ProcessError as exc:
            pytest.fail(f"waited in vain for {what}; there are {sorted(seen)}\n{exc}")


def write_config(directory: Path, *registries: DockerRegistry, password: Credentials | None = None) -> Path:
    """Write two rules that look every second and promise two; the password is for the second registry."""
    source, private, target = registries
    rules = [
        {
            "name": name,
            "source": f"{registry.address}/team/{name}",
            "targets": [f"{target.address}/mirror/{name}"],
            "schedule": "1s",
            **more,
        }
        for name, registry, more in (("web", source, {"freshness": "2s"}), ("secret", private, {}))
    ]
    entries = scenes.plain(*registries)
    if password is not None:
        secret = directory / "password"
        secret.write_text(password.password)
        named = {"username": password.username, "password": {"file": str(secret)}}
        entries[private.address] = {"plain_http": True, **named}
    return scenes.write_config(directory, rules, entries)


@pytest.fixture
def watched(tmp_path: Path, require_tool: RequireTool) -> Iterator[Watched]:
    """A service that is well but for the password, and a Prometheus with the alerts."""
    require_tool("docker-registry", "htpasswd", "prometheus")
    with ExitStack() as running:
        source, private, target = (
            running.enter_context(DockerRegistry(tmp_path / name, credentials=credentials))
            for name, credentials in (("source", None), ("private", PASSWORD), ("target", None))
        )
        scenes.push_image(source, "team/web", "v1", [noise(1, 3000)])
        scenes.push_image(private, "team/secret", "v1", [noise(2, 3000)])
        rules = tmp_path / "rules.json"  # which YAML reads as well
        rules.write_text(json.dumps(shortened(FILES[0], FASTER)), "utf-8")
        (tmp_path / "mirrord").mkdir()
        mirrord = Mirrord(tmp_path / "mirrord")
        running.callback(mirrord.close)
        daemon = running.enter_context(Daemon(mirrord, write_config(tmp_path, source, private, target)))
        there = running.enter_context(prometheus(tmp_path, daemon.port, rules=[rules]))
        there.wait_for("mirrord_fresh")
        yield Watched(tmp_path, source, private, target, daemon, there)


def test_alerts_follow_incidents_of_a_service_and_end_with_them(watched: Watched) -> None:
    incidents = {
        ("MirrordNotFresh", "web"),
        ("MirrordFreshnessBurnsFast", "web"),
        ("MirrordRunsFailing", "web"),
        ("MirrordCredentialRefused", "secret"),
        ("MirrordConfigRefused", ""),
    }
    watched.wait_for(lambda firing: firing == {("MirrordCredentialRefused", "secret")}, "only the password missing")

    watched.source.kill()
    config = watched.daemon.config
    config.write_text(f"{config.read_text()}\nnonsense: 1\n")
    unusable = ("MirrordStateUnusable", "")
    with closing(sqlite3.connect(watched.daemon.state_file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")  # somebody's backup that does not end
        watched.wait_for(lambda firing: unusable in firing, "the state missed")
        assert watched.daemon.send("GET", "readyz")[1].count(b"STATE_UNUSABLE") == 1
    watched.wait_for(lambda firing: firing >= incidents, f"having {sorted(incidents)}")
    told = watched.alerts()
    by_the_way = {unusable, ("MirrordBreakerOpen", "")}  # it may be over by now; that may have opened by now
    assert set(told) - by_the_way == incidents, "nothing else is the matter"
    assert set(watched.alerts("pending")) <= by_the_way, "and nobody is told twice a moment later"
    assert told["MirrordNotFresh", "web"]["annotations"]["description"] == (
        "The source of web could not be seen for longer than the promise. The promise is 2s."
    )
    assert told["MirrordRunsFailing", "web"]["annotations"]["summary"] == "runs of web fail"

    watched.source.start()
    write_config(watched.directory, watched.source, watched.private, watched.target, password=PASSWORD)
    ended = {unusable, ("MirrordConfigRefused", ""), ("MirrordCredentialRefused", "secret")}
    watched.wait_for(lambda firing: not firing & ended, "the file in force, with the password")
    of_state = [line["event"] for line in watched.daemon.log() if line["event"] in {"state_unusable", "state_usable"}]
    assert of_state[:2] == ["state_unusable", "state_usable"]
    assert all(one != next_one for one, next_one in pairwise(of_state)), "each change is told once"
    watched.daemon.end(signal.SIGKILL)
    watched.wait_for(lambda firing: ("MirrordDown", "") in firing, "the service missed")
    assert {name for name, rule in watched.alerts() if not rule} == {"MirrordDown"}

    watched.daemon.start()
    afterwards = {("MirrordFreshnessBurnsSlowly", "web")}  # what was spent is a ticket, in the morning
    watched.wait_for(lambda firing: firing <= afterwards, "all well again")
