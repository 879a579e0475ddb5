import pytest

from mirrord.oci import mediatype
from mirrord.oci.mediatype import essence, is_foreign_layer, is_index, is_manifest


@pytest.mark.covers("E4")
@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        pytest.param(mediatype.OCI_INDEX, mediatype.OCI_INDEX, id="plain"),
        pytest.param(f"{mediatype.OCI_INDEX}; charset=utf-8", mediatype.OCI_INDEX, id="parameter"),
        pytest.param(f" {mediatype.OCI_INDEX.upper()} ;x=y;z", mediatype.OCI_INDEX, id="case and space"),
        pytest.param("", "", id="nothing"),
        pytest.param(";", "", id="parameter alone"),
    ],
)
def test_essence_leaves_out_parameters_and_case(content_type: str, media_type: str) -> None:
    assert essence(content_type) == media_type


@pytest.mark.parametrize(
    ("media_type", "manifest", "index", "foreign"),
    [
        pytest.param(mediatype.OCI_MANIFEST, True, False, False, id="manifest"),
        pytest.param(mediatype.DOCKER_MANIFEST, True, False, False, id="docker manifest"),
        pytest.param(mediatype.OCI_INDEX, False, True, False, id="index"),
        pytest.param(mediatype.DOCKER_LIST, False, True, False, id="docker list"),
        pytest.param(mediatype.OCI_LAYER, False, False, False, id="layer"),
        pytest.param(mediatype.DOCKER_SCHEMA1, False, False, False, id="schema 1"),
        pytest.param(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", False, False, True, id="docker foreign layer"
        ),
        pytest.param(
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", False, False, True, id="nondistributable"
        ),
    ],
)
def test_media_type_is_known_for_what_it_is(media_type: str, *, manifest: bool, index: bool, foreign: bool) -> None:
    assert (is_manifest(media_type), is_index(media_type), is_foreign_layer(media_type)) == (manifest, index, foreign)


def test_every_manifest_type_is_accepted_and_no_other() -> None:
    assert set(mediatype.ACCEPT) == mediatype.MANIFESTS | mediatype.INDEXES
