"""Quay, over the emulated net: its traps, its listings with digests, and whole runs."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

import pytest

from mirrord.errors import PolicyRefusedError, UnauthorizedError, UnsupportedError
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import ACCEPT
from mirrord.oci.reference import Reference, Repository, Tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.report import Outcome
from mirrord.sync.delete import delete
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Action, Around, Change, Respond
from tests.fakes.images import content, make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import Manifests, Profile, Refusal
from tests.fakes.registries.quay import NAMES_QUAY, OAUTH_USER, QUAY, QuayApi
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import PLAIN, carry_out, join_plain, process, rule
from tests.fakes.stores import put, tag_of

pytestmark = pytest.mark.anyio

HOST = "quay.io"
PATH = "acme/app"
IMAGE = make_image("app")
RAW = content("layer")
QUAY_OAUTH = replace(QUAY, auth=replace(QUAY.auth, user=OAUTH_USER))
MIB = 1024 * 1024


async def join(internet: Internet, profile: Profile = QUAY) -> FakeRegistry:
    return await internet.join(profile, NAMES_QUAY)


def api(registry: FakeRegistry) -> QuayApi:
    assert isinstance(registry.api, QuayApi)
    return registry.api


def trap(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trap", [pytest.param("", id=name)])


def scopes_asked(registry: FakeRegistry) -> list[str]:
    return [unquote(record.target.decode()).partition("scope=")[2] for record in registry.traffic.of("token")]


async def bulk(client: Client, path: str = PATH) -> list[TagEntry]:
    return [entry async for page in client.reader(path).bulk_tags() for entry in page.entries]


# --- tokens


@trap("trap-01-quay")
async def test_token_without_a_life_is_used_for_less_than_a_minute(trap: str) -> None:
    """Quay's answer has nothing but the token; the default of the protocol is 60 s."""
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            await client.reader(PATH).head(Tag("1.0"))
            client.clock.advance(40)
            await client.reader(PATH).head(Tag("1.0"))
            early = quay.traffic.counts["token"]
            client.clock.advance(20)
            await client.reader(PATH).head(Tag("1.0"))

    assert (early, quay.traffic.counts["token"]) == (1, 2)
    assert {record.status for record in quay.traffic.of("manifest HEAD")} == {200}


@trap("trap-05-quay")
async def test_token_that_does_not_allow_the_push_ends_in_one_clear_error(trap: str) -> None:
    """The token service grants less than was asked for, and says nothing of it."""
    readonly = replace(QUAY, auth=replace(QUAY.auth, granted=frozenset({"pull"})))
    async with Internet() as internet:
        quay = await join(internet, readonly)
        put(quay, PATH, IMAGE)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            with pytest.raises(UnauthorizedError):
                await client.writer(PATH).put_manifest(IMAGE.root, Tag("1.0"))

    assert [record.status for record in quay.traffic.of("manifest PUT")] == [401, 401]
    assert quay.traffic.counts["token"] == 2
    assert quay.store.tags(PATH) == {}


@trap("trap-06-quay")
async def test_deletion_is_never_asked_for_by_its_name(trap: str) -> None:
    """A scope with the action delete is answered 400; who may push may delete."""
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, IMAGE, "1.0", "latest")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            await client.writer(PATH).delete(Tag("1.0"))

    assert quay.store.tags(PATH) == {"latest": IMAGE.digest}
    assert scopes_asked(quay) == [f"repository:{PATH}:pull,push,*&account=acme+mirror"]


@trap("trap-06-quay-mount")
async def test_source_of_a_mount_that_no_token_covers_costs_the_mount_alone(trap: str) -> None:
    """A nested name, which this Quay has switched off, makes the whole token request fail."""
    async with Internet() as internet:
        quay = await join(internet)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            mounted = await client.writer(PATH).mount_blob(blob_of(RAW), Repository(HOST, "acme/nested/app"))
            await client.writer(PATH).put_blob(blob_of(RAW), stream(RAW))

    assert not mounted
    assert quay.store.blob(PATH, Digest.of(RAW)) == RAW
    assert [record.status for record in quay.traffic.of("token")] == [400, 200]


async def test_repository_is_not_made_by_looking() -> None:
    """A token for a push makes the repository: a run that finds everything in place asks for none, nor does a look."""
    async with Internet() as internet:
        plain, quay = await join_plain(internet), await join(internet)
        put(plain, "app", IMAGE, "1.0")
        put(quay, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            assert await client.writer("acme/missing").head(Tag("1.0")) is None
        async with process(internet, quay) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert done.count(Outcome.IN_SYNC) == 1
    assert quay.switches.created == set()
    assert not [scope for scope in scopes_asked(quay) if "push" in scope]


# --- reading


@trap("trap-12-quay")
async def test_blob_is_fetched_from_the_content_network_without_the_token(trap: str) -> None:
    """The network refuses a request that carries Authorization, and one whose signed query changed."""
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, IMAGE, "1.0")
        layer = IMAGE.root.blobs()[-1]
        async with (
            internet.client(HOST, credential=credential_of(quay)) as client,
            client.reader(PATH).blob(layer) as pieces,
        ):
            body = b"".join([piece async for piece in pieces])

    assert body == IMAGE.blobs[layer.digest]
    assert [(record.status, record.header("Authorization")) for record in quay.storage_traffic.records] == [(200, None)]


@pytest.mark.parametrize(
    "docker", [pytest.param(False, id="trap-16-quay-oci"), pytest.param(True, id="trap-16-quay-docker")]
)
async def test_index_comes_as_it_is_since_all_types_are_accepted(docker: bool) -> None:
    """What is not accepted would be rewritten, or refused."""
    index = make_index("index", docker=docker)
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, index, "1.0")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            head = await client.reader(PATH).head(Tag("1.0"))
            manifest = await client.reader(PATH).manifest(index.digest)

    assert head is not None
    assert (head.digest, manifest.raw) == (index.digest, index.raw)
    asked = [*quay.traffic.of("manifest HEAD"), *quay.traffic.of("manifest GET")]
    assert [set((record.header("Accept") or "").split(", ")) for record in asked] == [set(ACCEPT)] * 2


@pytest.mark.parametrize("trap", [pytest.param("", id="trap-22-quay"), pytest.param("", id="trap-23-quay")])
async def test_pages_of_tags_are_followed_by_their_absolute_links(trap: str) -> None:
    """A page has 100 tags at most, and Link names the host."""
    tags = [f"v{number:03}" for number in range(230)]
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, IMAGE, *tags)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            listed = await client.tags(PATH)

    assert listed == tags
    assert [record.target.partition(b"?")[2] for record in quay.traffic.of("tags/list")] == [
        b"n=100",
        b"last=v099&n=100",
        b"last=v199&n=100",
    ]


# --- writing


@trap("trap-29-quay")
async def test_absolute_location_of_an_upload_is_used_as_it_is(trap: str) -> None:
    """The digest is appended, and the rest stays."""
    async with Internet() as internet:
        quay = await join(internet)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            await client.writer(PATH).put_blob(blob_of(RAW), stream(RAW))

    (closing,) = quay.traffic.of("upload PUT")
    assert closing.target.endswith(f"digest={Digest.of(RAW)}".encode())
    assert closing.status == 201
    assert quay.store.blob(PATH, Digest.of(RAW)) == RAW


@trap("trap-31-quay")
async def test_range_that_is_off_by_one_does_not_disturb_chunks(trap: str) -> None:
    """Our own count is believed, and the digest decides."""
    raw = content("large", 70 * MIB)
    chunked = replace(QUAY, uploads=replace(QUAY.uploads, put_body=Refusal(status=405)))
    async with Internet() as internet:
        quay = await join(internet, chunked)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            with pytest.raises(UnsupportedError):
                await client.writer(PATH).put_blob(blob_of(raw), stream(raw))
            await client.writer(PATH).put_blob(blob_of(raw), stream(raw))

    assert quay.store.blob(PATH, Digest.of(raw)) == raw
    assert [record.status for record in quay.traffic.of("upload PATCH")] == [202, 202, 202]


@trap("trap-34-quay")
async def test_no_blob_is_sent_with_the_request_that_opens_an_upload(trap: str) -> None:
    """Quay would take it; others drop it in silence, so it is never done."""
    async with Internet() as internet:
        quay = await join(internet)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            await client.writer(PATH).put_blob(blob_of(RAW), stream(RAW))

    (opening,) = quay.traffic.of("upload POST")
    assert (opening.received_bytes, b"digest" in opening.target) == (0, False)
    assert quay.traffic.counts["upload PUT"] == 1


@pytest.mark.parametrize(
    ("mount", "mounted"),
    [
        pytest.param("done", True, id="trap-35-quay-mounted"),
        pytest.param("upload", False, id="trap-35-quay-session"),
        pytest.param(Refusal(status=405), False, id="trap-35-quay-refused"),
    ],
)
async def test_blob_arrives_whether_it_is_mounted_or_not(mount: object, mounted: bool) -> None:
    """Quay answers any failure of a mount with an upload session, which is given back."""
    profile = replace(QUAY, uploads=replace(QUAY.uploads, mount=mount))  # type: ignore[arg-type]
    async with Internet() as internet:
        quay = await join(internet, profile)
        quay.store.add_blob("acme/base", RAW)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            done = await client.writer(PATH).mount_blob(blob_of(RAW), Repository(HOST, "acme/base"))
            if not done:
                await client.writer(PATH).put_blob(blob_of(RAW), stream(RAW))

    assert done is mounted
    assert quay.store.blob(PATH, Digest.of(RAW)) == RAW
    assert quay.store.uploads(PATH) == ()


@trap("trap-36-quay")
async def test_blob_that_is_reaped_before_its_manifest_comes_is_sent_again(trap: str) -> None:
    """Quay keeps a blob that nothing names for an hour."""
    layer = IMAGE.root.blobs()[-1].digest
    async with Internet() as internet:
        plain, quay = await join_plain(internet), await join(internet)
        put(plain, "app", IMAGE, "1.0")
        reap = Around(before=lambda: quay.store.remove_blob(PATH, layer))
        quay.fault(reap, kind="manifest PUT")
        async with process(internet, quay) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert done.problems == []
    assert [record.status for record in quay.traffic.of("manifest PUT")] == [400, 201]
    assert tag_of(quay, PATH, "1.0") == IMAGE.digest


IMMUTABLE = Refusal(status=409, code="TAG_IMMUTABLE", message="tag is immutable")


@trap("trap-37-quay")
async def test_immutable_tag_with_other_content_is_a_conflict_and_tried_once(trap: str) -> None:
    """It stays as it is, and the run says so."""
    old = make_image("old")
    async with Internet() as internet:
        plain, quay = (
            await join_plain(internet),
            await join(internet, replace(QUAY, manifests=Manifests(immutable_tags=IMMUTABLE))),
        )
        put(plain, "app", IMAGE, "1.0")
        put(quay, PATH, old, "1.0")
        async with process(internet, quay) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert any("TAG_IMMUTABLE" in problem or "immutable" in problem for problem in done.problems)
    assert [record.status for record in quay.traffic.of("manifest PUT")] == [409]
    assert quay.store.tags(PATH) == {"1.0": old.digest}


@trap("trap-37-quay-same")
async def test_immutable_tag_with_the_same_content_is_not_put(trap: str) -> None:
    """It would be refused, although nothing would change."""
    async with Internet() as internet:
        plain, quay = (
            await join_plain(internet),
            await join(internet, replace(QUAY, manifests=Manifests(immutable_tags=IMMUTABLE))),
        )
        put(plain, "app", IMAGE, "1.0")
        put(quay, PATH, IMAGE, "1.0")
        async with process(internet, quay) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert (done.problems, done.count(Outcome.IN_SYNC)) == ([], 1)
    assert quay.traffic.counts["manifest PUT"] == 0


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            "manifest PUT",
            b'{"errors":[{"code":"DENIED","message":"System is currently read-only.","is_readonly":true}]}',
        ),
        ("upload POST", b'{"errors":[{"code":"METHOD NOT ALLOWED","message":"Pushes are disabled"}]}'),
    ],
    ids=["read-only", "pushes-disabled"],
)
async def test_quay_that_takes_no_pushes_says_so_once(kind: str, body: bytes) -> None:
    """Both come as 405, with codes of Quay's own."""
    async with Internet() as internet:
        plain, quay = await join_plain(internet), await join(internet)
        put(plain, "app", make_image("app", layers=0), "1.0")
        fault = quay.fault(Respond(405, body=body), kind=kind, times=None)
        async with process(internet, quay) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert fault.fired == 1
    (problem,) = done.problems
    assert "read-only" in problem or "Pushes are disabled" in problem


@pytest.mark.parametrize(
    ("profile", "api_answers", "tagged"),
    [
        pytest.param(QUAY, True, False, id="trap-39-quay"),
        pytest.param(
            replace(QUAY, referrers=Refusal(status=404, code="NOT_FOUND")), False, True, id="trap-39-quay-off"
        ),
    ],
)
async def test_referrers_are_kept_by_the_api_although_a_put_does_not_say_that_there_is_one(
    profile: Profile, api_answers: bool, tagged: bool
) -> None:
    """No OCI-Subject, and 400 for a digest that is not there, say nothing against the API; 404 does."""
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with Internet() as internet:
        quay = await join(internet, profile)
        put(quay, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            before = await client.reader(PATH).referrers(Digest.of(b"unknown"))
            for raw in signature.blobs.values():
                await client.writer(PATH).put_blob(blob_of(raw), stream(raw))
            await client.writer(PATH).put_manifest(signature.root)
            answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert before.descriptors == ()
    assert [descriptor.digest for descriptor in answer.descriptors] == [signature.digest]
    assert answer.from_api is api_answers
    assert (f"sha256-{IMAGE.digest.hex}" in quay.store.tags(PATH)) is tagged


@trap("trap-40-quay")
async def test_tag_goes_alone_and_a_digest_with_its_tags_if_that_is_meant(trap: str) -> None:
    """Quay deletes by both."""
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, IMAGE, "1.0", "2.0", "latest")
        async with process(internet, quay) as app:
            await delete(app.context, Reference.parse(f"{HOST}/{PATH}:1.0"))
            alone = quay.store.tags(PATH)
            with pytest.raises(PolicyRefusedError, match="latest"):
                await delete(app.context, Reference.parse(f"{HOST}/{PATH}@{IMAGE.digest}"))
            kept = quay.store.tags(PATH)
            await delete(app.context, Reference.parse(f"{HOST}/{PATH}@{IMAGE.digest}"), with_tags=True)

    assert alone == kept == {"2.0": IMAGE.digest, "latest": IMAGE.digest}
    assert quay.store.tags(PATH) == {}


@trap("trap-40-quay-untagged")
async def test_digest_that_has_no_tags_counts_as_deleted(trap: str) -> None:
    """Quay answers 404: it deletes tags, and reaps what is left."""
    async with Internet() as internet:
        quay = await join(internet)
        quay.fault(Respond(404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'), kind="manifest DELETE")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            await client.writer(PATH).delete(IMAGE.digest)

    assert [record.status for record in quay.traffic.of("manifest DELETE")] == [404]


# --- digests in bulk


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(Respond(401), id="bulk-03-quay-401"),
        pytest.param(Respond(403), id="bulk-03-quay-403"),
        pytest.param(Respond(404), id="bulk-03-quay-404"),
        pytest.param(Respond(429, headers=(("Retry-After", "60"),)), id="bulk-03-quay-429"),
        pytest.param(Respond(500), id="bulk-03-quay-500"),
        pytest.param(Respond(200, body=b"<html>"), id="bulk-03-quay-no-json"),
        pytest.param(Respond(200, body=b'{"tags":{}}'), id="bulk-03-quay-other-shape"),
        pytest.param(Respond(200, body=b'{"tags":[],"has_additional":true}'), id="bulk-03-quay-no-end"),
        pytest.param(Respond(200, body=b'{"tags":[]}'), id="bulk-03-quay-nothing"),
    ],
)
async def test_tags_are_listed_plainly_where_the_api_tells_nothing(action: Action) -> None:
    """Whatever goes wrong with a hint costs no more than the hint, and is remembered for a while."""
    async with Internet() as internet:
        quay = await join(internet)
        put(quay, PATH, IMAGE, "1.0", "latest")
        quay.fault(action, kind="api", times=None)
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            entries = await bulk(client)
            asked = quay.traffic.counts["api"]
            again = await bulk(client)

    assert entries == again == [TagEntry(tag=Tag("1.0")), TagEntry(tag=Tag("latest"))]
    assert quay.traffic.counts["tags/list"] == 2
    assert quay.traffic.counts["api"] == asked


@pytest.mark.parametrize(
    ("profile", "public", "authorization", "told"),
    [
        pytest.param(QUAY, True, None, True, id="bulk-05-quay-public"),
        pytest.param(QUAY, False, None, False, id="bulk-05-quay-robot"),
        pytest.param(QUAY_OAUTH, False, f"Bearer {QUAY.auth.password}", True, id="bulk-05-quay-oauth"),
    ],
)
async def test_api_sees_an_oauth_token_and_no_other_secret(
    profile: Profile, public: bool, authorization: str | None, told: bool
) -> None:
    """A robot's password is not for the API, nor are the registry's tokens."""
    async with Internet() as internet:
        quay = await join(internet, profile)
        put(quay, PATH, IMAGE, "1.0")
        api(quay).public = {PATH} if public else set()
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            await client.reader(PATH).head(Tag("1.0"))
            (entry,) = await bulk(client)

    assert entry == TagEntry(tag=Tag("1.0"), digest=IMAGE.digest if told else None)
    assert [record.header("Authorization") for record in quay.traffic.of("api")] == [authorization]
    others = [record.header("Authorization") for record in quay.traffic.records if record.kind != "api"]
    assert f"Bearer {QUAY.auth.password}" not in others


@trap("bulk-06-quay")
async def test_dead_and_doubled_rows_are_left_out(trap: str) -> None:
    """The newest row of a tag that is alive counts; the history that the API may tell does not."""
    new, old = Digest.of(b"new"), Digest.of(b"old")
    rows = f"""{{"has_additional":false,"page":1,"tags":[
        {{"name":"moved","manifest_digest":"{old}","start_ts":100}},
        {{"name":"moved","manifest_digest":"{new}","start_ts":200,"end_ts":99999999999}},
        {{"name":"back","manifest_digest":"{new}","start_ts":300,"end_ts":400}},
        {{"name":"back","manifest_digest":"{old}","start_ts":100}},
        {{"name":"gone","manifest_digest":"{old}","start_ts":100,"end_ts":200}},
        {{"name":"gone-too","manifest_digest":"{old}","start_ts":"100","end_ts":"200"}},
        {{"name":"in-words","manifest_digest":"{new}","start_ts":"200"}},
        {{"name":"in-words","manifest_digest":"{old}","start_ts":"100","end_ts":99999999999.5}},
        {{"name":"unclear","manifest_digest":"{old}","start_ts":100}},
        {{"name":"unclear","manifest_digest":"{new}","start_ts":100}},
        {{"name":"no-digest","manifest_digest":null,"start_ts":"x"}},
        {{"name":"-no-tag","manifest_digest":"{old}"}},
        null, 7]}}"""
    async with Internet() as internet:
        quay = await join(internet)
        quay.fault(Respond(200, body=rows.encode()), kind="api")
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            (page,) = [page async for page in client.reader(PATH).bulk_tags()]

    assert {entry.tag.name: entry.digest for entry in page.entries} == {
        "moved": new,
        "back": old,
        "in-words": new,
        "unclear": None,
        "no-digest": None,
    }
    assert page.skipped == 1


async def test_digests_of_all_tags_come_page_by_page() -> None:
    """Only of tags that are alive, and without a look at any of them."""
    tags = [f"v{number:03}" for number in range(150)]
    async with Internet() as internet:
        quay = await join(internet, QUAY_OAUTH)
        put(quay, PATH, IMAGE, *tags)
        api(quay).dead[PATH] = [{"name": "dead", "manifest_digest": str(IMAGE.digest), "start_ts": 1}]
        async with internet.client(HOST, credential=credential_of(quay)) as client:
            found = {entry.tag.name: entry.digest for entry in await bulk(client)}

    assert found == dict.fromkeys(tags, IMAGE.digest)
    assert quay.traffic.counts["api"] == 2
    assert quay.traffic.counts["tags/list"] == 0


# --- whole runs


@pytest.mark.parametrize(
    ("profile", "asked"),
    [
        pytest.param(QUAY_OAUTH, {"api": 2, "catalog": 0}, id="oauth"),
        pytest.param(QUAY, {"api": 1, "catalog": 1}, id="robot"),
    ],
)
async def test_all_repositories_of_a_namespace_are_mirrored(profile: Profile, asked: dict[str, int]) -> None:
    """An OAuth token is told all by the API; a robot by the catalog what is its own, by the API what is public."""
    index = make_index("index", attestations=True)
    async with Internet() as internet:
        plain, quay = await join_plain(internet), await join(internet, profile)
        api(quay).page_entries = 1
        api(quay).public = {"acme/index"}
        put(quay, PATH, IMAGE, "1.0", "latest")
        put(quay, "acme/index", index, "2.0")
        put(quay, "other/app", IMAGE, "1.0")
        if profile is QUAY:
            own = Change(lambda answer: replace(answer, body=f'{{"repositories":["{PATH}","other/app"]}}'.encode()))
            quay.fault(own, kind="catalog")
        async with process(internet, quay) as app:
            found = [repository.path async for repository in app.context.gateway.repositories(HOST, "acme/")]
            counted = {kind: quay.traffic.counts[kind] for kind in asked}
            done = await carry_out(app, rule(f"{HOST}/acme/*", f"{PLAIN}/mirror/{{repository}}"))

    assert found == [PATH, "acme/index"]
    assert counted == asked
    assert done.problems == []
    assert plain.store.repositories() == [f"mirror/{PATH}", "mirror/acme/index"]
    assert tag_of(plain, f"mirror/{PATH}", "latest") == IMAGE.digest
    assert tag_of(plain, "mirror/acme/index", "2.0") == index.digest


async def test_image_with_its_signature_is_mirrored_to_a_repository_that_quay_makes() -> None:
    """Looks are refused before it is there; the first token for a push makes it. A second run puts nothing."""
    index = make_index("index")
    signature = make_artifact("signature", subject=index.descriptor)
    async with Internet() as internet:
        plain, quay = await join_plain(internet), await join(internet)
        put(plain, "app", index, "1.0", "latest")
        put(plain, "app", signature)
        async with process(internet, quay) as app:
            first = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))
        puts = quay.traffic.counts["manifest PUT"]
        async with process(internet, quay) as app:
            second = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert first.problems == second.problems == []
    assert quay.switches.created == {PATH}
    assert tag_of(quay, PATH, "1.0") == tag_of(quay, PATH, "latest") == index.digest
    assert quay.store.manifest(PATH, signature.digest) is not None
    assert second.count(Outcome.IN_SYNC) == 2
    assert quay.traffic.counts["manifest PUT"] == puts


async def test_repository_whose_digests_are_not_told_is_listed_once_a_run() -> None:
    """A robot is refused by the API; the plain listing in its place tells all, and is not made a second time."""
    async with Internet() as internet:
        plain, quay = await join_plain(internet), await join(internet)
        put(quay, PATH, IMAGE, "1.0", "1.1", "latest")
        async with process(internet, quay) as app:
            done = await carry_out(app, rule(f"{HOST}/{PATH}", f"{PLAIN}/app"))

    assert (done.problems, len(plain.store.tags("app"))) == ([], 3)
    assert quay.traffic.counts["api"] == 1
    assert quay.traffic.counts["tags/list"] == 1
