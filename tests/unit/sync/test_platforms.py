from __future__ import annotations

import pytest

from mirrord.errors import NotFoundError
from mirrord.oci.platform import Platform
from mirrord.planning.rule import IndexMode, PlatformSelector
from mirrord.sync.platforms import Wanted, apply_filter, why_unwanted
from tests.fakes.images import Content, make_artifact, make_image, make_index
from tests.unit.sync.scene import SOURCE, Scene, image_with_config

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene() -> Scene:
    return Scene()


def select(*platforms: str, mode: IndexMode = IndexMode.REWRITE) -> PlatformSelector:
    return PlatformSelector(platforms=tuple(map(Platform.parse, platforms)), mode=mode)


async def apply(scene: Scene, content: Content, selector: PlatformSelector) -> Wanted:
    scene.memory.add(SOURCE, content)
    return await apply_filter(scene.memory.reader(SOURCE), content.descriptor, selector)


async def explain(scene: Scene, content: Content, selector: PlatformSelector) -> str:
    scene.memory.add(SOURCE, content)
    return await why_unwanted(scene.memory.reader(SOURCE), scene.slots, content.descriptor, selector)


@pytest.mark.parametrize(
    ("content", "selector"),
    [
        pytest.param(make_index("app"), select(), id="index without a filter"),
        pytest.param(make_image("app"), select("linux/arm64"), id="image"),
    ],
)
async def test_apply_filter_asks_nothing_where_there_is_nothing_to_cut(
    scene: Scene, content: Content, selector: PlatformSelector
) -> None:
    assert await apply(scene, content, selector) == Wanted(descriptor=content.descriptor)
    assert scene.memory.log == []


async def test_apply_filter_names_what_an_index_does_not_offer(scene: Scene) -> None:
    index = make_index("app")

    wanted = await apply(scene, index, select("linux/s390x"))

    assert wanted == Wanted(
        descriptor=index.descriptor,
        manifest=index.root,
        unwanted="it offers none of the platforms linux/s390x",
        missing=(Platform.parse("linux/s390x"),),
    )


@pytest.mark.parametrize("mode", list(IndexMode))
async def test_apply_filter_names_missing_platforms_beside_what_is_kept(scene: Scene, mode: IndexMode) -> None:
    wanted = await apply(scene, make_index("app"), select("linux/amd64", "linux/s390x", mode=mode))

    assert wanted.missing == (Platform.parse("linux/s390x"),)
    assert wanted.unwanted == ""
    assert wanted.rewritten is (mode is IndexMode.REWRITE)
    assert len(wanted.absent) == (0 if mode is IndexMode.REWRITE else 1)


@pytest.mark.covers("C2")
async def test_apply_filter_does_not_rewrite_what_is_all_wanted(scene: Scene) -> None:
    index = make_index("app")

    wanted = await apply(scene, index, select("linux/amd64", "linux/arm64"))

    assert wanted == Wanted(descriptor=index.descriptor, manifest=index.root)


async def test_apply_filter_goes_by_the_bytes_where_a_head_took_an_image_for_an_index(scene: Scene) -> None:
    """A registry may tell the wrong media type for a tag; the manifest itself decides."""
    image, index = make_image("app"), make_index("app")
    scene.memory.add(SOURCE, index)
    scene.memory.at(SOURCE).manifests[index.digest] = image.root

    wanted = await apply_filter(scene.memory.reader(SOURCE), index.descriptor, select("linux/amd64"))

    assert wanted == Wanted(descriptor=image.descriptor, manifest=image.root)


@pytest.mark.parametrize(
    ("content", "wanted", "expected"),
    [
        pytest.param(make_image("app"), (), "", id="no filter"),
        pytest.param(make_image("app"), ("linux/amd64",), "", id="wanted"),
        pytest.param(make_image("app"), ("linux/arm64", "linux/amd64"), "", id="one of them"),
        pytest.param(
            make_image("app", platform="linux/arm/v7"),
            ("linux/arm/v6",),
            "it is for linux/arm/v7, which is not among the platforms that are wanted",
            id="another variant",
        ),
        pytest.param(make_image("app", platform="linux/arm/v7"), ("linux/arm",), "", id="any variant"),
        pytest.param(make_artifact("chart"), ("linux/amd64",), "", id="artifact"),
        pytest.param(make_index("app"), ("linux/s390x",), "", id="index"),
        pytest.param(image_with_config("app", {"architecture": "arm64"}), ("linux/amd64",), "", id="no os"),
        pytest.param(
            image_with_config("app", {"os": "windows", "architecture": 64}),
            ("linux/amd64",),
            "it is for windows, which is not among the platforms that are wanted",
            id="no architecture",
        ),
    ],
)
async def test_why_unwanted_says_for_what_an_image_is(
    scene: Scene, content: Content, wanted: tuple[str, ...], expected: str
) -> None:
    assert await explain(scene, content, select(*wanted)) == expected


async def test_why_unwanted_raises_where_the_source_does_not_tell(scene: Scene) -> None:
    scene.memory.fail("blob", NotFoundError("no config"))

    with pytest.raises(NotFoundError):
        await explain(scene, make_image("app"), select("linux/arm64"))
