import base64
from collections.abc import Mapping

import pytest

from mirrord.errors import InvalidDigestError, InvalidManifestError, MirrordError
from mirrord.oci.descriptor import MAX_BLOB_SIZE, Descriptor, parse_descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from mirrord.oci.platform import Platform

CONTENT = b"content"
MISSING = object()


def fields(**changes: object) -> dict[str, object]:
    known: dict[str, object] = {"mediaType": OCI_LAYER, "digest": str(Digest.of(CONTENT)), "size": len(CONTENT)}
    return {key: value for key, value in {**known, **changes}.items() if value is not MISSING}


def refusal(value: object) -> MirrordError:
    with pytest.raises((InvalidManifestError, InvalidDigestError)) as caught:
        parse_descriptor(value, "layers[2]")
    assert caught.value.message.startswith("layers[2]")
    assert len(str(caught.value)) < 500
    return caught.value


def test_descriptor_has_what_the_json_says() -> None:
    descriptor = parse_descriptor(
        fields(
            annotations={"a": "b"},
            platform={"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1", "os.features": ["x"]},
            artifactType="application/x",
            urls=["https://example.com/layer"],
            data=base64.b64encode(CONTENT).decode(),
            unknown=1,
        ),
        "layers[2]",
    )

    assert descriptor == Descriptor(
        media_type=OCI_LAYER,
        digest=Digest.of(CONTENT),
        size=7,
        annotations={"a": "b"},
        platform=Platform("linux", "arm", "v7", "1"),
        artifact_type="application/x",
        urls=("https://example.com/layer",),
    )


def test_descriptor_needs_type_digest_and_size_alone() -> None:
    descriptor = parse_descriptor(fields(), "layers[2]")

    assert descriptor == Descriptor(media_type=OCI_LAYER, digest=Digest.of(CONTENT), size=7)
    assert descriptor.annotations == {}
    assert hash(descriptor) == hash(parse_descriptor(fields(), "layers[2]"))


@pytest.mark.parametrize(
    ("media_type", "index", "manifest", "foreign"),
    [
        pytest.param(OCI_INDEX, True, False, False, id="index"),
        pytest.param(OCI_MANIFEST, False, True, False, id="manifest"),
        pytest.param("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", False, False, True, id="foreign"),
    ],
)
def test_descriptor_knows_what_it_points_to(media_type: str, *, index: bool, manifest: bool, foreign: bool) -> None:
    descriptor = parse_descriptor(fields(mediaType=media_type), "layers[2]")

    assert (descriptor.is_index, descriptor.is_manifest, descriptor.is_foreign) == (index, manifest, foreign)


@pytest.mark.parametrize("value", [None, [], "text", 1], ids=repr)
def test_descriptor_refuses_what_is_no_object(value: object) -> None:
    assert refusal(value).code == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"mediaType": MISSING}, "MANIFEST_INVALID", id="no media type"),
        pytest.param({"mediaType": ""}, "MANIFEST_INVALID", id="empty media type"),
        pytest.param({"mediaType": 1}, "MANIFEST_INVALID", id="media type is a number"),
        pytest.param({"digest": MISSING}, "MANIFEST_INVALID", id="E21:missing"),
        pytest.param({"digest": None}, "MANIFEST_INVALID", id="E21:null"),
        pytest.param({"digest": ["sha256:00"]}, "MANIFEST_INVALID", id="E21:list"),
        pytest.param({"digest": {}}, "MANIFEST_INVALID", id="E21:object"),
        pytest.param({"digest": ""}, "DIGEST_INVALID", id="E15:empty"),
        pytest.param({"digest": "sha256:../../../v2/other/blobs/x"}, "DIGEST_INVALID", id="E16:traversal"),
        pytest.param({"digest": "md5:00"}, "DIGEST_ALGORITHM_UNSUPPORTED", id="E18:md5"),
        pytest.param({"size": MISSING}, "SIZE_INVALID", id="E12:missing"),
        pytest.param({"size": None}, "SIZE_INVALID", id="E12:null"),
        pytest.param({"size": -1}, "SIZE_INVALID", id="E12:negative"),
        pytest.param({"size": "7"}, "SIZE_INVALID", id="E12:text"),
        pytest.param({"size": 7.0}, "SIZE_INVALID", id="E12:float"),
        pytest.param({"size": True}, "SIZE_INVALID", id="E12:boolean"),
        pytest.param({"size": ["x" * 1_000_000]}, "SIZE_INVALID", id="E12:a megabyte"),
        pytest.param({"size": float("inf")}, "SIZE_INVALID", id="E11:1e999"),
        pytest.param({"size": -0.0}, "SIZE_INVALID", id="E11:negative zero"),
        pytest.param({"size": 2**70}, "SIZE_INVALID", id="E11:2^70"),
        pytest.param({"size": 2**62}, "BLOB_TOO_LARGE", id="E14:2^62"),
        pytest.param({"size": MAX_BLOB_SIZE + 1}, "BLOB_TOO_LARGE", id="E14:one more than the limit"),
        pytest.param({"annotations": []}, "MANIFEST_INVALID", id="annotations are a list"),
        pytest.param({"urls": "https://example.com"}, "MANIFEST_INVALID", id="urls are text"),
        pytest.param({"urls": [1]}, "MANIFEST_INVALID", id="a url is a number"),
        pytest.param({"Digest": "sha256:00"}, "MANIFEST_AMBIGUOUS", id="a key in another case"),
        pytest.param({"data": 1}, "DATA_MISMATCH", id="E40:number"),
        pytest.param({"data": "no base64!"}, "DATA_MISMATCH", id="E40:no base64"),
        pytest.param({"data": "\u0661"}, "DATA_MISMATCH", id="E40:no ASCII"),
        pytest.param({"data": base64.b64encode(b"short").decode()}, "DATA_MISMATCH", id="E40:other size"),
        pytest.param({"data": base64.b64encode(b"CONTENT").decode()}, "DATA_MISMATCH", id="E40:other content"),
    ],
)
def test_descriptor_refuses(changes: Mapping[str, object], code: str) -> None:
    assert refusal(fields(**changes)).code == code


@pytest.mark.covers("E14")
def test_descriptor_takes_the_largest_size() -> None:
    assert parse_descriptor(fields(size=MAX_BLOB_SIZE), "layers[2]").size == MAX_BLOB_SIZE


@pytest.mark.parametrize(
    ("platform", "read"),
    [
        pytest.param(None, None, id="E38:missing"),
        pytest.param("linux/amd64", None, id="E38:text"),
        pytest.param({"os": "unknown", "architecture": "unknown"}, Platform("unknown", "unknown"), id="E38:unknown"),
        pytest.param({"os": 1}, Platform("", ""), id="E38:number"),
        pytest.param({"os": "x" * 1_000_000, "architecture": "y"}, Platform("x" * 1_000_000, "y"), id="E38:a megabyte"),
    ],
)
def test_descriptor_takes_any_platform(platform: object, read: Platform | None) -> None:
    assert parse_descriptor(fields(platform=platform), "manifests[0]").platform == read


@pytest.mark.covers("E39")
def test_descriptor_keeps_urls_as_text() -> None:
    urls = ["http://169.254.169.254/latest", "file:///etc/passwd", "gopher://x"] * 4_000

    assert parse_descriptor(fields(urls=urls), "layers[2]").urls == tuple(urls)


@pytest.mark.covers("E42")
def test_descriptor_keeps_annotations_that_are_text() -> None:
    annotations = {"\x1b[31m\u202e": "x" * 1_000_000, "number": 1, "nothing": None}

    assert parse_descriptor(fields(annotations=annotations), "layers[2]").annotations == {
        "\x1b[31m\u202e": "x" * 1_000_000
    }


def test_descriptor_refuses_changes_to_its_annotations() -> None:
    descriptor = parse_descriptor(fields(annotations={"a": "b"}), "layers[2]")

    with pytest.raises(TypeError):
        descriptor.annotations["a"] = "c"  # type: ignore[index]  # what the test is about
