"""Whole runs of mirrord to ECR and back: over sockets and TLS, under the real name, with the API of AWS beside it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mirrord.cli.verdict import run_exit_code
from mirrord.planning.report import EXIT_STARTUP, Outcome
from mirrord.ports.settings import RegistrySettings
from tests.fakes.faults import Around
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.registries.ecr import ECR, HOST, IMMUTABLE
from tests.fakes.registries.ecr_scene import PLAIN_HOST, open_scene, to_ecr
from tests.fakes.runs import rule
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio

POLICY = '{"rules": []}' + " " * 100


async def test_images_go_to_ecr_and_back_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_scene(monkeypatch) as scene:
        image = put(scene.plain, "team/app", make_image("app", layers=3), "1.0", "latest")
        index = put(scene.plain, "team/tools", make_index("tools", attestations=True), "2.0")
        signature = put(scene.plain, "team/app", make_artifact("signature", subject=image.descriptor))

        there = await scene.sync([to_ecr("team/app"), to_ecr("team/tools")])
        assert there.problems == []
        assert scene.ecr.store.tags("team/app")["1.0"] == image.digest
        assert scene.ecr.store.tags("team/app")["latest"] == image.digest
        assert scene.ecr.store.tags("team/tools") == {"2.0": index.digest}
        assert scene.ecr.store.manifest("team/app", signature.digest) is not None

        back = await scene.sync(
            [
                rule(f"{HOST}/team/app", f"{PLAIN_HOST}/back/app"),
                rule(f"{HOST}/team/tools", f"{PLAIN_HOST}/back/tools"),
            ]
        )

    assert back.problems == []
    assert scene.plain.store.tags("back/app")["1.0"] == image.digest
    assert scene.plain.store.tags("back/tools") == {"2.0": index.digest}
    for digest, raw in index.blobs.items():
        assert scene.plain.store.blob("back/tools", digest) == raw
    assert {record.header("Authorization") for record in scene.ecr.storage_traffic.records} == {None}


async def test_repository_is_created_once_although_many_images_of_two_rules_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_scene(monkeypatch) as scene:
        for number in range(8):
            put(scene.plain, "team/one", make_image(f"one-{number}"), f"1.{number}")
            put(scene.plain, "team/two", make_image(f"two-{number}"), f"2.{number}")
        reports = await scene.sync([to_ecr("team/one", target="all"), to_ecr("team/two", target="all")])

    assert reports.problems == []
    assert len(scene.ecr.store.tags("all")) == 16
    assert scene.control.calls("CreateRepository") == 1
    assert scene.control.calls("GetAuthorizationToken") == 1, "one token for all"
    assert dict(scene.control.last("CreateRepository")) == {"registryId": HOST[:12], "repositoryName": "all"}


async def test_new_repository_gets_what_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RegistrySettings(
        host=HOST,
        create_repositories={
            "tag_immutability": True,
            "scan_on_push": True,
            "tags": {"team": "platform"},
            "encryption": {"type": "KMS", "key": "alias/mirror"},
            "lifecycle_policy": POLICY,
        },
    )
    async with open_scene(monkeypatch) as scene:
        put(scene.plain, "team/app", make_image("app"), "1.0")
        assert (await scene.sync([to_ecr("team/app")], settings=settings)).problems == []

    assert dict(scene.control.last("CreateRepository")) == {
        "registryId": HOST[:12],
        "repositoryName": "team/app",
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "alias/mirror"},
        "tags": [{"Key": "team", "Value": "platform"}],
    }
    assert scene.control.policies == {"team/app": POLICY}


async def test_plan_creates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_scene(monkeypatch) as scene:
        put(scene.plain, "team/app", make_image("app"), "1.0")
        reports = await scene.sync([to_ecr("team/app")], dry=True)

    assert reports.problems == []
    assert [call.operation for call in scene.control.log] == ["GetAuthorizationToken"]
    assert {record.method for record in scene.ecr.traffic.records if record.kind != "api"} <= {"GET", "HEAD"}


async def test_second_run_changes_nothing_and_lists_the_target_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_scene(monkeypatch) as scene:
        for number in range(3):
            put(scene.plain, "team/app", make_image(f"app-{number}"), f"1.{number}")
        await scene.sync([to_ecr("team/app")])
        scene.ecr.traffic.clear()
        scene.control.log.clear()
        reports = await scene.sync([to_ecr("team/app")])

    assert set(reports.outcomes.values()) == {Outcome.IN_SYNC}
    assert scene.control.calls("DescribeImages") == 1
    assert scene.ecr.traffic.counts["manifest GET"] <= 3, "no digest in a HEAD: asked by GET, and only in its turn"
    assert scene.ecr.traffic.counts["manifest HEAD"] == 0
    assert scene.control.calls("CreateRepository") == 0


async def test_immutable_tag_with_the_same_digest_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    immutable = replace(ECR, manifests=replace(ECR.manifests, immutable_tags=IMMUTABLE))
    async with open_scene(monkeypatch, immutable) as scene:
        image = put(scene.plain, "team/app", make_image("app"), "1.0", "1.1")
        put(scene.ecr, "team/app", image, "1.0")
        put(scene.plain, "team/app", make_image("moved"), "2.0")
        held = put(scene.ecr, "team/app", make_image("held"), "2.0")
        reports = await scene.sync([to_ecr("team/app")])

    assert reports.outcomes == {"1.0": Outcome.IN_SYNC, "1.1": Outcome.COPIED, "2.0": Outcome.FAILED}
    assert scene.ecr.store.tags("team/app")["2.0"] == held.digest
    [problem] = reports.problems
    assert "TAG_IMMUTABLE" in problem


async def test_image_that_ecr_cannot_hold_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_scene(monkeypatch) as scene:
        good = put(scene.plain, "team/app", make_image("good"), "1.0")
        bad = make_image("bad")
        raw = bad.raw.replace(b'"mediaType": "application/vnd.oci.image.manifest.v1+json",', b"", 1)
        assert raw != bad.raw
        for blob in bad.blobs.values():
            scene.plain.store.add_blob("team/app", blob)
        scene.plain.store.add_manifest("team/app", raw, bad.descriptor.media_type, tags=["2.0"])
        reports = await scene.sync([to_ecr("team/app")])

    assert reports.outcomes == {"1.0": Outcome.COPIED, "2.0": Outcome.FAILED}
    assert scene.ecr.store.tags("team/app") == {"1.0": good.digest}
    [problem] = reports.problems
    assert "does not take this kind of manifest" in problem


async def test_token_that_ends_during_an_upload_is_replaced_and_the_blob_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The body of the upload is spent by then: the source is read afresh."""
    async with open_scene(monkeypatch) as scene:
        image = put(scene.plain, "team/app", make_image("app", layers=1), "1.0")
        scene.ecr.fault(Around(before=scene.control.revoke_tokens), kind="upload PUT", nth=1)
        reports = await scene.sync([to_ecr("team/app")])

    assert reports.problems == []
    assert scene.ecr.store.tags("team/app") == {"1.0": image.digest}
    assert scene.control.calls("GetAuthorizationToken") == 2


async def test_helper_of_docker_does_where_boto3_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A helper knows AWS by itself; digests in bulk, which AWS alone tells, are done without."""
    async with open_scene(monkeypatch) as scene:
        image = put(scene.ecr, "team/app", make_image("app"), "1.0")
        user, _, password = scene.control.issue().partition(":")
        helper = tmp_path / "docker-credential-test-ecr"
        helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': user, 'Secret': password})}'\n", "utf-8")
        helper.chmod(0o755)
        (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {HOST: "test-ecr"}}), "utf-8")
        environment = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        monkeypatch.setitem(sys.modules, "boto3", None)
        monkeypatch.setitem(sys.modules, "boto3.session", None)
        there = await scene.sync([rule(f"{HOST}/team/app", f"{PLAIN_HOST}/app")], environment=environment)
        without = await scene.sync([rule(f"{HOST}/team/app", f"{PLAIN_HOST}/app")])

    assert there.problems == []
    assert scene.plain.store.tags("app") == {"1.0": image.digest}
    assert scene.control.log == []
    assert [found.code for report in without.reports for found in report.problems] == ["CREDENTIAL_UNAVAILABLE"]
    assert "pip install '.[aws]'" in without.problems[0]
    assert run_exit_code(without.reports) == EXIT_STARTUP
