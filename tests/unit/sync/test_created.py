from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mirrord.errors import ContentMismatchError, DeniedError, MirrordError, NotFoundError
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import DOCKER_CONFIG
from mirrord.oci.platform import Platform
from mirrord.planning.graph import MAX_DEPTH
from mirrord.sync.created import ANNOTATION, MAX_CONFIG, creation_time, parse_time, read_config
from tests.fakes.images import (
    Content,
    attestation_child,
    child,
    index_of,
    make_artifact,
    make_attestation,
    make_image,
    make_index,
)
from tests.unit.sync.scene import SOURCE, Scene, image_with_config

pytestmark = pytest.mark.anyio

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = "2026-01-01T00:00:00Z"


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def date(scene: Scene, content: Content) -> datetime | None:
    scene.memory.add(SOURCE, content)
    return await creation_time(scene.memory.reader(SOURCE), scene.slots, content.digest)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(TEXT, NEW_YEAR, id="UTC"),
        pytest.param("2026-01-01T01:30:00+01:30", NEW_YEAR, id="another zone"),
        pytest.param("2026-01-01T00:00:00", NEW_YEAR, id="no zone"),
        pytest.param("2026-01-01T00:00:00.123456789Z", NEW_YEAR.replace(microsecond=123456), id="nanoseconds"),
        pytest.param("2026-01-01", NEW_YEAR, id="a day"),
        pytest.param("0001-01-01T00:00:00+01:00", None, id="before the first moment"),
        pytest.param("9999-12-31T23:59:59-01:00", None, id="after the last moment"),
        pytest.param("yesterday", None, id="no time"),
        pytest.param("2026-02-30T00:00:00Z", None, id="no day"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_parse_time_reads_what_is_a_time(text: str | None, expected: datetime | None) -> None:
    assert parse_time(text) == expected


async def test_creation_time_is_that_of_the_annotation(scene: Scene) -> None:
    image = make_image("app", annotations={ANNOTATION: TEXT})

    assert await date(scene, image) == NEW_YEAR
    assert scene.memory.count("blob") == 0


async def test_creation_time_is_that_of_the_config(scene: Scene) -> None:
    image = image_with_config("app", {"created": TEXT, "os": "linux"})

    assert await date(scene, image) == NEW_YEAR
    assert scene.memory.count("manifest", "blob") == 2


async def test_creation_time_is_read_of_docker_images_too(scene: Scene) -> None:
    assert await date(scene, image_with_config("app", {"created": TEXT}, config_type=DOCKER_CONFIG)) == NEW_YEAR


async def test_creation_time_is_that_of_the_config_where_the_annotation_is_none(scene: Scene) -> None:
    image = image_with_config("app", {"created": TEXT}, annotations={ANNOTATION: "yesterday"})

    assert await date(scene, image) == NEW_YEAR


async def test_creation_time_of_an_index_is_that_of_its_annotation(scene: Scene) -> None:
    index = make_index("app", annotations={ANNOTATION: TEXT})

    assert await date(scene, index) == NEW_YEAR
    assert scene.memory.count("manifest", "blob") == 1


async def test_creation_time_of_an_index_is_that_of_its_first_image(scene: Scene) -> None:
    first = image_with_config("first", {"created": TEXT})
    second = image_with_config("second", {"created": "2020-01-01T00:00:00Z"})
    attestation = make_attestation(first)
    index = index_of(
        [
            (attestation, attestation_child(attestation, first)),
            (first, child(first, "linux/amd64")),
            (second, child(second, "linux/arm64")),
        ]
    )

    assert await date(scene, index) == NEW_YEAR
    assert scene.memory.count("manifest", "blob") == 3


async def test_creation_time_of_an_index_takes_children_without_a_platform(scene: Scene) -> None:
    image = image_with_config("first", {"created": TEXT})

    assert await date(scene, index_of([(image, child(image))])) == NEW_YEAR


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(index_of([]), id="empty index"),
        pytest.param(
            index_of([(make_image("app"), child(make_image("app"), Platform("unknown", "unknown")))]),
            id="index of attestations",
        ),
        pytest.param(make_artifact("chart"), id="artifact"),
        pytest.param(make_image("app"), id="config without a time"),
        pytest.param(image_with_config("app", {"created": None}), id="null"),
        pytest.param(image_with_config("app", {"created": 1767225600}), id="number"),
        pytest.param(image_with_config("app", {"created": "yesterday"}), id="no time"),
        pytest.param(image_with_config("app", b"<html>"), id="no JSON"),
        pytest.param(image_with_config("app", b'["2026"]'), id="no object"),
        pytest.param(image_with_config("app", b"\xff\xfe"), id="no text"),
        pytest.param(image_with_config("app", b"[" * 100_000), id="nested too deep"),
    ],
)
async def test_creation_time_is_none_where_nothing_says_it(scene: Scene, content: Content) -> None:
    scene.memory.piece = 65_536

    assert await date(scene, content) is None


@pytest.mark.covers("E27")
@pytest.mark.covers("C37")
async def test_creation_time_of_indexes_in_indexes_is_looked_for_in_eight_levels(scene: Scene) -> None:
    root = make_image("bottom", annotations={ANNOTATION: "2025-01-01T00:00:00Z"})
    for _ in range(50):
        root = index_of([(root, child(root))])
    scene.memory.add(SOURCE, root)

    assert await date(scene, root) is None
    assert scene.memory.count("manifest") == MAX_DEPTH


async def test_creation_time_does_not_read_a_huge_config(scene: Scene) -> None:
    huge = image_with_config("app", {"created": TEXT}, size=MAX_CONFIG + 1)

    assert await date(scene, huge) is None
    assert scene.memory.count("blob") == 0


@pytest.mark.parametrize(
    ("verb", "error"), [("manifest", NotFoundError("gone")), ("blob", DeniedError("no"))], ids=["manifest", "config"]
)
async def test_creation_time_raises_what_the_source_raises(scene: Scene, verb: str, error: MirrordError) -> None:
    scene.memory.fail(verb, error)

    with pytest.raises(type(error)):
        await date(scene, image_with_config("app", {"created": TEXT}))


async def test_read_config_refuses_other_bytes(scene: Scene) -> None:
    image = scene.memory.add(SOURCE, image_with_config("app", {"created": TEXT}))
    config = image.manifest.config
    scene.memory.spoil[config.digest] = [b"x" * config.size]

    with pytest.raises(ContentMismatchError, match="came with other bytes"):
        await read_config(scene.memory.reader(SOURCE), scene.slots, config)


async def test_read_config_takes_and_returns_a_place_at_the_source(scene: Scene) -> None:
    image = scene.memory.add(SOURCE, image_with_config("app", {"created": TEXT}))

    fields = await read_config(scene.memory.reader(SOURCE), scene.slots, image.manifest.config)

    assert fields == {"created": TEXT}
    assert Digest.of(image.blobs[image.manifest.config.digest]) == image.manifest.config.digest
    assert scene.memory.bodies[SOURCE.host] == 0
