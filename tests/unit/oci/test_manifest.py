import json
import time
from collections.abc import Mapping

import pytest

from mirrord.errors import InvalidManifestError, MirrordError
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import MAX_CHILDREN, MAX_LAYERS, MAX_MANIFEST_SIZE, Index, Manifest, parse_manifest
from mirrord.oci.mediatype import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)
from mirrord.oci.platform import Platform
from tests.fakes.images import (
    child,
    content,
    describe,
    descriptor_json,
    digest_of,
    index_of,
    make_artifact,
    make_image,
    make_index,
)

MISSING = object()
CONFIG = describe(b"{}", DOCKER_CONFIG)
LAYER = describe(content("layer"), OCI_LAYER)
CHILD = make_image().descriptor


def image(**changes: object) -> bytes:
    return _raw(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor_json(CONFIG),
            "layers": [descriptor_json(LAYER)],
        },
        changes,
    )


def index(**changes: object) -> bytes:
    return _raw({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor_json(CHILD)]}, changes)


def _raw(fields: Mapping[str, object], changes: Mapping[str, object]) -> bytes:
    return json.dumps({key: value for key, value in {**fields, **changes}.items() if value is not MISSING}).encode()


def refusal(raw: bytes, media_type: str = "") -> MirrordError:
    with pytest.raises(MirrordError) as caught:
        parse_manifest(raw, media_type=media_type, what="ghcr.io/acme/app:1")
    assert "ghcr.io/acme/app:1" in str(caught.value)
    assert len(str(caught.value)) < 700
    return caught.value


def test_manifest_is_a_view_of_its_bytes() -> None:
    subject = descriptor_json(CHILD)
    raw = image(subject=subject, artifactType="application/x", annotations={"a": "b", "c": 1}, unknown=[1])
    manifest = parse_manifest(raw)

    assert isinstance(manifest, Manifest)
    assert manifest.raw == raw
    assert manifest.descriptor == describe(raw, OCI_MANIFEST)
    assert manifest.config == CONFIG
    assert manifest.layers == (LAYER,)
    assert manifest.subject == CHILD
    assert manifest.artifact_type == "application/x"
    assert manifest.annotations == {"a": "b"}
    assert manifest.children() == ()
    assert manifest.blobs() == (CONFIG, LAYER)


def test_index_is_a_view_of_its_bytes() -> None:
    raw = index(subject=descriptor_json(CHILD), artifactType=1, annotations={"a": "b"})
    read = parse_manifest(raw)

    assert isinstance(read, Index)
    assert read.raw == raw
    assert read.descriptor == describe(raw, OCI_INDEX)
    assert read.manifests == read.children() == (CHILD,)
    assert read.subject == CHILD
    assert read.artifact_type == ""
    assert read.annotations == {"a": "b"}
    assert read.blobs() == ()


def test_manifest_repr_leaves_the_bytes_out() -> None:
    assert "schemaVersion" not in repr(parse_manifest(image()))


def test_manifest_keeps_the_digest_that_it_was_checked_against() -> None:
    digest = Digest.of(image(), "sha512")

    assert parse_manifest(image(), digest=digest).descriptor.digest == digest


@pytest.mark.parametrize("docker", [True, False], ids=["docker", "oci"])
def test_built_images_and_indexes_are_read(*, docker: bool) -> None:
    built = make_index(docker=docker)

    assert built.index.descriptor.media_type == (DOCKER_LIST if docker else OCI_INDEX)
    assert [member.platform for member in built.index.manifests] == [
        Platform("linux", "amd64"),
        Platform("linux", "arm64"),
    ]
    assert {blob.digest for manifest in built.manifests.values() for blob in manifest.blobs()} == set(built.blobs)


@pytest.mark.parametrize(
    ("raw", "media_type", "read"),
    [
        pytest.param(image(mediaType=MISSING), OCI_MANIFEST, OCI_MANIFEST, id="E4:type outside"),
        pytest.param(image(mediaType=None), OCI_MANIFEST, OCI_MANIFEST, id="E4:null inside"),
        pytest.param(image(), "", OCI_MANIFEST, id="E4:type inside"),
        pytest.param(image(), f" {OCI_MANIFEST.upper()}; charset=utf-8", OCI_MANIFEST, id="E4:charset and case"),
        pytest.param(image(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST, DOCKER_MANIFEST, id="docker"),
        pytest.param(index(mediaType=MISSING), DOCKER_LIST, DOCKER_LIST, id="docker list"),
    ],
)
def test_manifest_takes_its_type_from_inside_or_outside(raw: bytes, media_type: str, read: str) -> None:
    assert parse_manifest(raw, media_type=media_type).descriptor.media_type == read


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(image(layers=[]), id="E30:no layers"),
        pytest.param(image(layers=MISSING), id="E30:layers missing"),
        pytest.param(image(layers=None), id="E30:layers null"),
        pytest.param(image(config={**descriptor_json(CONFIG), "size": 0}), id="E30:empty config"),
        pytest.param(make_artifact(subject=CHILD).raw, id="E30:artifact"),
    ],
)
def test_manifest_of_an_artifact_is_read(raw: bytes) -> None:
    assert isinstance(parse_manifest(raw), Manifest)


def test_index_without_children_is_read() -> None:
    assert parse_manifest(index(manifests=[])).children() == ()


@pytest.mark.parametrize(
    ("raw", "media_type", "code"),
    [
        pytest.param(image(manifests=[]), "", "MANIFEST_AMBIGUOUS", id="E1:layers and manifests"),
        pytest.param(index(layers=[]), "", "MANIFEST_AMBIGUOUS", id="E1:index with layers"),
        pytest.param(index(layers=None), "", "MANIFEST_AMBIGUOUS", id="E1:index with layers null"),
        pytest.param(index(config={}), "", "MANIFEST_AMBIGUOUS", id="E2:index with config"),
        pytest.param(index(mediaType=OCI_MANIFEST), "", "MANIFEST_AMBIGUOUS", id="E1:index said to be an image"),
        pytest.param(image(mediaType=OCI_INDEX), "", "MANIFEST_AMBIGUOUS", id="E1:image said to be an index"),
        pytest.param(image(Manifests=[]), "", "MANIFEST_AMBIGUOUS", id="E1:manifests in another case"),
        pytest.param(image(), OCI_INDEX, "MEDIA_TYPE_MISMATCH", id="E3:image served as an index"),
        pytest.param(image(), "application/json", "MEDIA_TYPE_MISMATCH", id="E3:image served as json"),
        pytest.param(image(mediaType=MISSING), "", "MEDIA_TYPE_MISSING", id="E4:absent in both"),
        pytest.param(image(mediaType="", schemaVersion=2), "", "MEDIA_TYPE_MISSING", id="E4:empty"),
        pytest.param(image(mediaType="application/x\x1b"), "", "MEDIA_TYPE_UNSUPPORTED", id="E5:unknown"),
        pytest.param(image(mediaType=MISSING), "text/html", "MEDIA_TYPE_UNSUPPORTED", id="E5:unknown outside"),
        pytest.param(image(mediaType=1), OCI_MANIFEST, "MANIFEST_INVALID", id="type is a number"),
        pytest.param(b'{"schemaVersion":1,"fsLayers":[]}', "", "SCHEMA1_UNSUPPORTED", id="E6:by its layers"),
        pytest.param(b'{"schemaVersion":1}', DOCKER_SCHEMA1_SIGNED, "SCHEMA1_UNSUPPORTED", id="E6:outside"),
        pytest.param(image(mediaType=DOCKER_SCHEMA1), "", "SCHEMA1_UNSUPPORTED", id="E6:inside"),
        pytest.param(image(schemaVersion=1), "", "MANIFEST_INVALID", id="E7:1"),
        pytest.param(image(schemaVersion=3), "", "MANIFEST_INVALID", id="E7:3"),
        pytest.param(image(schemaVersion="2"), "", "MANIFEST_INVALID", id="E7:text"),
        pytest.param(image(schemaVersion=2.0), "", "MANIFEST_INVALID", id="E7:float"),
        pytest.param(image(schemaVersion=True), "", "MANIFEST_INVALID", id="E7:boolean"),
        pytest.param(image(schemaVersion=MISSING), "", "MANIFEST_INVALID", id="E7:missing"),
        pytest.param(b"<html>", "", "MANIFEST_NOT_JSON", id="E8:html"),
        pytest.param(b'{"layers":[],"layers":[1]}', "", "MANIFEST_DUPLICATE_KEY", id="E9:layers twice"),
        pytest.param(b'{"a":' + b"[" * 100_000, "", "JSON_TOO_DEEP", id="E10:brackets"),
        pytest.param(image().replace(b'"size": 2}', b'"size": 1e999}'), "", "SIZE_INVALID", id="E11:1e999"),
        pytest.param(image().replace(b'"size": 2}', b'"size": -0}'), "", "SIZE_INVALID", id="E11:-0"),
        pytest.param(image().replace(b'"size": 2}', b'"size": NaN}'), "", "MANIFEST_NOT_JSON", id="E11:NaN"),
        pytest.param(
            image().replace(b'"size": 2}', b'"size": ' + b"9" * 5000 + b"}"), "", "SIZE_INVALID", id="E11:5000 digits"
        ),
        pytest.param(image(config=MISSING), "", "MANIFEST_INVALID", id="E12:no config"),
        pytest.param(image(config=descriptor_json(CONFIG) | {"size": 2**62}), "", "BLOB_TOO_LARGE", id="E14:2^62"),
        pytest.param(image(layers={}), "", "MANIFEST_INVALID", id="layers are an object"),
        pytest.param(image(layers=["x"]), "", "MANIFEST_INVALID", id="a layer is text"),
        pytest.param(image(annotations=[]), "", "MANIFEST_INVALID", id="annotations are a list"),
        pytest.param(image(subject=[]), "", "MANIFEST_INVALID", id="subject is a list"),
        pytest.param(index(manifests=None), "", "MANIFEST_INVALID", id="manifests are null"),
        pytest.param(index(manifests="x"), "", "MANIFEST_INVALID", id="manifests are text"),
        pytest.param(index(manifests=[descriptor_json(LAYER)]), "", "INDEX_CHILD_NOT_MANIFEST", id="E36:layer"),
        pytest.param(
            index(manifests=[descriptor_json(LAYER) | {"size": 2**40}]),
            "",
            "INDEX_CHILD_NOT_MANIFEST",
            id="E36:large layer",
        ),
        pytest.param(
            index(manifests=[descriptor_json(CHILD) | {"mediaType": DOCKER_SCHEMA1}]),
            "",
            "SCHEMA1_UNSUPPORTED",
            id="E6:child",
        ),
        pytest.param(
            index(manifests=[descriptor_json(CHILD) | {"size": MAX_MANIFEST_SIZE + 1}]),
            "",
            "MANIFEST_TOO_LARGE",
            id="E25:child",
        ),
    ],
)
def test_manifest_refuses_what_it_would_have_to_guess(raw: bytes, media_type: str, code: str) -> None:
    assert refusal(raw, media_type).code == code


@pytest.mark.covers("E3")
def test_manifest_names_both_types_that_differ() -> None:
    error = refusal(image(), OCI_INDEX)

    assert OCI_MANIFEST in error.message
    assert OCI_INDEX in error.message


@pytest.mark.covers("E6")
def test_manifest_of_schema_1_says_how_to_convert() -> None:
    assert "convert" in refusal(image(mediaType=DOCKER_SCHEMA1)).remedy


@pytest.mark.covers("E7")
def test_manifest_says_which_schema_version_it_needs() -> None:
    assert "schemaVersion must be the integer 2" in refusal(image(schemaVersion=3)).message


@pytest.mark.covers("E25")
def test_manifest_of_8_mib_is_read_and_one_byte_more_is_not() -> None:
    room = MAX_MANIFEST_SIZE - len(image(annotations={"a": ""}))
    largest = image(annotations={"a": "x" * room})

    assert isinstance(parse_manifest(largest), Manifest)
    error = refusal(largest + b" ")
    assert error.code == "MANIFEST_TOO_LARGE"
    assert str(MAX_MANIFEST_SIZE) in error.message
    assert str(MAX_MANIFEST_SIZE + 1) in error.message


@pytest.mark.covers("E42")
def test_manifest_keeps_annotations_whatever_they_hold() -> None:
    annotations = {"\x1b[31m\u202e": "\u2066" * 500_000, "b": "x" * 4_000_000}

    assert parse_manifest(image(annotations=annotations)).annotations == annotations


@pytest.mark.covers("E28")
def test_manifest_of_too_many_layers_is_refused_in_time() -> None:
    layers = [descriptor_json(LAYER) | {"size": size, "mediaType": "x"} for size in range(50_000)]
    raw = image(layers=layers).replace(b" ", b"")
    start = time.process_time()
    error = refusal(raw)

    assert error.code == "TOO_MANY_LAYERS"
    assert "50000 layers" in error.message
    assert time.process_time() - start < 5


@pytest.mark.covers("E28")
def test_manifest_of_the_most_layers_is_read() -> None:
    layers = [descriptor_json(LAYER) | {"digest": str(digest_of(str(number)))} for number in range(MAX_LAYERS)]

    assert len(parse_manifest(image(layers=layers)).blobs()) == MAX_LAYERS + 1


@pytest.mark.covers("E29")
def test_manifest_needs_a_layer_once_however_often_it_stands_there() -> None:
    manifest = parse_manifest(image(layers=[descriptor_json(LAYER)] * 10_000))

    assert manifest.blobs() == (CONFIG, LAYER)


@pytest.mark.covers("E35")
def test_index_of_too_many_children_is_refused() -> None:
    members = [descriptor_json(CHILD)] * (MAX_CHILDREN + 1)

    assert refusal(index(manifests=members)).code == "GRAPH_TOO_LARGE"
    assert len(parse_manifest(index(manifests=members[1:])).children()) == 1


@pytest.mark.covers("E37")
def test_index_keeps_two_children_of_one_platform() -> None:
    one, other = make_image("one"), make_image("other")
    built = index_of([(one, child(one, "linux/amd64")), (other, child(other, "linux/amd64"))])

    assert [member.digest for member in built.index.children()] == [one.digest, other.digest]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(index(), id="E31:child"),
        pytest.param(index(manifests=[], subject=descriptor_json(CHILD)), id="E41:subject of an index"),
        pytest.param(image(subject=descriptor_json(CHILD)), id="E41:subject of an image"),
    ],
)
def test_manifest_that_names_itself_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidManifestError) as caught:
        parse_manifest(raw, digest=CHILD.digest)

    assert caught.value.code == "GRAPH_CYCLE"
