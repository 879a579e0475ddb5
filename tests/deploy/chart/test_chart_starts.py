"""What the chart renders is what mirrord starts with: arguments, variables and files of a pod, run on this machine."""

from __future__ import annotations

import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import trustme

from mirrord.config.loader import load_config
from mirrord.config.process import load_process_settings, require_api_token
from mirrord.planning.report import EXIT_FAILED, EXIT_REFUSED, EXIT_STARTUP, EXIT_USAGE
from mirrord.ports.settings import TlsSettings
from mirrord.registry.tls import make_ssl_context
from tests.deploy.chart.chartcases import CASES, TEXT
from tests.deploy.chart.podfiles import ENTRYPOINT, GIVEN, PLACES, Started, lay_out
from tests.deploy.chart.rendering import CRONJOB, ROOT, SERVICE, Values, container, only, render, with_values, worker
from tests.integration.command import Mirrord
from tests.integration.processes import Process, free_port

RequireTool = Callable[..., None]
QUIET: Values = {
    "config": {
        "registries": {"localhost:1": {"plain_http": True}},
        "rules": [{"name": "web", "source": "localhost:1/shop/web", "targets": ["localhost:1/mirror/web"]}],
    }
}
"""A rule that runs only when it is asked to, and a registry that no machine has."""


@pytest.fixture
def mirrord(tmp_path: Path) -> Iterator[Mirrord]:
    command = Mirrord(tmp_path)
    yield command
    command.close()


def started(values: Values, root: Path) -> Started:
    """Return what the pod of these values starts, its files laid out below a directory."""
    objects = render(values)
    return lay_out(objects, worker(objects), root, {"rules": TEXT})


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_mirrord_takes_configuration_and_settings_of_a_rendered_pod(values: Values, tmp_path: Path) -> None:
    pod = started(values, tmp_path)

    loaded = load_config(pod.env["MIRRORD_CONFIG"], pod.env)
    settings = load_process_settings(pod.env)

    assert [rule.name for rule in loaded.rules] == ["web"]
    if pod.args == ["sync"]:
        require_api_token(settings)
        assert Path(str(settings.api_token_file)).read_text("ascii")
        assert settings.state == f"sqlite:///{tmp_path}/var/lib/mirrord/state.db"


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_files_that_variables_name_are_there(values: Values, tmp_path: Path) -> None:
    pod = started(values, tmp_path)
    read = ("MIRRORD_CONFIG", "MIRRORD_API_TOKEN_FILE", "SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")

    named = {name: Path(pod.env[name]) for name in read if name in pod.env}

    assert "MIRRORD_CONFIG" in named
    assert [name for name, file in named.items() if not file.is_file()] == []
    if "DOCKER_CONFIG" in pod.env:
        assert (Path(pod.env["DOCKER_CONFIG"]) / "config.json").read_text("utf-8") == GIVEN


@pytest.mark.integration
@pytest.mark.parametrize("case", ["service-aws", "service-existing-config-map", "cronjob-everything"])
def test_command_line_finds_the_rendered_configuration_valid(case: str, tmp_path: Path, mirrord: Mirrord) -> None:
    pod = started(CASES[case], tmp_path)

    done = mirrord.run("config", "validate", env=pod.env)

    assert (done.code, done.stderr) == (0, "")
    assert "1 rule" in done.stdout


@pytest.mark.integration
def test_rendered_service_starts_answers_its_probes_and_ends_in_time(tmp_path: Path, mirrord: Mirrord) -> None:
    objects = render(with_values(SERVICE, QUIET))
    pod = lay_out(objects, worker(objects), tmp_path, {})
    probed = container(worker(objects))
    port = free_port()

    service = mirrord.start(*pod.args, env={**pod.env, "MIRRORD_LISTEN": f":{port}"})
    ready = probed["readinessProbe"]["httpGet"]["path"]
    service.wait_until(lambda: _status(port, ready) == 200, what="ready", timeout_s=30)
    answers = [_status(port, probed[f"{name}Probe"]["httpGet"]["path"]) for name in ("startup", "liveness")]
    open_to_all = [_status(port, path) for path in ("/metrics", "/api/v1/status")]
    test = only(objects, "Pod")
    asked = mirrord.run(*container(test)["args"][:-1], f"http://127.0.0.1:{port}")
    admitted = _status(port, "/api/v1/status", {"Authorization": f"Bearer {GIVEN}"})
    ended = _end(service, worker(objects)["spec"]["terminationGracePeriodSeconds"])

    assert answers == [200, 200]
    assert open_to_all == [200, 401]
    assert admitted == 200
    assert (asked.code, "state: ok" in asked.stdout) == (0, True)
    assert ended == 143
    assert (tmp_path / "var/lib/mirrord/state.db").is_file()


@pytest.mark.integration
def test_rendered_run_ends_with_codes_that_the_failure_policy_knows(tmp_path: Path, mirrord: Mirrord) -> None:
    """A registry that cannot be reached is tried again; a configuration that is wrong is not."""
    values = with_values(CRONJOB, QUIET, {"persistence": {"enabled": False}})
    job = only(render(values), "CronJob")["spec"]["jobTemplate"]["spec"]
    _, hopeless, again = [rule.get("onExitCodes", {}).get("values") for rule in job["podFailurePolicy"]["rules"]]
    pod = started(values, tmp_path)

    unreachable = mirrord.run(*pod.args, env=pod.env)
    Path(pod.env["MIRRORD_CONFIG"]).write_text("version: 2\n")
    invalid = mirrord.run(*pod.args, env=pod.env)

    assert unreachable.code in again, unreachable.stderr
    assert invalid.code in hopeless, invalid.stderr
    assert (hopeless, again) == ([EXIT_USAGE, EXIT_REFUSED], [EXIT_FAILED, EXIT_STARTUP])
    assert not (tmp_path / "var/lib/mirrord").exists()


def test_image_has_the_user_the_places_and_the_command_that_the_chart_counts_on() -> None:
    file = ROOT / "Dockerfile"
    text = file.read_text("utf-8")
    context = worker(render(SERVICE))["spec"]["securityContext"]

    assert f'ENTRYPOINT ["{ENTRYPOINT}"]' in text
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in text
    assert all(place in text for place in PLACES)


@pytest.mark.integration
def test_certificates_of_ones_own_are_trusted_besides_those_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: RequireTool
) -> None:
    """SSL_CERT_FILE takes the place of the system's file, and leaves the system's directory as it is."""
    require_tool("openssl")
    system, own, foreign = (trustme.CA(organization_name=name) for name in ("system", "own", "foreign"))
    directory = tmp_path / "certs"
    directory.mkdir()
    system.cert_pem.write_to_path(directory / "system.pem")
    subprocess.run(["openssl", "rehash", str(directory)], check=True, capture_output=True)
    values = with_values(SERVICE, {"extraCA": {"pem": own.cert_pem.bytes().decode()}})
    pod = started(values, tmp_path)

    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    monkeypatch.setenv("SSL_CERT_FILE", pod.env["SSL_CERT_FILE"])
    context = make_ssl_context(TlsSettings())

    assert [_is_trusted(context, authority) for authority in (system, own, foreign)] == [True, True, False]


def _is_trusted(context: ssl.SSLContext, authority: trustme.CA) -> bool:
    """Say whether a client with this context shakes hands with a server of an authority, in memory."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.internal").configure_cert(serving)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname="registry.internal")
    server = serving.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return client.version() is not None


def _status(port: int, path: str, headers: Mapping[str, str] | None = None) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _end(service: Process, grace_s: Any) -> int:
    service.signal(signal.SIGTERM)
    return service.wait(float(grace_s))
