from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mirrord.state.lock import StateLock
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.images import make_image
from tests.fakes.profiles import DISTRIBUTION_V3
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")


@pytest.fixture
def registries(bare: Path) -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V3) as (source, target):
        put(source.store, "team/app", make_image("app"), "1.0")
        config(bare, source.host, target.host)
        yield source, target


def config(directory: Path, source: str, target: str, registry: str = "plain_http: true") -> None:
    (directory / "c.yaml").write_text(
        f"version: 1\nregistries: {{'{source}': {{plain_http: true}}, '{target}': {{{registry}}}}}\n"
        f"rules: [{{name: app, source: {source}/team/app, targets: [{target}/mirror/app]}}]\n"
    )


def sync(*options: str) -> Finished:
    return run_command("sync", "--once", "-c", "c.yaml", "--no-progress", *options)


class Pushgateway(ThreadingHTTPServer):
    """Takes what is pushed and answers with ``status``; ``pushed`` has the paths and bodies."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), PushHandler)
        self.status = status
        self.pushed: list[tuple[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class PushHandler(BaseHTTPRequestHandler):
    server: Pushgateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.pushed.append((self.path, body.decode()))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library calls it so
        pass


@pytest.fixture
def gateway(request: pytest.FixtureRequest) -> Iterator[Pushgateway]:
    with Pushgateway(getattr(request, "param", 200)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return samples by name and the values of their labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.usefixtures("registries")
def test_metrics_of_a_run_are_written_to_the_file(bare: Path) -> None:
    done = sync("--metrics-textfile", "mirrord.prom")

    assert (done.code, done.stderr) == (0, "")
    found = samples((bare / "mirrord.prom").read_text())
    assert sum(value for name, value in found.items() if name[:3] == ("mirrord_images", "app", "in_sync")) == 1
    assert found["mirrord_runs_total", "ok", "app"] == 1
    assert found["mirrord_last_success_timestamp_seconds", "app"] > 0


@pytest.mark.usefixtures("registries")
def test_metrics_of_a_run_are_sent_to_the_gateway(gateway: Pushgateway) -> None:
    done = sync("--pushgateway", gateway.url)

    assert (done.code, done.stderr) == (0, "")
    [(path, body)] = gateway.pushed
    assert path == "/metrics/job/mirrord"
    assert samples(body)["mirrord_runs_total", "ok", "app"] == 1
    requests = [value for name, value in samples(body).items() if name[0] == "mirrord_requests_total"]
    assert sum(requests) > 0, "events of the run were listened to"


def test_metrics_of_a_run_with_failures_are_delivered_too(
    bare: Path, registries: tuple[FakeRegistry, FakeRegistry], gateway: Pushgateway
) -> None:
    config(bare, registries[0].host, "127.0.0.1:1")

    done = sync("--metrics-textfile", "m.prom", "--pushgateway", gateway.url)

    assert done.code == 1
    assert samples((bare / "m.prom").read_text())["mirrord_runs_total", "failed", "app"] == 1
    assert samples(gateway.pushed[0][1])["mirrord_runs_total", "failed", "app"] == 1


def test_metrics_of_a_run_that_could_not_begin_say_that_it_failed(bare: Path, gateway: Pushgateway) -> None:
    config(bare, "s.example", "t.example", "username: u, password: {file: /nowhere}")

    done = sync("--pushgateway", gateway.url)

    assert done.code == 3
    found = samples(gateway.pushed[0][1])
    assert found["mirrord_runs_total", "failed", "app"] == 1
    assert found["mirrord_last_run_timestamp_seconds", "app"] > 0
    assert ("mirrord_last_success_timestamp_seconds", "app") not in found


def test_metrics_of_a_configuration_that_is_not_valid_are_those_of_the_run_before(bare: Path) -> None:
    (bare / "c.yaml").write_text("version: 2\n")
    (bare / "m.prom").write_text("before 1\n")

    assert sync("--metrics-textfile", "m.prom").code == 2
    assert (bare / "m.prom").read_text() == "before 1\n"


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("gateway", [500], indirect=True)
def test_gateway_that_refuses_is_a_warning(gateway: Pushgateway) -> None:
    done = sync("--pushgateway", gateway.url)

    assert done.code == 0
    assert done.stderr.startswith(f"warning: PUSHGATEWAY_FAILED: push metrics to {gateway.url}: it answered 500; ")


@pytest.mark.usefixtures("registries")
def test_gateway_that_does_not_answer_keeps_nothing_from_the_file(bare: Path) -> None:
    done = sync("--pushgateway", "http://127.0.0.1:1", "--metrics-textfile", "m.prom")

    assert done.code == 0
    assert "warning: PUSHGATEWAY_FAILED" in done.stderr
    assert (bare / "m.prom").exists()


def test_file_that_fails_at_the_end_is_a_warning(
    bare: Path, registries: tuple[FakeRegistry, FakeRegistry], gateway: Pushgateway
) -> None:
    (bare / "out").mkdir()
    password = "password: {command: [sh, -c, 'rmdir out; echo x']}"
    config(bare, registries[0].host, registries[1].host, f"plain_http: true, username: u, {password}")

    done = sync("--metrics-textfile", "out/m.prom", "--pushgateway", gateway.url)

    assert done.code == 0
    assert done.stderr.startswith("warning: TEXTFILE_FAILED: write the metrics to out/m.prom: No such file")
    assert len(gateway.pushed) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        pytest.param(["--metrics-textfile", "nowhere/m.prom"], "its directory does not exist", id="directory"),
        pytest.param(["--metrics-textfile", "c.yaml"], "that is the configuration file", id="the-configuration"),
        pytest.param(["--pushgateway", "ftp://x"], "no address of a Pushgateway", id="address"),
        pytest.param(["--pushgateway", "http://u:hunter2@x"], "has a user in it", id="user"),
    ],
)
def test_destination_that_cannot_be_used_is_refused_before_anything_is_attempted(
    registries: tuple[FakeRegistry, FakeRegistry], options: list[str], told: str
) -> None:
    done = sync(*options)

    assert done.code == 2
    assert told in done.stderr
    assert "hunter2" not in done.stderr
    assert not [*registries[0].traffic.records, *registries[1].traffic.records]


@pytest.mark.parametrize("option", [["--metrics-textfile", "m.prom"], ["--pushgateway", "http://x"]])
def test_metrics_of_one_run_are_for_runs_that_end(option: list[str]) -> None:
    done = run_command("sync", "-c", "c.yaml", *option)

    assert done.code == 2
    assert f"{option[0]} cannot be used without --once" in done.stderr


def test_run_that_finds_another_one_going_on_leaves_the_metrics_to_that_one(
    registries: tuple[FakeRegistry, FakeRegistry], gateway: Pushgateway, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cron starts a run while the last one goes on: what it would write are failures of rules that nobody tried."""
    monkeypatch.setenv("MIRRORD_STATE", f"sqlite://{bare}/state.db")
    (bare / "m.prom").write_text("# of the run that goes on\n")

    with StateLock(bare / "state.db", datetime.now(UTC)):
        done = sync("--metrics-textfile", "m.prom", "--pushgateway", gateway.url)

    assert done.code == 3
    assert "STATE_LOCKED" in done.stderr
    assert (bare / "m.prom").read_text() == "# of the run that goes on\n"
    assert gateway.pushed == []
