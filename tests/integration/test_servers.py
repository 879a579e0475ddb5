"""The bench itself: servers, builders and witnesses do what tests rely on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import sys
import time
from pathlib import Path

import pytest

from tests.integration.command import Mirrord
from tests.integration.conftest import RequireTool, RunMirrord, StartFront, StartRegistry
from tests.integration.processes import Process, ProcessError
from tests.integration.servers import Credentials, DockerRegistry
from tests.integration.tools import Buildah, Skopeo

SECRET = Credentials("mirror", "s3cret")
INDEX = "application/vnd.oci.image.index.v1+json"


def push_blob(registry: DockerRegistry, repository: str, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    location = registry.send("POST", f"/v2/{repository}/blobs/uploads/").headers["location"]
    path = location.removeprefix(registry.url)
    answer = registry.send("PUT", f"{path}&digest={digest}", body=content)
    assert answer.status == 201
    return digest


def test_registry_logs_each_request_once(source: DockerRegistry) -> None:
    source.send("GET", "/v2/")
    source.send("HEAD", "/v2/team/app/manifests/latest")
    source.send("GET", "/v2/team/app/tags/list?n=5")

    assert source.requests() == [
        ("GET", "/v2/", 200),
        ("HEAD", "/v2/team/app/manifests/latest", 404),
        ("GET", "/v2/team/app/tags/list?n=5", 404),
    ]
    assert source.requests()[-1].route == "/v2/team/app/tags/list"


def test_registry_counts_from_the_moment_it_was_told_to_forget(source: DockerRegistry) -> None:
    source.send("GET", "/v2/")
    source.forget_requests()

    source.send("GET", "/v2/_catalog")

    assert source.requests() == [("GET", "/v2/_catalog", 200)]


def test_registry_counts_the_bytes_of_long_answers(source: DockerRegistry) -> None:
    content = bytes(range(256)) * 20_000
    digest = push_blob(source, "team/app", content)
    source.forget_requests()

    answer = source.send("GET", f"/v2/team/app/blobs/{digest}")

    assert answer.body == content
    assert source.bytes_sent() == len(content)


def test_registry_asks_for_its_password(private_registry: DockerRegistry) -> None:
    refused = private_registry.send("GET", "/v2/", authorise=False)

    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert private_registry.send("GET", "/v2/").status == 200


@pytest.mark.parametrize("crash", [False, True], ids=["restart", "kill"])
def test_registry_keeps_port_content_and_log_over_a_new_start(source: DockerRegistry, crash: bool) -> None:
    digest = push_blob(source, "team/app", b"content")
    before = (source.address, len(source.requests()))

    if crash:
        source.kill()
        source.start()
    else:
        source.restart()

    assert source.send("HEAD", f"/v2/team/app/blobs/{digest}").status == 200
    assert (source.address, len(source.requests()) - 1) == before


def test_registry_keeps_upload_sessions_over_a_crash(source: DockerRegistry) -> None:
    location = source.send("POST", "/v2/team/app/blobs/uploads/").headers["location"]
    path = location.removeprefix(source.url)

    source.kill()
    source.start()

    assert source.send("GET", path).status == 204


@pytest.mark.parametrize(("delete", "status"), [(True, 202), (False, 405)], ids=["on", "off"])
def test_registry_deletes_blobs_only_where_it_may(start_registry: StartRegistry, delete: bool, status: int) -> None:
    registry = start_registry(delete=delete)
    digest = push_blob(registry, "team/app", b"content")

    assert registry.send("DELETE", f"/v2/team/app/blobs/{digest}").status == status


def test_registry_refuses_writes_when_read_only(start_registry: StartRegistry) -> None:
    registry = start_registry(read_only=True)

    assert registry.send("POST", "/v2/team/app/blobs/uploads/").status == 405


def test_registry_answers_with_relative_locations_on_request(start_registry: StartRegistry) -> None:
    registry = start_registry(relative_locations=True)

    assert registry.send("POST", "/v2/team/app/blobs/uploads/").headers["location"].startswith("/v2/")


def test_registry_serves_the_file_that_a_test_damaged(source: DockerRegistry) -> None:
    digest = push_blob(source, "team/app", b"content")

    source.blob_file(digest).write_bytes(b"rotten!")

    assert source.send("GET", f"/v2/team/app/blobs/{digest}").body == b"rotten!"


def test_front_asks_for_a_password_in_html(start_registry: StartRegistry, start_tls_front: StartFront) -> None:
    front = start_tls_front(start_registry(), credentials=SECRET)

    refused = front.send("GET", "/v2/", authorise=False)

    assert refused.status == 401
    assert refused.headers["content-type"].startswith("text/html")
    assert front.send("GET", "/v2/").status == 200


def test_front_is_trusted_through_its_own_authority_alone(source: DockerRegistry, start_tls_front: StartFront) -> None:
    front = start_tls_front(source)
    front.ca_file = Path(ssl.get_default_verify_paths().openssl_cafile)

    with pytest.raises(ssl.SSLCertVerificationError):
        front.send("GET", "/v2/")


@pytest.mark.parametrize(("forwarded", "scheme"), [(True, "https"), (False, "http")], ids=["told", "untold"])
def test_front_decides_the_scheme_of_locations(
    source: DockerRegistry, start_tls_front: StartFront, forwarded: bool, scheme: str
) -> None:
    front = start_tls_front(source, forwarded_proto=forwarded)

    location = front.send("POST", "/v2/team/app/blobs/uploads/").headers["location"]

    assert location.startswith(f"{scheme}://{front.address}/v2/team/app/blobs/uploads/")


@pytest.mark.parametrize(("limited", "status"), [(True, 413), (False, 202)], ids=["limited", "unlimited"])
def test_front_limits_bodies_only_by_default_of_nginx(
    source: DockerRegistry, start_tls_front: StartFront, limited: bool, status: int
) -> None:
    front = start_tls_front(source, limit_bodies=limited)
    location = front.send("POST", "/v2/team/app/blobs/uploads/").headers["location"]

    answer = front.send(
        "PATCH",
        location.removeprefix(front.url),
        headers={"Content-Type": "application/octet-stream"},
        body=bytes(2 << 20),
    )

    assert answer.status == status


def test_front_tells_what_it_forwarded_from_what_it_refused(
    source: DockerRegistry, start_tls_front: StartFront
) -> None:
    front = start_tls_front(source, credentials=SECRET)
    front.send("GET", "/v2/_catalog", authorise=False)
    front.send("GET", "/v2/_catalog")

    assert front.requests() == [("GET", "/v2/_catalog", 401), ("GET", "/v2/_catalog", 200)]
    assert front.forwarded() == [("GET", "/v2/_catalog", 200)]


def test_builder_makes_an_image_that_runs(
    source: DockerRegistry, skopeo: Skopeo, buildah: Buildah, busybox_layout: Path
) -> None:
    skopeo.push(busybox_layout, source, "team/busybox:1")

    assert buildah.run_image(source, "team/busybox:1", "/bin/busybox", "echo", "it runs") == "it runs\n"


def test_builder_makes_an_index_whose_images_share_a_layer(
    source: DockerRegistry, skopeo: Skopeo, busybox_index_layout: Path
) -> None:
    digest = skopeo.push(busybox_index_layout, source, "team/busybox:1")

    index = json.loads(skopeo.manifest(source, "team/busybox:1"))
    children = [json.loads(skopeo.manifest(source, f"team/busybox@{m['digest']}")) for m in index["manifests"]]
    assert index.get("mediaType", INDEX) == INDEX
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64", "s390x"]
    assert len({child["layers"][0]["digest"] for child in children}) == 1
    assert len({child["layers"][1]["digest"] for child in children}) == 3
    head = source.send("HEAD", "/v2/team/busybox/manifests/1", headers={"Accept": INDEX})
    assert head.headers["docker-content-digest"] == digest


def test_skopeo_pushes_the_formats_of_docker(
    source: DockerRegistry, skopeo: Skopeo, busybox_index_layout: Path
) -> None:
    skopeo.push(busybox_index_layout, source, "team/busybox:1", docker_format=True)

    index = json.loads(skopeo.manifest(source, "team/busybox:1"))
    assert index["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert {m["mediaType"] for m in index["manifests"]} == {"application/vnd.docker.distribution.manifest.v2+json"}


def test_skopeo_copies_between_plain_private_and_tls_servers(
    *,
    source: DockerRegistry,
    private_registry: DockerRegistry,
    start_registry: StartRegistry,
    start_tls_front: StartFront,
    skopeo: Skopeo,
    busybox_index_layout: Path,
    tmp_path: Path,
) -> None:
    front = start_tls_front(start_registry(), credentials=SECRET)
    digest = skopeo.push(busybox_index_layout, source, "team/busybox:1")

    skopeo.copy(source, "team/busybox:1", private_registry, "copy/busybox:1")
    skopeo.copy(private_registry, "copy/busybox:1", front, "copy/busybox:1")
    skopeo.pull(front, "copy/busybox:1", tmp_path / "pulled")

    assert skopeo.digest(front, "copy/busybox:1") == digest
    assert skopeo.tags(front, "copy/busybox") == ["1"]
    assert (tmp_path / "pulled/index.json").exists()


def test_process_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    script = "import sys; sys.exit('no such storage driver')"
    process = Process([sys.executable, "-c", script], log_dir=tmp_path, name="broken")
    process.start()

    with pytest.raises(ProcessError, match="no such storage driver"):
        process.wait_until(lambda: False, what="answering")


def test_process_is_killed_with_its_children(tmp_path: Path) -> None:
    script = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    process = Process([sys.executable, "-c", script], log_dir=tmp_path, name="parent")
    process.start()
    process.wait_until(lambda: process.stdout_file.read_text().endswith("\n"), what="having a child")
    child = Path("/proc", process.stdout_file.read_text().strip(), "stat")

    process.kill()

    deadline = time.monotonic() + 10  # the kernel ends it when it has its next turn
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(status: Path) -> bool:
    try:
        return status.read_text().split()[2] != "Z"
    except OSError:
        return False


def test_missing_tool_skips_a_test_and_fails_it_in_ci(require_tool: RequireTool) -> None:
    expected = pytest.fail.Exception if os.environ.get("CI") == "true" else pytest.skip.Exception

    with pytest.raises(expected, match="not installed: no-such-tool"):
        require_tool("sh", "no-such-tool")


def test_command_line_runs_without_the_surroundings_of_the_user(
    run_mirrord: RunMirrord, mirrord: Mirrord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRRORD_LOG_LEVEL", "no such level")

    done = run_mirrord("version")

    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("mirrord")
    assert not list(mirrord.work_dir.iterdir())


def test_command_line_that_stays_is_stopped_by_a_signal(mirrord: Mirrord) -> None:
    process = mirrord.start("version")

    process.kill()

    assert process.wait() == -signal.SIGKILL
    assert not process.alive
