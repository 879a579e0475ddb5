"""The single commands as processes, against Debian's docker-registry."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import RunMirrord, StartRegistry
from tests.integration.servers import Credentials, DockerRegistry


def test_copy_inspect_and_tags_work_on_a_real_registry(
    source: DockerRegistry, target: DockerRegistry, run_mirrord: RunMirrord
) -> None:
    pushed = scenes.push_image(source, "team/app", "1.0", [b"layer" * 1000])
    plain = ("--plain-http", source.address, "--plain-http", target.address)

    copied = run_mirrord("copy", f"{source.address}/team/app:1.0", f"{target.address}/mirror/app", *plain)
    inspected = run_mirrord("inspect", f"{target.address}/mirror/app:1.0", *plain, "--output", "json")
    listed = run_mirrord("tags", f"{target.address}/mirror/app", *plain)
    repositories = run_mirrord("repositories", target.address, *plain)

    assert copied.code == 0, copied.stderr
    assert json.loads(inspected.stdout)["digest"] == pushed.digest
    assert listed.stdout == "1.0\n"
    assert repositories.stdout == f"{target.address}/mirror/app\n"


def test_copy_of_a_single_image_leaves_the_state_of_the_service_alone(
    source: DockerRegistry, target: DockerRegistry, run_mirrord: RunMirrord, tmp_path: Path
) -> None:
    """In a container MIRRORD_STATE names what the service has open, just when somebody has to mend a tag by hand."""
    scenes.push_image(source, "team/app", "1.0", [b"one"])
    plain = ("--plain-http", source.address, "--plain-http", target.address)
    state = tmp_path / "state" / "state.db"

    copied = run_mirrord(
        "copy",
        f"{source.address}/team/app:1.0",
        f"{target.address}/mirror/app",
        *plain,
        env={"MIRRORD_STATE": f"sqlite:///{state}"},
    )

    assert copied.code == 0, copied.stderr
    assert not state.parent.exists()


@pytest.mark.covers("C17")
def test_delete_on_a_registry_that_deletes_by_digest_only_spares_other_tags(
    target: DockerRegistry, run_mirrord: RunMirrord
) -> None:
    shared = scenes.push_image(target, "app", "1.0", [b"one"])
    scenes.push_image(target, "app", "latest", [b"one"])
    alone = scenes.push_image(target, "app", "2.0", [b"two"])
    plain = ("--plain-http", target.address)

    refused = run_mirrord("delete", f"{target.address}/app:1.0", "--yes", *plain)
    done = run_mirrord("delete", f"{target.address}/app:2.0", "--yes", *plain)
    digests = run_mirrord("delete", f"{target.address}/app@{shared.digest}", "--yes", "--with-tags", *plain)

    assert refused.code == 4
    assert "DIGEST_HAS_TAGS" in refused.stderr
    assert done.code == 0, done.stderr
    assert alone.digest in done.stdout
    assert digests.code == 0, digests.stderr
    assert not run_mirrord("tags", f"{target.address}/app", *plain).stdout


def test_delete_says_how_to_switch_deletion_on(start_registry: StartRegistry, run_mirrord: RunMirrord) -> None:
    registry = start_registry(delete=False)
    pushed = scenes.push_image(registry, "app", "1.0", [b"one"])

    done = run_mirrord("delete", f"{registry.address}/app:1.0", "--yes", "--plain-http", registry.address)

    assert done.code == 1
    assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in done.stderr
    assert scenes.tag_digest(registry, "app", "1.0") == pushed.digest


@pytest.mark.covers("C33")
@pytest.mark.parametrize(("password", "code"), [("correct horse: battery", 0), ("wrong", 3)], ids=["right", "wrong"])
def test_auth_check_tells_whether_a_password_is_accepted(
    private_registry: DockerRegistry, run_mirrord: RunMirrord, tmp_path: Path, password: str, code: int
) -> None:
    assert isinstance(private_registry.credentials, Credentials)
    config = scenes.write_config(
        tmp_path,
        [{"name": "app", "source": "oci:./there", "targets": [f"{private_registry.address}/mirror/app"]}],
        {
            private_registry.address: {
                "plain_http": True,
                "username": private_registry.credentials.username,
                "password": {"env": "REGISTRY_PASSWORD"},
            }
        },
    )

    done = run_mirrord("auth", "check", "--push", "-c", str(config), env={"REGISTRY_PASSWORD": password})

    assert done.code == code, done.stdout
    assert ("push: yes" in done.stdout) is (code == 0)
    assert password not in f"{done.stdout}{done.stderr}"


def test_the_demo_stays_until_it_is_interrupted_and_ends_with_130(mirrord: Mirrord) -> None:
    process = mirrord.start("demo")
    process.wait_until(
        lambda: "Ctrl-C ends it" in process.stdout_file.read_text(encoding="utf-8"), what="ready", timeout_s=30
    )
    text = process.stdout_file.read_text(encoding="utf-8")
    exported = next(line.split()[1:] for line in text.splitlines() if "export MIRRORD_CONFIG=" in line)
    env = dict(assignment.split("=", 1) for assignment in exported)
    config = env["MIRRORD_CONFIG"]
    command = next(line.split()[1:] for line in text.splitlines() if "mirrord inspect" in line)

    inspected = mirrord.run(*command, env=env)
    url = next(line.split()[-1] for line in text.splitlines() if "the page" in line)
    status = mirrord.run("status", "--url", url, env=env)
    process.signal(signal.SIGINT)

    assert inspected.code == 0, inspected.stderr
    assert status.code == 0, status.stderr
    assert "All 3 mirrors are fresh" in status.stdout
    assert "linux/arm64" in inspected.stdout
    assert process.wait() == 130
    assert not Path(config).exists()
