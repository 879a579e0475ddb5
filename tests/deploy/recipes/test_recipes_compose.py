"""The stack of the compose file: what it says fits together, and its processes work together, without an engine."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.recipes.recipefiles import COMPOSE, EXAMPLES, ROOT, load
from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool, StartRegistry
from tests.integration.processes import Process, free_port
from tests.integration.prometheus import promtool
from tests.integration.scenes import noise
from tests.integration.servers import DockerRegistry, tool

HERE = EXAMPLES / "compose"
LONG_RUNNING = ("mirrord", "registry", "prometheus", "grafana")
SOURCES = ("registry.k8s.io/pause", "docker.io/library/hello-world")


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = load(COMPOSE)["services"][name]
    return found


def mounted(name: str) -> dict[str, Path]:
    """Return the folders of this repository that a service has, by where it sees them."""
    pairs = (volume.split(":") for volume in service(name)["volumes"] if volume.startswith("."))
    return {parts[1]: (HERE / parts[0]).resolve() for parts in pairs}


def outside(name: str, path: str) -> Path:
    """Return the file of this repository that a service sees at a path."""
    for inside, folder in mounted(name).items():
        if path == inside or path.startswith(f"{inside}/"):
            return folder / path.removeprefix(inside).lstrip("/")
    raise AssertionError(f"{name} has nothing at {path}")


@pytest.mark.parametrize("name", sorted(load(COMPOSE)["services"]))
def test_service_is_confined(name: str) -> None:
    of = service(name)

    assert of["read_only"] is True
    assert of["cap_drop"] == ["ALL"]
    assert of["security_opt"] == ["no-new-privileges:true"]
    assert all(volume.endswith(":ro") for volume in of["volumes"] if volume.startswith("."))
    assert all(port.startswith("127.0.0.1:") for port in of.get("ports", ()))
    if name in LONG_RUNNING:
        assert not of["user"].startswith("0:"), "root"
        assert "cap_add" not in of
        assert of["healthcheck"]["test"][0] == "CMD"
        assert of["restart"] == "unless-stopped"
    else:
        assert (of["network_mode"], of["cap_add"], of["restart"]) == ("none", ["CHOWN"], "no")


def test_image_of_every_service_has_a_version() -> None:
    for name, of in load(COMPOSE)["services"].items():
        assert re.search(r":v?\d+\.\d+\.\d+$", of["image"]), name


def test_one_shot_service_has_somebody_who_waits_for_its_end() -> None:
    """`docker compose up --wait` takes the end of any other one for a failure."""
    waited_for = {
        other
        for of in load(COMPOSE)["services"].values()
        for other, how in of.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }

    assert waited_for == set(load(COMPOSE)["services"]) - set(LONG_RUNNING)


def test_what_is_mounted_and_named_is_there() -> None:
    whole = load(COMPOSE)

    for name, of in whole["services"].items():
        for folder in mounted(name).values() if "volumes" in of else ():
            assert folder.is_dir(), f"{name}: {folder}"
        for volume in of.get("volumes", ()):
            assert volume.startswith(".") or volume.partition(":")[0] in whole["volumes"]
        assert set(of.get("networks", ())) <= set(whole["networks"])
        assert set(of.get("secrets", ())) <= set(whole["secrets"])
    assert (HERE / service("mirrord")["build"]).resolve() == ROOT
    assert set(service("mirrord")["networks"]) & set(service("prometheus")["networks"]), "who asks must reach it"
    assert set(service("mirrord")["networks"]) & set(service("registry")["networks"])


def test_mirrord_waits_longer_than_it_takes_to_drain() -> None:
    assert service("mirrord")["stop_grace_period"] == "45s"


def test_grafana_finds_its_data_source_and_the_dashboards() -> None:
    provisioning = "/etc/grafana/provisioning"
    (source,) = load(outside("grafana", f"{provisioning}/datasources") / "prometheus.yaml")["datasources"]
    (provider,) = load(outside("grafana", f"{provisioning}/dashboards") / "mirrord.yaml")["providers"]
    home = outside("grafana", service("grafana")["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    dashboards = [
        json.loads(file.read_text("utf-8")) for file in outside("grafana", provider["options"]["path"]).glob("*.json")
    ]

    assert source["url"] == "http://prometheus:9090"
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert {dashboard["uid"] for dashboard in dashboards} == {"mirrord", "mirrord-once"}
    assert json.loads(home.read_text("utf-8"))["uid"] == "mirrord"
    for dashboard in dashboards:
        chosen = {f"${{{one['name']}}}" for one in dashboard["templating"]["list"] if one["type"] == "datasource"}
        chosen |= {source["uid"], "-- Grafana --", "grafana"}
        assert set(data_sources_of(dashboard)) <= chosen


def data_sources_of(part: Any) -> Iterator[str]:
    """Yield the uid of every data source that a dashboard names."""
    if isinstance(part, dict):
        if isinstance(part.get("datasource"), dict):
            yield part["datasource"]["uid"]
        for value in part.values():
            yield from data_sources_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from data_sources_of(value)


def place_prometheus(directory: Path, *, hurry: bool = False) -> Path:
    """Write prometheus.yml, and its alerts, to where they are outside of the container.

    Args:
        directory: Where they are written.
        hurry: Whether every interval is a second, so that a test need not wait for one.
    """
    text = outside("prometheus", "/etc/prometheus/prometheus.yml").read_text("utf-8")
    (rules,) = yaml.safe_load(text)["rule_files"]
    alerts = outside("prometheus", rules).read_text("utf-8")
    text = text.replace(rules, str(directory / "alerts.yaml"))
    if hurry:
        text, alerts = (re.sub(r"(interval: )\w+", r"\g<1>1s", one) for one in (text, alerts))
    (directory / "alerts.yaml").write_text(alerts, "utf-8")
    (directory / "prometheus.yml").write_text(text, "utf-8")
    return directory / "prometheus.yml"


@pytest.mark.integration
def test_promtool_takes_the_file_of_prometheus_and_its_alerts(tmp_path: Path, require_tool: RequireTool) -> None:
    require_tool("promtool")

    said = promtool("check", "config", str(place_prometheus(tmp_path)))

    assert "1 rule files found" in said
    assert re.search(r"SUCCESS: \d+ rules found", said)


@pytest.mark.integration
def test_script_makes_secrets_that_containers_can_read_and_others_cannot_reach(tmp_path: Path) -> None:
    script = shutil.copy(HERE / "prepare.sh", tmp_path)
    subprocess.run(["/bin/sh", script], check=True, timeout=30)
    first = (tmp_path / "secrets/token").read_text("utf-8")

    subprocess.run(["/bin/sh", script], check=True, timeout=30)

    assert (tmp_path / "secrets/token").read_text("utf-8") == first
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    names = {Path(secret["file"]).name for secret in load(COMPOSE)["secrets"].values()}
    assert {file.name for file in (tmp_path / "secrets").iterdir()} == names
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "secrets").iterdir()} == {0o444}


class Stack:
    """The services of the file as processes: mirrord by its command and environment, at places of this machine."""

    def __init__(self, directory: Path, mirrord: Mirrord, source: DockerRegistry, registry: DockerRegistry) -> None:
        self.port = free_port()
        rules = outside("mirrord", "/etc/mirrord/mirrord.yaml").read_text("utf-8")
        rules = rules.replace("registry:5000", registry.address)
        rules = rules.replace("registries:\n", f'registries:\n  "{source.address}": {{plain_http: true}}\n')
        for name in SOURCES:
            assert f"source: {name}\n" in rules
            rules = rules.replace(name, f"{source.address}/{name.partition('/')[2]}")
        (directory / "mirrord.yaml").write_text(rules, "utf-8")
        shutil.copy(HERE / "prepare.sh", directory)
        subprocess.run(["/bin/sh", str(directory / "prepare.sh")], check=True, timeout=30)
        places = {
            "/etc/mirrord/mirrord.yaml": str(directory / "mirrord.yaml"),
            "/var/lib/mirrord": str(directory / "state"),
            "/run/secrets": str(directory / "secrets"),
            ":8080": f":{self.port}",
        }
        self.env = {name: str(value) for name, value in service("mirrord")["environment"].items()}
        for inside, out in places.items():
            assert any(inside in value for value in self.env.values()), inside
            self.env = {name: value.replace(inside, out) for name, value in self.env.items()}
        self.mirrord = mirrord
        self.process = mirrord.start(*service("mirrord")["command"], env=self.env)

    def healthy(self) -> bool:
        """Say what the service's own check of its health says."""
        _, program, *arguments = service("mirrord")["healthcheck"]["test"]
        assert program == "mirrord"
        return self.mirrord.run(*arguments, env=self.env).code == 0


@pytest.fixture
def stack(start_registry: StartRegistry, mirrord: Mirrord, tmp_path: Path, require_tool: RequireTool) -> Stack:
    require_tool("prometheus", "promtool")
    source, registry = start_registry(), start_registry()
    for number, tag in enumerate(("3.9", "3.10")):
        push_index(source, "pause", tag, number)
    push_index(source, "library/hello-world", "linux", 9)
    return Stack(tmp_path, mirrord, source, registry)


def push_index(source: DockerRegistry, repository: str, tag: str, number: int) -> None:
    """Push an image for the two platforms that the rules ask for."""
    children = []
    for offset, architecture in enumerate(("amd64", "arm64")):
        layers = [noise(10 * number + offset, 2000)]
        pushed = scenes.push_image(source, repository, f"{tag}-{architecture}", layers)
        size = int(
            source.send(
                "HEAD", f"/v2/{repository}/manifests/{pushed.digest}", headers={"Accept": scenes.MANIFEST}
            ).headers["content-length"]
        )
        platform = {"os": "linux", "architecture": architecture}
        children.append({"mediaType": scenes.MANIFEST, "digest": pushed.digest, "size": size, "platform": platform})
    media_type = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": children}).encode()
    scenes.put_manifest(source, repository, tag, index, media_type)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_stack_mirrors_is_healthy_and_seen_by_prometheus_with_all_alerts(stack: Stack, tmp_path: Path) -> None:
    stack.process.wait_until(stack.healthy, what="healthy", timeout_s=30)
    config = place_prometheus(tmp_path, hurry=True)
    port = free_port()
    text = config.read_text("utf-8").replace("mirrord:8080", f"127.0.0.1:{stack.port}")
    text = text.replace("127.0.0.1:9090", f"127.0.0.1:{port}")
    config.write_text(text, "utf-8")
    command = [str(argument) for argument in service("prometheus")["command"]]
    command = [argument.replace("/etc/prometheus/prometheus.yml", str(config)) for argument in command]
    command = [argument.replace("path=/prometheus", f"path={tmp_path / 'series'}") for argument in command]
    listen = f"--web.listen-address=127.0.0.1:{port}"

    with Process([tool("prometheus"), *command, listen], log_dir=tmp_path, name="prometheus", env={}) as prometheus:
        prometheus.wait_until(lambda: up(port) == {"mirrord": "up", "prometheus": "up"}, what="seeing it", timeout_s=30)
        prometheus.wait_until(
            lambda: alerts(port).keys() != set() and "unknown" not in alerts(port).values(), what="done", timeout_s=30
        )
        rated = alerts(port)
    status = stack.mirrord.run("status", env=stack.env)
    stack.process.stop()

    assert set(rated.values()) == {"ok"}
    assert {name for name in rated if not name.startswith("Mirrord")} == set()
    assert status.code == 0, status.stderr
    assert "Both mirrors are fresh" in status.stdout
    assert "hello-world  in sync" in status.stdout


def up(port: int) -> dict[str, str]:
    """Return how Prometheus finds its targets."""
    targets = asked(port, "targets").get("activeTargets", [])
    return {target["labels"]["job"]: target["health"] for target in targets}


def alerts(port: int) -> dict[str, str]:
    """Return whether Prometheus can work out each alert."""
    groups = asked(port, "rules").get("groups", [])
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}


def asked(port: int, path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=5) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
            return data
    except OSError:
        return {}
