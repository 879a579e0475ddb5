"""The service as a process, on real registries: it runs by its schedules, is asked, told, reloaded and ended."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.daemon import Daemon
from tests.integration.scenes import noise
from tests.integration.servers import Credentials, DockerRegistry

pytestmark = pytest.mark.timeout(120)

StartDaemon = Callable[..., Daemon]
Rules = Sequence[Mapping[str, object]]


@pytest.fixture
def start_daemon(mirrord: Mirrord) -> Iterator[StartDaemon]:
    """Start the service with a configuration; it is killed at the end at the latest."""
    with ExitStack() as running:

        def start(config: Path, **env: str) -> Daemon:
            return running.enter_context(Daemon(mirrord, config, env))

        yield start


def rule(name: str, source: DockerRegistry, target: DockerRegistry, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "source": f"{source.address}/team/{name}",
        "targets": [f"{target.address}/mirror/{name}"],
        **more,
    }


def configure(tmp_path: Path, rules: Rules, *registries: DockerRegistry, **settings: object) -> Path:
    entries = {registry.address: {"plain_http": True, **settings} for registry in registries}
    return scenes.write_config(tmp_path, rules, entries)


def state_of(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.get(f"rules/{name}")
    return found


def test_a_rule_runs_by_its_schedule_and_serves_what_changed(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    first = scenes.push_image(source, "team/app", "1", [noise(1, 5000)])
    daemon = start_daemon(
        configure(tmp_path, [rule("app", source, target, schedule="1s", freshness="1m")], source, target)
    )
    daemon.wait_until(lambda: scenes.tag_digest(target, "mirror/app", "1") == first.digest, "the first image")

    second = scenes.push_image(source, "team/app", "1", [noise(2, 5000)])
    daemon.wait_until(lambda: scenes.tag_digest(target, "mirror/app", "1") == second.digest, "the moved tag")
    daemon.wait_until(lambda: state_of(daemon, "app")["images"] == {"in_sync": 1}, "all in sync")

    status = daemon.get("status")
    assert status["verdict"]["level"] == "ok"
    (image,) = daemon.get("images?rule=app")["images"]
    assert (image["digest"], image["served"], image["state"]) == (second.digest, second.digest, "in_sync")
    runs = daemon.get("runs?rule=app&limit=100")["runs"]
    assert {run["cause"] for run in runs} <= {"start", "schedule"}
    assert sum(run["outcomes"].get("copied", 0) for run in runs) == 2


def test_an_unchanged_tag_costs_no_request_on_the_target(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    for number in range(20):
        scenes.push_image(source, "team/app", f"v{number}", [noise(number, 2000)])
    daemon = start_daemon(configure(tmp_path, [rule("app", source, target)], source, target))
    first = daemon.wait_for_run(daemon.sync("app"))
    source.forget_requests()
    target.forget_requests()

    daemon.process.signal(signal.SIGUSR1)
    daemon.wait_until(lambda: state_of(daemon, "app")["last_run"]["id"] != first["id"], "the second run")
    second = state_of(daemon, "app")["last_run"]

    assert (first["outcomes"]["copied"], second["outcomes"]["in_sync"]) == (20, 20)
    assert target.requests() == []
    looks = [request for request in source.requests() if "/manifests/" in request.path]
    assert (len(looks), {request.method for request in looks}) == (20, {"HEAD"})


def test_a_tag_that_somebody_deleted_on_the_target_is_back_after_sync_now(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    image = scenes.push_image(source, "team/app", "1", [noise(1, 1000)])
    daemon = start_daemon(configure(tmp_path, [rule("app", source, target)], source, target))
    daemon.wait_for_run(daemon.sync("app"))
    target.send("DELETE", f"/v2/mirror/app/manifests/{image.digest}")
    gone = scenes.tag_digest(target, "mirror/app", "1")

    run = daemon.wait_for_run(daemon.sync("app"))

    assert gone is None
    assert run["outcomes"]["copied"] == 1
    assert scenes.tag_digest(target, "mirror/app", "1") == image.digest


def test_metrics_agree_with_the_report_of_the_run(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    shared = noise(1, 50_000)
    for number in range(6):
        scenes.push_image(source, "team/app", f"v{number}", [shared, noise(100 + number, 3000)])
    scenes.push_image(source, "team/other", "v0", [shared])
    rules = [rule("app", source, target), rule("other", source, target), rule("missing", source, target)]
    daemon = start_daemon(configure(tmp_path, rules, source, target))

    runs = {name: daemon.wait_for_run(daemon.sync(name)) for name in ("app", "other", "missing")}
    metrics = daemon.metrics()

    at, host = f'target="{target.address}"', target.address
    blobs = [run["blobs"] for run in runs.values()]
    for outcome in ("uploaded", "mounted", "existed"):
        counted = metrics[f'mirrord_blobs_total{{outcome="{outcome}",target="{host}"}}']
        assert counted == sum(blob[outcome]["count"] for blob in blobs), outcome
    written = metrics[f'mirrord_bytes_written_total{{registry="{host}"}}']
    assert written == sum(blob["uploaded"]["bytes"] for blob in blobs)
    for name in ("app", "other"):
        copied = metrics[f'mirrord_images_copied_total{{result="copied",rule="{name}",{at}}}']
        assert copied == runs[name]["outcomes"]["copied"]
        assert metrics[f'mirrord_images{{rule="{name}",state="in_sync",{at}}}'] == runs[name]["outcomes"]["copied"]
    assert metrics['mirrord_runs_total{result="failed",rule="missing"}'] == 1
    assert metrics['mirrord_runs_total{result="ok",rule="app"}'] == 1
    asked = sum(run["requests"].get(host, 0) for run in runs.values())
    counted = sum(v for k, v in metrics.items() if k.startswith("mirrord_requests_total") and f'"{host}"' in k)
    assert counted == asked
    assert runs["missing"]["problems"][0]["remedy"]


@pytest.mark.covers("C46", "D90", "E106")
def test_a_file_that_is_not_valid_is_refused_whole_and_the_one_before_stays(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 1000)])
    scenes.push_image(source, "team/new", "1", [noise(2, 1000)])
    config = configure(tmp_path, [rule("app", source, target)], source, target)
    daemon = start_daemon(config)
    good = config.read_text()

    config.write_text(good.replace('"app"', '"app", "shedule": "1m"', 1))
    daemon.wait_until(lambda: daemon.get("status")["config"]["error"] is not None, "the refusal")
    refused = daemon.get("status")
    metrics = daemon.metrics()
    run = daemon.wait_for_run(daemon.sync("app"))
    configure(tmp_path, [rule("app", source, target), rule("new", source, target)], source, target)
    daemon.wait_until(lambda: len(daemon.get("rules")) == 2, "the second rule")
    after = daemon.get("status")

    assert "RELOAD_REJECTED" in refused["config"]["error"]
    assert 'did you mean "schedule"' in refused["config"]["error"]
    assert metrics["mirrord_config_last_reload_successful"] == 0
    assert run["outcomes"]["copied"] == 1
    assert after["config"]["error"] is None
    assert daemon.metrics()["mirrord_config_last_reload_successful"] == 1
    assert daemon.status_of("readyz") == 200


def test_a_config_map_that_is_swapped_is_read_and_so_is_one_on_a_signal(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    for number in (1, 2):
        (mount / f"..{number}").mkdir(parents=True)
        rules = [rule(f"app{index}", source, target) for index in range(number)]
        configure(mount / f"..{number}", rules, source, target)
    (mount / "..data").symlink_to("..1")
    (mount / "config.yaml").symlink_to("..data/config.yaml")
    daemon = start_daemon(mount / "config.yaml")
    before = [found["name"] for found in daemon.get("rules")]

    (mount / "..new").symlink_to("..2")
    (mount / "..new").replace(mount / "..data")
    daemon.wait_until(lambda: len(daemon.get("rules")) == 2, "the swapped rules")
    loaded = daemon.get("status")["config"]["loaded_at"]
    daemon.process.signal(signal.SIGHUP)
    daemon.wait_until(lambda: daemon.get("status")["config"]["loaded_at"] != loaded, "the reload on SIGHUP")

    assert before == ["app0"]


def test_signal_usr1_runs_every_rule(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/one", "1", [noise(1, 1000)])
    scenes.push_image(source, "team/two", "1", [noise(2, 1000)])
    daemon = start_daemon(
        configure(tmp_path, [rule("one", source, target), rule("two", source, target)], source, target)
    )

    daemon.process.signal(signal.SIGUSR1)
    daemon.wait_until(
        lambda: all((state_of(daemon, name)["last_run"] or {}).get("finished") for name in ("one", "two")), "both runs"
    )

    assert {state_of(daemon, name)["last_run"]["cause"] for name in ("one", "two")} == {"signal"}


@pytest.mark.covers("D91")
def test_a_password_that_is_rotated_is_used_without_a_restart(
    private_registry: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    scenes.push_image(private_registry, "team/app", "1", [noise(1, 1000)])
    good = private_registry.credentials
    assert good is not None
    password = tmp_path / "password"
    password.write_text("wrong")
    secret = {"plain_http": True, "username": good.username, "password": {"file": str(password)}}
    config = scenes.write_config(
        tmp_path,
        [rule("app", private_registry, target)],
        {private_registry.address: secret, target.address: {"plain_http": True}},
    )
    daemon = start_daemon(config)
    refused = daemon.wait_for_run(daemon.sync("app"))

    password.write_text(good.password)
    accepted = daemon.wait_for_run(daemon.sync("app"))

    assert refused["result"] == "failed"
    assert "wrong" not in json.dumps(refused["problems"])
    assert accepted["outcomes"]["copied"] == 1


def test_ending_it_lets_images_finish_and_leaves_the_rest_for_the_next_start(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    for number in range(40):
        scenes.push_image(source, "team/app", f"v{number:02}", [noise(number, 200_000)])
    rules = [rule("app", source, target)]
    daemon = start_daemon(configure(tmp_path, rules, source, target, bandwidth="2MiB"))
    run = daemon.sync("app")
    daemon.wait_until(lambda: (state_of(daemon, "app")["running"] or {}).get("done", 0) > 2, "some images")

    code = daemon.end()
    served = [number for number in range(40) if scenes.tag_digest(target, "mirror/app", f"v{number:02}")]
    configure(tmp_path, rules, source, target)
    daemon.start()
    interrupted = daemon.get(f"runs/{run}")
    again = daemon.wait_for_run(daemon.sync("app"))

    assert code == 143
    assert interrupted["result"] == "interrupted"
    assert 2 < interrupted["outcomes"]["copied"] < 40
    assert len(served) == interrupted["outcomes"]["copied"]
    assert again["outcomes"]["copied"] == 40 - len(served)
    assert max(scenes.uploads_finished(target.requests()).values()) == 1
    assert [record["event"] for record in daemon.log()][-1] != "error"


def test_a_second_signal_ends_it_at_once(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 3_000_000)])
    config = configure(tmp_path, [rule("app", source, target)], source, target, bandwidth="100KiB")
    daemon = start_daemon(config, MIRRORD_DRAIN_TIMEOUT="60s")
    daemon.sync("app")
    daemon.wait_until(lambda: bool((state_of(daemon, "app")["running"] or {}).get("transfers")), "a transfer")

    daemon.process.signal(signal.SIGTERM)
    daemon.wait_until(lambda: daemon.status_of("readyz") == 503, "the drain")
    code = daemon.end()

    assert code == 143
    assert scenes.tag_digest(target, "mirror/app", "1") is None


def test_the_drain_timeout_breaks_off_what_takes_longer(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 3_000_000)])
    config = configure(tmp_path, [rule("app", source, target)], source, target, bandwidth="100KiB")
    daemon = start_daemon(config, MIRRORD_DRAIN_TIMEOUT="1s")
    run = daemon.sync("app")
    daemon.wait_until(lambda: bool((state_of(daemon, "app")["running"] or {}).get("transfers")), "a transfer")

    code = daemon.end()
    daemon.start()

    assert code == 143
    assert daemon.get(f"runs/{run}")["result"] == "interrupted"


@pytest.mark.covers("D54", "E117")
def test_a_second_process_on_the_same_state_is_refused(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, mirrord: Mirrord, tmp_path: Path
) -> None:
    config = configure(tmp_path, [rule("app", source, target)], source, target)
    daemon = start_daemon(config)

    second = mirrord.run("sync", "-c", str(config), env={**daemon.env, "MIRRORD_LISTEN": "127.0.0.1:0"})
    once = mirrord.run("sync", "--once", "-c", str(config), env=daemon.env)

    assert (second.code, once.code) == (3, 3)
    for done in (second, once):
        assert "STATE_LOCKED" in done.stderr
        assert str(daemon.process.pid) in done.stderr


def test_a_state_that_somebody_removed_is_told_though_nothing_is_written(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    """SQLite itself goes on with the file that has no name any more, and all of it is lost at the end."""
    config = configure(tmp_path, [rule("app", source, target)], source, target)
    daemon = start_daemon(config)
    assert daemon.status_of("/readyz") == 200

    Path(daemon.env["MIRRORD_STATE"].removeprefix("sqlite://")).unlink()

    daemon.wait_until(lambda: daemon.status_of("/readyz") == 503, "the service is not ready")
    assert daemon.metrics()["mirrord_state_usable"] == 0
    daemon.wait_until(
        lambda: any("was removed or replaced" in str(line.get("error")) for line in daemon.log()), "the log says why"
    )


@pytest.mark.covers("E102")
def test_it_does_not_listen_to_others_without_a_token(mirrord: Mirrord, tmp_path: Path) -> None:
    config = scenes.write_config(tmp_path, [], {})

    done = mirrord.run("sync", "-c", str(config), env={"MIRRORD_LISTEN": "0.0.0.0:0"})

    assert done.code == 2
    assert "can be reached from other machines: set MIRRORD_API_TOKEN_FILE" in done.stderr


def test_an_address_that_is_taken_is_said_so(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    config = configure(tmp_path, [rule("app", source, target)], source, target)
    env = {"MIRRORD_LISTEN": source.address, "MIRRORD_STATE": f"sqlite:///{tmp_path}/state.db"}

    done = mirrord.run("sync", "-c", str(config), env=env)

    assert done.code == 3
    assert "LISTEN_FAILED" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_and_healthcheck_ask_the_running_service(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, mirrord: Mirrord, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 1000)])
    daemon = start_daemon(configure(tmp_path, [rule("app", source, target)], source, target))
    daemon.wait_for_run(daemon.sync("app"))

    status = mirrord.run("status", env=daemon.env)
    as_json = mirrord.run("status", "--output", "json", env=daemon.env)
    healthy = mirrord.run("healthcheck", env=daemon.env)
    daemon.end()
    dead = mirrord.run("healthcheck", env=daemon.env)

    assert (status.code, healthy.code, dead.code) == (0, 0, 1), status.stderr + healthy.stderr
    assert "mirror is fresh" in status.stdout
    assert "app" in status.stdout
    assert json.loads(as_json.stdout)["rules"][0]["images"] == {"in_sync": 1}


def test_a_run_once_that_remembers_is_seen_by_the_service_later(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, mirrord: Mirrord, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 1000)])
    config = configure(tmp_path, [rule("app", source, target, schedule="1h")], source, target)
    state = {"MIRRORD_STATE": f"sqlite:///{mirrord.work_dir}/state.db"}
    first = mirrord.run("sync", "--once", "-c", str(config), env=state)
    target.forget_requests()

    second = mirrord.run("sync", "--once", "-c", str(config), "--output", "json", env=state)
    asked = target.requests()
    daemon = start_daemon(config)

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert asked == []
    assert json.loads(second.stdout)["totals"]["in_sync"] == 1
    known = state_of(daemon, "app")
    assert known["last_run"]["cause"] == "once"
    assert known["images"] == {"in_sync": 1}


def test_registries_that_die_and_come_back_cost_runs_and_nothing_else(
    source: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    image = scenes.push_image(source, "team/app", "1", [noise(1, 1000)])
    daemon = start_daemon(configure(tmp_path, [rule("app", source, target)], source, target))
    target.kill()
    failed = daemon.wait_for_run(daemon.sync("app"))
    while_dead = state_of(daemon, "app")

    target.start()
    done = daemon.wait_for_run(daemon.sync("app"))

    assert failed["result"] == "failed"
    assert while_dead["problem"]["remedy"]
    assert while_dead["behind_since"] is not None
    assert done["result"] == "ok", done["problems"]
    assert scenes.tag_digest(target, "mirror/app", "1") == image.digest
    assert state_of(daemon, "app")["behind_since"] is None


def test_credentials_are_nowhere_in_what_the_service_tells(
    private_registry: DockerRegistry, target: DockerRegistry, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    scenes.push_image(private_registry, "team/app", "1", [noise(1, 1000)])
    good = private_registry.credentials
    assert good is not None
    canary = Credentials(good.username, "canary-4711-secret")
    (tmp_path / "password").write_text(canary.password)
    secret = {"plain_http": True, "username": good.username, "password": {"file": str(tmp_path / "password")}}
    config = scenes.write_config(
        tmp_path,
        [rule("app", private_registry, target)],
        {private_registry.address: secret, target.address: {"plain_http": True}},
    )
    daemon = start_daemon(config, MIRRORD_LOG_LEVEL="debug")

    daemon.wait_for_run(daemon.sync("app"))
    told = [daemon.send("GET", path)[1] for path in ("api/v1/status", "api/v1/runs", "api/v1/images", "metrics", "")]
    daemon.end()

    told += [daemon.process.stderr_file.read_bytes(), daemon.process.stdout_file.read_bytes()]
    told += [file.read_bytes() for file in daemon.state_file.parent.glob("state.db*")]
    assert all(canary.password.encode() not in text for text in told)
    assert all(daemon.token.encode() not in text for text in told)
