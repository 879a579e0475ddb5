"""Metrics of a run that is over: in a file for node_exporter, and pushed to a Pushgateway."""

from __future__ import annotations

import base64
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mirrord.errors import MirrordError, UsageError
from mirrord.planning.report import Outcome, Problem, RuleReport, RunReport
from mirrord.telemetry.metrics import Metrics
from mirrord.telemetry.pushgateway import PASSWORD_FILE, USERNAME, PushgatewayError, push
from mirrord.telemetry.textfile import TextfileError, write_textfile
from tests.fakes.runs import rule
from tests.unit.telemetry.samples import parse
from tests.unit.telemetry.test_metrics import unit
from tests.unit.telemetry.told import MOMENT

APP = rule("docker.io/library/app", "a.example/mirror/app", name="app")
OTHER = rule("docker.io/library/other", "a.example/mirror/other", name="other")


def after_run(*results: RuleReport, end_s: int = 40) -> Metrics:
    metrics = Metrics()
    metrics.know([APP, OTHER])
    finished = MOMENT + timedelta(seconds=end_s)
    metrics.take_report(RunReport(started=MOMENT, finished=finished, dry_run=False, rules=results), [APP, OTHER])
    return metrics


def well(name: str = "app") -> RuleReport:
    return RuleReport(rule=name, results=(unit(Outcome.COPIED, name=name),))


def badly(name: str = "app") -> RuleReport:
    return RuleReport(rule=name, problems=(Problem(code="NOT_FOUND", message="no"),))


# --- a file


def test_file_has_the_metrics_of_mirrord_and_none_of_the_process(tmp_path: Path) -> None:
    """node_exporter has `process_*` itself, and refuses files that have them too."""
    file = tmp_path / "mirrord.prom"
    write_textfile(file, after_run(well()))
    samples = parse(file.read_text("utf-8"))

    assert samples["mirrord_images"][("app", "in_sync", "a.example")] == 1
    assert [name for name in samples if not name.startswith("mirrord_")] == []


def test_file_can_be_read_by_others_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "mirrord.prom"
    before = os.umask(0o077)
    try:
        write_textfile(str(file), after_run(well()))
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["mirrord.prom"]


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Who has the old file open reads the old one to its end."""
    file = tmp_path / "mirrord.prom"
    file.write_text("old\n", "utf-8")
    with file.open(encoding="utf-8") as reader:
        write_textfile(file, after_run(well()))

        assert reader.read() == "old\n"
    assert "mirrord_images" in file.read_text("utf-8")


def test_file_keeps_the_last_success_of_a_rule_that_fails_now(tmp_path: Path) -> None:
    file = tmp_path / "mirrord.prom"
    write_textfile(file, after_run(well("app"), well("other"), end_s=10))
    write_textfile(file, after_run(badly("app"), well("other"), end_s=20))
    write_textfile(file, after_run(badly("app"), badly("other"), end_s=30))
    samples = parse(file.read_text("utf-8"))
    start = MOMENT.timestamp()

    assert samples["mirrord_last_success_timestamp_seconds"] == {("app",): start + 10, ("other",): start + 20}
    assert samples["mirrord_last_run_timestamp_seconds"] == {("app",): start + 30, ("other",): start + 30}


@pytest.mark.parametrize(
    "old",
    [
        b"\xff\xfe",
        b"mirrord_last_success_timestamp_seconds{rule=",
        b'mirrord_last_success_timestamp_seconds{rule="gone"} 7\n',
        b'mirrord_last_success_timestamp_seconds{rule="app"} seven\n',
    ],
)
def test_file_that_cannot_be_read_back_is_replaced_all_the_same(tmp_path: Path, old: bytes) -> None:
    file = tmp_path / "mirrord.prom"
    file.write_bytes(old)
    write_textfile(file, after_run(badly()))

    assert "mirrord_last_success_timestamp_seconds" not in parse(file.read_text("utf-8"))


@pytest.mark.parametrize("place", ["missing/mirrord.prom", "directory", "file/mirrord.prom", "x" * 300, "nul\0"])
def test_file_that_cannot_be_written_is_an_error_that_leaves_nothing_behind(tmp_path: Path, place: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(TextfileError) as caught:
        write_textfile(tmp_path / place, after_run(well()))

    assert str(caught.value).startswith("TEXTFILE_FAILED: write the metrics to ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["directory", "file"]


# --- a Pushgateway


class Gateway:
    """Notes what is pushed, and answers as it is told to."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        self.got: list[tuple[str, str, dict[str, str], str]] = []
        self.url = ""


@contextmanager
def gateway(status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> Iterator[Gateway]:
    found = Gateway(status, headers or {}, body)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pushed = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.got.append((self.command, self.path, dict(self.headers.items()), pushed))
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base class has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_push_puts_the_metrics_beside_what_others_pushed() -> None:
    """POST replaces metrics of the same names only: the last success stays where this run had none."""
    with gateway() as there:
        push(there.url + "/", after_run(badly()), environment={})
    ((method, path, headers, text),) = there.got
    samples = parse(text)

    assert (method, path) == ("POST", "/metrics/job/mirrord")
    assert "Authorization" not in headers
    assert samples["mirrord_runs_total"][("failed", "app")] == 1
    assert "mirrord_last_success_timestamp_seconds" not in samples
    assert [name for name in samples if not name.startswith("mirrord_")] == []


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("", "/metrics/job/mirrord"),
        ("/gateway/", "/gateway/metrics/job/mirrord"),
        ("/metrics/job/nightly", "/metrics/job/nightly"),
        ("/metrics/job/mirrord/instance/base-images/", "/metrics/job/mirrord/instance/base-images"),
        ("/gateway/metrics/job@base64/YS9i/instance@base64/Y2kvNw==", None),
        ("/metrics/jobs", "/metrics/jobs/metrics/job/mirrord"),
    ],
)
def test_push_goes_to_the_group_that_the_address_names(path: str, group: str | None) -> None:
    """Else two pipelines would take each other's metrics away."""
    with gateway() as there:
        push(there.url + path, after_run(well()), environment={})

    assert [got[:2] for got in there.got] == [("POST", path if group is None else group)]
    assert there.got[0][2]["Content-Type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("path", ["job", "job/", "job/a/instance", "job/a//b", "job//instance/b", "job@base64/YQ==/x"])
def test_push_to_half_a_group_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="a label or a value is missing"):
        push(f"http://127.0.0.1:1/metrics/{path}", after_run(well()), environment={})


def test_push_logs_in_as_the_environment_says(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret: ü\n", "utf-8")
    with gateway() as there:
        push(there.url, after_run(well()), environment={USERNAME: "ci", PASSWORD_FILE: str(file)})

    expected = "Basic " + base64.b64encode("ci:s3cret: ü".encode()).decode()
    assert there.got[0][2]["Authorization"] == expected


@pytest.mark.parametrize(
    "environment", [{USERNAME: "ci"}, {PASSWORD_FILE: "/x"}, {USERNAME: "ci", PASSWORD_FILE: "/x/y"}]
)
def test_push_without_a_usable_password_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=PASSWORD_FILE):
        push("http://127.0.0.1:1", after_run(well()), environment=environment)


@pytest.mark.parametrize(
    "url",
    [
        "http://ci:s3cret@gateway.example",
        "https://s3cret@gateway.example:9091",
        "http://ci:s3cret@[::1",
        "ftp://gateway.example/s3cret@x",
        "gateway.example:9091",
        "http://",
        "http://gateway.example:99999",
        "http://gateway.example/?token=s3cret",
        "file:///etc/passwd",
    ],
)
def test_push_to_an_address_that_cannot_be_used_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        push(url, after_run(well()), environment={})

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (400, {}, b"pushed metrics are\r\ninvalid\x1b[2J", "it answered 400: pushed metrics are\\r\\ninvalid\\x1b[2J"),
        (401, {}, b"token=s3cret99 is wrong", "it answered 401: token=[redacted] is wrong"),
        (500, {}, b"", "it answered 500"),
        (302, {"Location": "/elsewhere"}, b"", "it answered 302"),
        (307, {"Location": "http://127.0.0.1:1/"}, b"", "it answered 307"),
    ],
)
def test_push_that_is_refused_says_what_came_back(status: int, headers: dict[str, str], body: bytes, said: str) -> None:
    """A redirect counts as a refusal: it would be followed without the metrics."""
    with gateway(status, headers, body) as there, pytest.raises(PushgatewayError) as caught:
        push(there.url, after_run(well()), environment={})

    assert (caught.value.code, caught.value.message) == ("PUSHGATEWAY_FAILED", f"push metrics to {there.url}: {said}")
    assert len(there.got) == 1


def test_push_to_nobody_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(MirrordError, match="Connection refused"):
            push(f"http://127.0.0.1:{port}", after_run(well()), environment={})


@pytest.mark.parametrize("drips", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_push_to_a_gateway_that_does_not_answer_ends_in_time(drips: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            kept.append(server.accept()[0])
            kept[0].sendall(drips)

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(PushgatewayError, match=r"within 0\.2 s|timed out"):
            push(f"http://127.0.0.1:{server.getsockname()[1]}", after_run(well()), environment={}, deadline_s=0.2)
        thread.join()
        kept[0].close()


def test_push_to_something_that_speaks_no_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-x\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PushgatewayError, match="SSH-2"):
            push(f"http://127.0.0.1:{server.getsockname()[1]}", after_run(well()), environment={})
        thread.join()
