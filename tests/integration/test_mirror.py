"""The main job on real registries: every selected image on every target, byte for byte, nothing moved twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.integration import scenes
from tests.integration.command import Mirrord
from tests.integration.conftest import StartFront, StartRegistry
from tests.integration.scenes import noise
from tests.integration.servers import Credentials, DockerRegistry
from tests.integration.tools import Buildah, Skopeo

SECRET = Credentials("mirror", "correct horse: battery")
MIB = 1024 * 1024
PEAK_OF_CHILD = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.covers("C2", "C6")
def test_a_real_image_behind_tls_and_a_password_arrives_and_runs(  # noqa: PLR0917 - fixtures
    start_registry: StartRegistry,
    start_tls_front: StartFront,
    target: DockerRegistry,
    busybox_index_layout: Path,
    buildah: Buildah,
    skopeo: Skopeo,
    mirrord: Mirrord,
    tmp_path: Path,
) -> None:
    front = start_tls_front(start_registry(), credentials=SECRET)
    digest = skopeo.push(busybox_index_layout, front, "team/busybox:1.35")
    layout = tmp_path / "airgap"
    (tmp_path / "password").write_text(f"{SECRET.password}\n")
    config = scenes.write_config(
        tmp_path,
        [
            {
                "name": "busybox",
                "source": f"{front.address}/team/busybox",
                "targets": [f"{target.address}/mirror/busybox", f"oci:{layout}"],
            }
        ],
        {
            front.address: {
                "username": SECRET.username,
                "password": {"file": str(tmp_path / "password")},
                "tls": {"ca_file": str(front.ca_file)},
            },
            **scenes.plain(target),
        },
    )

    done = mirrord.run("sync", "--once", "-c", str(config))

    assert done.code == 0, done.stderr
    assert skopeo.digest(target, "mirror/busybox:1.35") == digest
    copied = tmp_path / "copied"
    skopeo.pull(target, "mirror/busybox:1.35", copied)
    assert json.loads((copied / "index.json").read_text())["manifests"][0]["digest"] == digest
    assert json.loads((layout / "index.json").read_text())["manifests"][0]["digest"] == digest
    back = skopeo.push(layout, target, "again/busybox:1.35")
    assert back == digest
    assert buildah.run_image(target, "mirror/busybox:1.35", "/bin/busybox", "echo", "it runs") == "it runs\n"


@pytest.mark.covers("C22")
def test_a_second_pass_writes_nothing_and_looks_once_at_each_tag_and_side(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    for number in range(5):
        scenes.push_image(source, "team/app", f"v{number}", [noise(1, 5000), noise(100 + number, 5000)])
    config = scenes.write_config(
        tmp_path,
        [{"name": "app", "source": f"{source.address}/team/app", "targets": [f"{target.address}/mirror/app"]}],
        scenes.plain(source, target),
    )
    source.forget_requests()

    first = mirrord.run("sync", "--once", "-c", str(config))
    read = scenes.blob_reads(source.requests())
    uploaded = scenes.uploads_finished(target.requests())
    source.forget_requests()
    target.forget_requests()
    second = mirrord.run("sync", "--once", "-c", str(config))

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert len(read) == 7  # one config, the shared layer, five of their own
    assert set(read.values()) == {1}
    assert uploaded == read
    for registry in (source, target):
        requests = registry.requests()
        assert scenes.writes(requests) == []
        looks = Counter(request.path for request in requests if "/manifests/" in request.path)
        assert len(looks) == 5
        assert set(looks.values()) == {1}
        assert all(request.method == "HEAD" for request in requests if "/manifests/" in request.path)


def test_twenty_repositories_with_the_same_layers_cost_one_upload_each_and_mounts(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    layers = [noise(seed, 100_000) for seed in range(5)]
    for number in range(20):
        scenes.push_image(source, f"same/r{number:02}", "v1", layers)
    config = scenes.write_config(
        tmp_path,
        [{"name": "same", "source": f"{source.address}/same/*", "targets": [f"{target.address}/m/{{repository}}"]}],
        scenes.plain(source, target),
    )
    source.forget_requests()

    done = mirrord.run("sync", "--once", "-c", str(config))

    assert done.code == 0, done.stderr
    requests = target.requests()
    assert sorted(scenes.uploads_finished(requests).values()) == [1] * 6  # five layers and the config
    assert sorted(scenes.mounts(requests).values()) == [19] * 6
    assert set(scenes.blob_reads(source.requests()).values()) == {1}


@pytest.mark.covers("D99")
def test_three_targets_cost_one_read_of_the_source(
    source: DockerRegistry, start_registry: StartRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    targets = [start_registry() for _ in range(3)]
    pushed = scenes.push_image(source, "team/app", "v1", [noise(seed, 3 * MIB) for seed in range(3)])
    config = scenes.write_config(
        tmp_path,
        [
            {
                "name": "app",
                "source": f"{source.address}/team/app:v1",
                "targets": [f"{target.address}/mirror/app" for target in targets],
            }
        ],
        scenes.plain(source, *targets),
    )
    source.forget_requests()

    done = mirrord.run("sync", "--once", "-c", str(config))

    assert done.code == 0, done.stderr
    assert scenes.blob_reads(source.requests()) == Counter(dict.fromkeys(pushed.blobs, 1))
    assert [scenes.tag_digest(target, "mirror/app", "v1") for target in targets] == [pushed.digest] * 3


def test_two_rules_for_one_image_share_its_read(
    source: DockerRegistry, start_registry: StartRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    targets = [start_registry() for _ in range(2)]
    pushed = scenes.push_image(source, "team/app", "v1", [noise(1, MIB)])
    config = scenes.write_config(
        tmp_path,
        [
            {"name": f"rule-{i}", "source": f"{source.address}/team/app", "targets": [f"{target.address}/mirror/app"]}
            for i, target in enumerate(targets)
        ],
        scenes.plain(source, *targets),
    )
    source.forget_requests()

    done = mirrord.run("sync", "--once", "-c", str(config))

    assert done.code == 0, done.stderr
    assert scenes.blob_reads(source.requests()) == Counter(dict.fromkeys(pushed.blobs, 1))


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.covers("C37")
def test_a_gibibyte_moves_in_little_memory(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    piece = noise(1, MIB)
    scenes.push_image(source, "team/huge", "v1", [piece * 1024])
    config = scenes.write_config(
        tmp_path,
        [{"name": "huge", "source": f"{source.address}/team/huge:v1", "targets": [f"{target.address}/mirror/huge"]}],
        scenes.plain(source, target),
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    sync = [sys.executable, "-m", "mirrord", "sync", "--once", "-c", str(config), "--no-progress"]
    # A small process in between: the kernel counts the memory of whoever forks into the peak of what it starts.
    measured = [sys.executable, "-c", PEAK_OF_CHILD, *sync]

    done = subprocess.run(measured, env=environment, capture_output=True, check=False, timeout=170)

    code, peak_kib = (int(word) for word in done.stdout.split()[-2:])
    assert code == 0, done.stderr.decode()
    assert peak_kib < 150 * 1024, f"{peak_kib} KiB"
    assert scenes.tag_digest(target, "mirror/huge", "v1") == scenes.tag_digest(source, "team/huge", "v1")


@pytest.mark.covers("C1", "C20", "D13", "D14")
def test_a_killed_sync_leaves_no_tag_and_the_next_pass_sends_no_finished_blob_again(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    small, large = [noise(seed, 200_000) for seed in range(3)], noise(9, 24 * MIB)
    pushed = scenes.push_image(source, "team/app", "v1", [*small, large])
    rules = [{"name": "app", "source": f"{source.address}/team/app", "targets": [f"{target.address}/mirror/app"]}]
    slow = {source.address: {"plain_http": True, "bandwidth": "4MiB"}, **scenes.plain(target)}
    config = scenes.write_config(tmp_path, rules, slow)

    process = mirrord.start("sync", "--once", "-c", str(config))
    process.wait_until(lambda: len(scenes.uploads_finished(target.requests())) >= 2, what="two blobs uploaded")
    process.kill()
    before = scenes.uploads_finished(target.requests())
    tag_after_kill = scenes.tag_digest(target, "mirror/app", "v1")
    target.forget_requests()
    done = mirrord.run("sync", "--once", "-c", str(scenes.write_config(tmp_path, rules, scenes.plain(source, target))))

    assert tag_after_kill is None
    assert done.code == 0, done.stderr
    after = scenes.uploads_finished(target.requests())
    assert not set(before) & set(after)
    assert set(before) | set(after) == set(pushed.blobs)
    assert scenes.tag_digest(target, "mirror/app", "v1") == pushed.digest


@pytest.mark.covers("D20", "D22")
def test_a_target_that_dies_in_the_middle_fails_alone_and_is_completed_later(
    source: DockerRegistry, start_registry: StartRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    dying, living = start_registry(), start_registry()
    pushed = scenes.push_image(source, "team/app", "v1", [noise(1, 100_000), noise(2, 24 * MIB)])
    rules = [
        {
            "name": "app",
            "source": f"{source.address}/team/app",
            "targets": [f"{dying.address}/mirror/app", f"{living.address}/mirror/app"],
        }
    ]
    slow = {source.address: {"plain_http": True, "bandwidth": "8MiB"}, **scenes.plain(dying, living)}
    config = scenes.write_config(tmp_path, rules, slow)

    process = mirrord.start("sync", "--once", "-c", str(config))
    process.wait_until(lambda: scenes.uploads_finished(dying.requests()).total() >= 1, what="a blob uploaded")
    dying.kill()
    code = process.wait(timeout_s=50)
    dying.start()
    tag_after_death = scenes.tag_digest(dying, "mirror/app", "v1")
    finished = scenes.uploads_finished(dying.requests())
    dying.forget_requests()
    done = mirrord.run("sync", "--once", "-c", str(config))

    assert code == 1
    assert scenes.tag_digest(living, "mirror/app", "v1") == pushed.digest
    assert tag_after_death is None
    assert done.code == 0, done.stderr
    assert not set(finished) & set(scenes.uploads_finished(dying.requests()))
    assert scenes.tag_digest(dying, "mirror/app", "v1") == pushed.digest


@pytest.mark.covers("D5", "D46")
def test_a_rotten_blob_is_refused_and_the_other_images_are_done(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    rotten = scenes.push_image(source, "team/app", "rotten", [noise(1, 100_000)])
    sound = scenes.push_image(source, "team/app", "sound", [noise(2, 100_000)])
    source.blob_file(rotten.blobs[1]).write_bytes(noise(3, 100_000))
    config = scenes.write_config(
        tmp_path,
        [{"name": "app", "source": f"{source.address}/team/app", "targets": [f"{target.address}/mirror/app"]}],
        scenes.plain(source, target),
    )

    done = mirrord.run("sync", "--once", "-c", str(config))

    assert done.code == 1
    assert "DIGEST_MISMATCH" in done.stdout + done.stderr
    assert rotten.blobs[1] in done.stdout + done.stderr
    assert scenes.tag_digest(target, "mirror/app", "sound") == sound.digest
    assert scenes.tag_digest(target, "mirror/app", "rotten") is None
    assert rotten.blobs[1] not in scenes.uploads_finished(target.requests())


@pytest.mark.covers("C9")
def test_signatures_and_sboms_come_along_also_when_they_came_later(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    image = scenes.push_image(source, "team/app", "v1", [noise(1, 1000)])
    sbom = scenes.push_image(
        source,
        "team/app",
        "by digest",
        [b"{}"],
        note="sbom",
        artifactType="application/spdx+json",
        subject={"mediaType": scenes.MANIFEST, "digest": image.digest, "size": 1},
    )
    fallback = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": scenes.MANIFEST, "digest": sbom.digest, "size": 1}],
    }
    size = len(source.send("GET", f"/v2/team/app/manifests/{sbom.digest}", headers={"Accept": scenes.MANIFEST}).body)
    fallback["manifests"] = [{"mediaType": scenes.MANIFEST, "digest": sbom.digest, "size": size}]
    fallback_tag = image.digest.replace(":", "-")
    index_type = "application/vnd.oci.image.index.v1+json"
    scenes.put_manifest(source, "team/app", fallback_tag, json.dumps(fallback).encode(), index_type)
    config = scenes.write_config(
        tmp_path,
        [{"name": "app", "source": f"{source.address}/team/app", "targets": [f"{target.address}/mirror/app"]}],
        scenes.plain(source, target),
    )

    first = mirrord.run("sync", "--once", "-c", str(config))
    signature = scenes.push_image(source, "team/app", f"{fallback_tag}.sig", [b"signed"], note="sig")
    second = mirrord.run("sync", "--once", "-c", str(config))
    target.forget_requests()
    third = mirrord.run("sync", "--once", "-c", str(config))

    assert (first.code, second.code, third.code) == (0, 0, 0), first.stderr + second.stderr + third.stderr
    listed = target.send("GET", f"/v2/mirror/app/manifests/{fallback_tag}", headers={"Accept": index_type})
    assert [entry["digest"] for entry in json.loads(listed.body)["manifests"]] == [sbom.digest]
    assert scenes.tag_digest(target, "mirror/app", sbom.digest) == sbom.digest
    assert scenes.tag_digest(target, "mirror/app", f"{fallback_tag}.sig") == signature.digest
    assert scenes.writes(target.requests()) == []


def test_plan_changes_nothing_and_sync_does_what_it_said(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, tmp_path: Path
) -> None:
    for tag in ("v1", "v2"):
        scenes.push_image(source, "team/app", tag, [noise(1, 10_000), tag.encode()])
    config = scenes.write_config(
        tmp_path,
        [{"name": "app", "source": f"{source.address}/team/app", "targets": [f"{target.address}/mirror/app"]}],
        scenes.plain(source, target),
    )

    planned = mirrord.run("plan", "-c", str(config), "--detailed-exitcode")
    changed = scenes.writes([*source.requests()[-1:], *target.requests()])
    synced = mirrord.run("sync", "--once", "-c", str(config))
    again = mirrord.run("plan", "-c", str(config), "--detailed-exitcode")

    assert planned.code == 2, planned.stderr
    assert changed == []
    assert synced.code == 0
    assert again.code == 0, again.stdout
