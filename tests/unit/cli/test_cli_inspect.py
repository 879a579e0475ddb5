from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from mirrord.planning.attachment import cosign_tags
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.faults import Respond
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.profiles import DISTRIBUTION_V3
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

IMAGE = make_image("app", layers=3, layer_size=1000, annotations={"org.example.note": "red \x1b[31m and\nlines"})
INDEX = make_index("app", attestations=True)
SBOM = make_artifact("sbom", subject=IMAGE.descriptor, artifact_type="application/spdx+json", size=500)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving(DISTRIBUTION_V3) as (found,):
        yield found


def inspect(registry: FakeRegistry, image: str, *options: str) -> Finished:
    return run_command("inspect", f"{registry.host}/{image}", "--plain-http", registry.host, *options)


def test_inspect_tells_what_a_single_image_is_made_of(registry: FakeRegistry) -> None:
    put(registry.store, "app", IMAGE, "1.0")

    told = json.loads(inspect(registry, "app:1.0", "--output", "json").stdout)

    assert told["kind"] == "manifest"
    assert told["digest"] == str(IMAGE.digest)
    assert [layer["digest"] for layer in told["layers"]] == [str(layer.digest) for layer in IMAGE.manifest.layers]
    assert told["total_bytes"] == len(IMAGE.raw) + sum(len(blob) for blob in IMAGE.blobs.values())
    assert told["config"]["platform"] == "linux/amd64"


def test_inspect_tells_the_platforms_of_an_index(registry: FakeRegistry) -> None:
    put(registry.store, "app", INDEX, "latest")

    done = inspect(registry, "app")
    told = json.loads(inspect(registry, "app", "--output", "json").stdout)

    assert "2 images, 2 attestations" in done.stdout
    assert "attestation of linux/arm64" in done.stdout
    assert [member["platform"] for member in told["manifests"]] == [
        "linux/amd64",
        "linux/arm64",
        "unknown/unknown",
        "unknown/unknown",
    ]


def test_inspect_tells_what_is_attached(registry: FakeRegistry) -> None:
    signature = make_artifact("signature", artifact_type="application/vnd.dev.cosign.artifact.sig.v1+json")
    put(registry.store, "app", IMAGE, "1.0")
    put(registry.store, "app", SBOM)
    put(registry.store, "app", signature, str(cosign_tags(IMAGE.digest)[0]))

    done = inspect(registry, "app:1.0")
    told = json.loads(inspect(registry, "app:1.0", "--output", "json").stdout)

    assert "application/spdx+json" in done.stdout
    assert "cosign signature" in done.stdout
    assert {found["digest"]: found["tag"] for found in told["attached"]} == {
        str(SBOM.digest): None,
        str(signature.digest): str(cosign_tags(IMAGE.digest)[0]),
    }


@pytest.mark.covers("C34")
def test_inspect_shows_annotations_without_their_control_characters(registry: FakeRegistry) -> None:
    put(registry.store, "app", IMAGE, "1.0")

    done = inspect(registry, "app:1.0")

    assert r"red \x1b[31m and\nlines" in done.stdout
    assert "\x1b" not in done.stdout


def test_inspect_raw_prints_the_bytes_of_the_manifest(registry: FakeRegistry) -> None:
    put(registry.store, "app", INDEX, "1.0")

    done = inspect(registry, f"app@{INDEX.digest}", "--raw")

    assert done == (0, INDEX.raw.decode(), "")


def test_inspect_raw_is_no_json_result(registry: FakeRegistry) -> None:
    done = inspect(registry, "app", "--raw", "--output", "json")

    assert done.code == 2
    assert json.loads(done.stdout)["error"]["code"] == "USAGE"


def test_inspect_tells_of_children_that_are_missing(registry: FakeRegistry) -> None:
    put(registry.store, "app", INDEX, "1.0")
    gone = INDEX.root.children()[0].digest
    registry.store.remove_manifest("app", gone)

    done = inspect(registry, "app:1.0")

    assert done.code == 0
    assert f"{gone} is named by the index and missing" in done.stdout


def test_inspect_goes_on_where_referrers_cannot_be_asked(registry: FakeRegistry) -> None:
    put(registry.store, "app", IMAGE, "1.0")
    registry.fault(Respond(403), kind="referrers", times=None)

    done = inspect(registry, "app:1.0")

    assert done.code == 0
    assert "what is attached could not be found out: DENIED" in done.stdout


@pytest.mark.parametrize("options", [(), ("--raw",)], ids=["report", "raw"])
def test_inspect_of_what_is_not_there_fails(registry: FakeRegistry, options: tuple[str, ...]) -> None:
    done = inspect(registry, "app:nope", *options)

    assert done.code == 1
    assert f"{registry.host}/app:nope does not exist" in done.stderr


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("image:", id="E111:empty-tag"),
        pytest.param("image@sha256:short", id="E111:short-digest"),
        pytest.param("a@b@c", id="E111:two-digests"),
        pytest.param("", id="E111:empty"),
    ],
)
def test_inspect_refuses_what_is_no_reference(reference: str) -> None:
    assert run_command("inspect", reference).code == 2
