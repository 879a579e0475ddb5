import pytest

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.estimate import Estimate, Estimator
from mirrord.planning.plan import Decision, ImagePlan, TagPlan, TargetPlan
from mirrord.planning.rewrite import rewrite_index
from tests.fakes.images import Content, content, digest_of, make_image, make_index

SOURCE = Repository("docker.io", "library/nginx")
ONE = Repository("one.internal", "nginx")
OTHER = Repository("other.internal", "nginx")
LAYOUT = LayoutDirectory("airgap")
IMAGE = make_image(layers=2, layer_size=100)
CONFIG_SIZE = IMAGE.manifest.config.size
SIZE = CONFIG_SIZE + 200
FOREIGN = Descriptor(
    media_type="application/vnd.oci.image.layer.nondistributable.v1.tar", digest=digest_of("foreign"), size=1000
)


def plan(
    image: Content,
    *targets: Location,
    source: Location = SOURCE,
    decision: Decision = Decision.COPY,
    tags: int = 1,
) -> ImagePlan:
    def entry(number: int) -> TagPlan:
        return TagPlan(source_tag=Tag(f"t{number}"), target_tag=Tag(f"t{number}"), decision=decision, reason="because")

    return ImagePlan(
        rule="nginx",
        source=source,
        root=image.descriptor,
        wanted=image.descriptor,
        targets=tuple(TargetPlan(target=target, tags=tuple(map(entry, range(tags)))) for target in targets),
    )


def test_estimate_of_a_new_image_is_all_of_it() -> None:
    estimates = Estimator().add(plan(IMAGE, ONE), IMAGE.graph(), metered=True)

    assert estimates == {
        ONE: Estimate(upload=(3, SIZE), read_bytes=SIZE, pulls=1, requests=1 + 3 * (3 + 1) + 2),
    }


@pytest.mark.parametrize(
    "decision", [Decision.UP_TO_DATE, Decision.SKIP, Decision.REFUSE, Decision.FAIL], ids=lambda one: one.name
)
def test_estimate_of_what_is_not_written_is_nothing(decision: Decision) -> None:
    estimator = Estimator()

    assert estimator.add(plan(IMAGE, ONE, LAYOUT, decision=decision), IMAGE.graph()) == {
        ONE: Estimate(),
        LAYOUT: Estimate(),
    }
    assert estimator.total == Estimate()


def test_estimate_of_a_replaced_tag_is_that_of_a_copy() -> None:
    copied = Estimator().add(plan(IMAGE, ONE), IMAGE.graph())

    assert Estimator().add(plan(IMAGE, ONE, decision=Decision.REPLACE), IMAGE.graph()) == copied


def test_estimate_reads_the_source_once_for_all_targets_of_an_image() -> None:
    estimates = Estimator().add(plan(IMAGE, ONE, OTHER, LAYOUT), IMAGE.graph(), metered=True)

    assert [estimate.upload for estimate in estimates.values()] == [(3, SIZE)] * 3
    assert [estimate.read_bytes for estimate in estimates.values()] == [SIZE, 0, 0]
    assert [estimate.pulls for estimate in estimates.values()] == [1, 0, 0]
    assert [estimate.requests for estimate in estimates.values()] == [15, 11, 11]


def test_estimate_counts_each_further_tag_as_two_requests() -> None:
    one = Estimator().add(plan(IMAGE, ONE), IMAGE.graph())[ONE]
    three = Estimator().add(plan(IMAGE, ONE, tags=3), IMAGE.graph())[ONE]

    assert three.requests - one.requests == 4


def test_estimate_knows_what_a_target_holds() -> None:
    held = {(ONE, blob.digest) for blob in IMAGE.manifest.layers} | {(OTHER, IMAGE.manifest.config.digest)}
    estimate = Estimator().add(plan(IMAGE, ONE), IMAGE.graph(), held)[ONE]

    assert estimate.existing == (2, 200)
    assert estimate.upload == (1, CONFIG_SIZE)
    assert estimate.requests == 1 + 2 * 1 + (3 + 1) + 2


def test_estimate_mounts_what_the_registry_holds_elsewhere() -> None:
    held = [(Repository("one.internal", "other"), blob.digest) for blob in IMAGE.manifest.layers]
    estimate = Estimator().add(plan(IMAGE, ONE), IMAGE.graph(), held)[ONE]

    assert (estimate.mount, estimate.upload) == ((2, 200), (1, CONFIG_SIZE))
    assert estimate.requests == 1 + 2 * 2 + (3 + 1) + 2
    assert estimate.read_bytes == CONFIG_SIZE


def test_estimate_mounts_from_a_source_at_the_same_registry() -> None:
    estimate = Estimator().add(plan(IMAGE, ONE, source=Repository("one.internal", "a")), IMAGE.graph())[ONE]

    assert (estimate.mount, estimate.upload, estimate.read_bytes) == ((3, SIZE), (0, 0), 0)


def test_estimate_mounts_what_another_target_of_the_registry_gets() -> None:
    twin = Repository("one.internal", "twin")
    estimates = Estimator().add(plan(IMAGE, ONE, twin), IMAGE.graph())

    assert estimates[ONE].upload == (3, SIZE)
    assert estimates[twin].mount == (3, SIZE)


def test_estimate_never_mounts_between_layout_directories() -> None:
    other = LayoutDirectory("other")
    estimates = Estimator().add(plan(IMAGE, LAYOUT, other, source=LAYOUT), IMAGE.graph())

    assert [estimate.mount for estimate in estimates.values()] == [(0, 0), (0, 0)]
    assert [estimate.upload for estimate in estimates.values()] == [(3, SIZE), (3, SIZE)]


def test_estimate_counts_what_earlier_images_of_the_run_brought() -> None:
    shared = content("shared", 500)
    first, second = make_image("first", layers=[shared]), make_image("second", layers=[shared])
    estimator = Estimator()
    estimator.add(plan(first, ONE), first.graph())
    estimate = estimator.add(plan(second, ONE, OTHER), second.graph())

    assert estimate[ONE].existing == (1, 500)
    assert estimate[ONE].read_bytes == second.manifest.config.size
    assert estimate[OTHER].upload == (2, 500 + second.manifest.config.size)
    assert estimate[OTHER].read_bytes == 500


def test_estimate_of_the_same_image_again_has_nothing_to_move() -> None:
    estimator = Estimator()
    estimator.add(plan(IMAGE, ONE), IMAGE.graph())

    assert estimator.add(plan(IMAGE, ONE), IMAGE.graph()) == {ONE: Estimate(existing=(3, SIZE), requests=3 + 2)}


def test_estimate_pulls_each_manifest_of_a_repository_once() -> None:
    index = make_index()
    member = index.index.children()[0]
    image = Content(root=index.manifests[member.digest], manifests=index.manifests, blobs=index.blobs)
    estimator = Estimator()

    assert estimator.add(plan(image, ONE), image.graph(), metered=True)[ONE].pulls == 1
    assert estimator.add(plan(index, ONE), index.graph(), metered=True)[ONE].pulls == 2
    assert (
        estimator.add(plan(index, ONE, source=Repository("docker.io", "a/b")), index.graph(), metered=True)[ONE].pulls
        == 3
    )


def test_estimate_counts_no_pulls_where_the_source_does_not() -> None:
    estimate = Estimator().add(plan(IMAGE, ONE), IMAGE.graph())[ONE]

    assert (estimate.pulls, estimate.requests) == (0, 15)


def test_estimate_pulls_the_root_at_the_source_for_a_rewritten_one() -> None:
    index = make_index()
    rewritten = rewrite_index(index.index, index.index.manifests[:1])
    left = Content(root=rewritten, manifests=index.manifests, blobs=index.blobs)
    filtered = ImagePlan(
        rule="nginx",
        source=SOURCE,
        root=index.descriptor,
        wanted=rewritten.descriptor,
        targets=plan(left, ONE).targets,
        rewritten=rewritten,
    )
    estimator = Estimator()

    assert estimator.add(filtered, left.graph(), metered=True)[ONE].pulls == 2
    assert estimator.add(plan(index, OTHER), index.graph(), metered=True)[OTHER].pulls == 1


@pytest.mark.parametrize(("fetch", "upload"), [(False, (3, SIZE)), (True, (4, SIZE + 1000))], ids=["kept", "fetched"])
def test_estimate_moves_foreign_layers_only_when_they_are_fetched(*, fetch: bool, upload: tuple[int, int]) -> None:
    image = make_image(layers=2, layer_size=100, foreign=[FOREIGN])

    assert Estimator().add(plan(image, ONE), image.graph(), fetch_foreign=fetch)[ONE].upload == upload


def test_estimator_adds_everything_up() -> None:
    estimator = Estimator()
    first = estimator.add(plan(IMAGE, ONE, OTHER), IMAGE.graph(), metered=True)
    other = make_index("other")
    second = estimator.add(plan(other, ONE), other.graph(), metered=True)

    assert estimator.total == first[ONE] + first[OTHER] + second[ONE]
    assert estimator.total.pulls == 4


def test_estimates_add_up_field_by_field() -> None:
    one = Estimate(upload=(1, 2), mount=(3, 4), existing=(5, 6), read_bytes=7, requests=8, pulls=9)

    assert one + Estimate() == one
    assert one + one == Estimate(upload=(2, 4), mount=(6, 8), existing=(10, 12), read_bytes=14, requests=16, pulls=18)


def test_estimate_takes_digests_that_no_image_needs() -> None:
    held: list[tuple[Location, Digest]] = [(ONE, digest_of("stranger")), (LAYOUT, digest_of("stranger"))]

    assert Estimator().add(plan(IMAGE, ONE), IMAGE.graph(), held)[ONE].upload == (3, SIZE)
