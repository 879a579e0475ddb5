"""GitHub Container Registry, over the emulated net: its traps, its listings with digests, and whole runs."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import unquote

import pytest

from mirrord.errors import DeniedError, PolicyRefusedError, RegistryError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Reference, Repository, Tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.report import Outcome
from mirrord.sync.delete import delete
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client, credential_of
from tests.fakes.faults import Action, Change, Drop, Respond
from tests.fakes.images import content, make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import Manifests, Profile, Refusal, Uploads
from tests.fakes.registries.ghcr import GHCR, MIB, NAMES_GHCR, GithubApi
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import PLAIN, carry_out, join_plain, process, rule
from tests.fakes.stores import put, tag_of

pytestmark = pytest.mark.anyio

HOST = "ghcr.io"
PATH = "acme/tools/app"
IMAGE = make_image("app")


async def join(internet: Internet, profile: Profile = GHCR) -> FakeRegistry:
    return await internet.join(profile, NAMES_GHCR)


def github(registry: FakeRegistry) -> GithubApi:
    assert isinstance(registry.api, GithubApi)
    return registry.api


def scopes_asked(registry: FakeRegistry) -> list[str]:
    return [unquote(record.target.decode()) for record in registry.traffic.of("token")]


def trap(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trap", [pytest.param("", id=name)])


async def bulk(client: Client, path: str = PATH) -> list[TagEntry]:
    return [entry async for page in client.reader(path).bulk_tags() for entry in page.entries]


# --- the registry


@trap("trap-04-ghcr")
async def test_placeholder_scope_of_the_greeting_is_never_asked_for(trap: str) -> None:
    """The challenge of /v2/, and of every repository, names a repository that nobody asked for."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        put(ghcr, "acme/other", IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            assert await client.reader(PATH).head(Tag("1.0")) is not None
            assert await client.reader("acme/other").head(Tag("1.0")) is not None

    asked = scopes_asked(ghcr)
    assert [f"scope=repository:{path}:pull" in query for path, query in zip((PATH, "acme/other"), asked, strict=True)]
    assert not any("user/image" in query for query in asked)
    assert [record.status for record in ghcr.traffic.of("manifest HEAD")] == [200, 200]


@trap("trap-06-ghcr")
async def test_repository_that_no_token_covers_costs_the_mount_alone(trap: str) -> None:
    """The token service refuses the whole request when one of its scopes is not allowed."""
    raw = content("layer")
    async with Internet() as internet:
        ghcr = await join(internet)
        ghcr.store.add_blob("acme/forbidden", raw)
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            writer = client.writer(PATH)
            mounted = await writer.mount_blob(blob_of(raw), Repository(HOST, "acme/forbidden"))
            await writer.put_blob(blob_of(raw), stream(raw))

    assert not mounted
    assert ghcr.store.blob(PATH, Digest.of(raw)) == raw
    assert [record.status for record in ghcr.traffic.of("token")] == [403, 200, 200]
    assert ghcr.traffic.counts["mount"] == 0


@trap("trap-12-ghcr")
async def test_blob_is_fetched_from_storage_without_the_token(trap: str) -> None:
    """The storage refuses a request that carries Authorization, and one whose signed query changed."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        layer = IMAGE.root.blobs()[-1]
        async with (
            internet.client(HOST, credential=credential_of(ghcr)) as client,
            client.reader(PATH).blob(layer, offset=10) as pieces,
        ):
            body = b"".join([piece async for piece in pieces])

    assert body == IMAGE.blobs[layer.digest][10:]
    (fetched,) = ghcr.storage_traffic.records
    assert (fetched.status, fetched.header("Authorization"), fetched.header("Range")) == (206, None, "bytes=10-")


@trap("trap-18-ghcr")
async def test_registry_that_answers_no_head_is_asked_by_get(trap: str) -> None:
    """The older package registry of GitHub Enterprise Server answers HEAD with 405."""
    old = replace(GHCR, manifests=Manifests(head=Refusal(status=405)))
    async with Internet() as internet:
        ghcr = await join(internet, old)
        put(ghcr, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            head = await client.reader(PATH).head(Tag("1.0"))

    assert head is not None
    assert head.digest == IMAGE.digest
    assert [record.status for record in ghcr.traffic.of("manifest HEAD")] == [405]
    assert ghcr.traffic.counts["manifest GET"] == 1


@trap("trap-22-ghcr")
async def test_pages_shorter_than_asked_for_are_followed_to_the_last(trap: str) -> None:
    """A page has 100 tags whatever was asked for; only the missing Link is the end."""
    tags = [f"v{number:03}" for number in range(250)]
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, *tags)
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            listed = await client.tags(PATH)

    assert listed == tags
    assert ghcr.traffic.counts["tags/list"] == 3


TOO_MANY = (
    '{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880.092\u00b5s, allowed: 2000/minute"}]}'.encode()
)
SECONDARY = b'{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}'


@pytest.mark.parametrize(
    ("answer", "least_s"),
    [
        pytest.param(Respond(429, body=TOO_MANY), 1.0, id="trap-27-ghcr-microseconds"),
        pytest.param(Respond(403, body=SECONDARY), 1.0, id="trap-27-ghcr-secondary-limit"),
        pytest.param(Respond(429, headers=(("Retry-After", "7"),)), 7.0, id="trap-27-ghcr-header"),
    ],
)
async def test_request_to_slow_down_is_heeded_in_each_of_its_forms(answer: Respond, least_s: float) -> None:
    """A delay of microseconds is no delay: the registry rests for a second at least."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE)
        ghcr.fault(answer, kind="manifest PUT")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            await client.writer(PATH).put_manifest(IMAGE.root, Tag("1.0"))
            waited_s = sum(client.slept)

    assert [record.status for record in ghcr.traffic.of("manifest PUT")] == [answer.status, 201]
    assert ghcr.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert waited_s >= least_s


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        pytest.param("upload PUT", Respond(502, body=b"<html>bad gateway</html>"), id="trap-28-ghcr-502"),
        pytest.param("upload POST", Drop(reset=True), id="trap-28-ghcr-reset"),
        pytest.param("manifest PUT", Drop(), id="trap-28-ghcr-closed"),
    ],
)
async def test_image_arrives_whole_although_the_connection_fails(kind: str, action: Action) -> None:
    """GHCR answers uploads with 502 now and then."""
    async with Internet() as internet:
        plain, ghcr = await join_plain(internet), await join(internet)
        put(plain, "app", IMAGE, "1.0")
        fault = ghcr.fault(action, kind=kind)
        async with process(internet, ghcr) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert done.problems == []
    assert fault.fired == 1
    assert tag_of(ghcr, PATH, "1.0") == IMAGE.digest


@trap("trap-30-ghcr")
async def test_large_layer_goes_up_in_one_request(trap: str) -> None:
    """Chunks may have 4 MiB at most; a single PUT may be of any size."""
    raw = content("large", 9 * MIB)
    async with Internet() as internet:
        ghcr = await join(internet)
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            await client.writer(PATH).put_blob(blob_of(raw), stream(raw))

    assert ghcr.store.blob(PATH, Digest.of(raw)) == raw
    assert ghcr.traffic.counts["upload PATCH"] == 0


@trap("trap-30-ghcr-chunks")
async def test_chunks_of_a_layer_have_four_mebibytes_at_most(trap: str) -> None:
    """Where one request is not taken, chunks are, of the size that GHCR takes."""
    raw = content("large", 9 * MIB)
    chunked = replace(GHCR, uploads=Uploads(put_body=Refusal(status=405), max_chunk_bytes=4 * MIB))
    async with Internet() as internet:
        ghcr = await join(internet, chunked)
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            with pytest.raises(RegistryError) as refused:
                await client.writer(PATH).put_blob(blob_of(raw), stream(raw))
            await client.writer(PATH).put_blob(blob_of(raw), stream(raw))

    assert refused.value.retryable
    assert ghcr.store.blob(PATH, Digest.of(raw)) == raw
    lengths = [int(record.header("Content-Length") or 0) for record in ghcr.traffic.of("upload PATCH")]
    assert lengths == [4 * MIB, 4 * MIB, 1 * MIB]


@trap("trap-39-ghcr")
async def test_referrers_are_found_by_their_tag_and_the_web_site_is_not_asked(trap: str) -> None:
    """A redirect to a page for people is no referrers API; where it leads there is nobody on this net."""
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            for raw in signature.blobs.values():
                await client.writer(PATH).put_blob(blob_of(raw), stream(raw))
            await client.writer(PATH).put_manifest(signature.root)
            answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert [descriptor.digest for descriptor in answer.descriptors] == [signature.digest]
    assert not answer.from_api
    assert f"sha256-{IMAGE.digest.hex}" in ghcr.store.tags(PATH)
    assert [record.status for record in ghcr.traffic.of("referrers")] == [303]


# --- deletion


@trap("trap-40-ghcr")
async def test_version_is_deleted_by_the_api_of_github(trap: str) -> None:
    """The registry itself deletes nothing; a version is found by its digest."""
    other = make_image("other")
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        put(ghcr, PATH, other, "2.0")
        async with process(internet, ghcr) as app:
            deleted = await delete(app.context, Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert ghcr.store.tags(PATH) == {"2.0": other.digest}
    assert ghcr.store.manifest(PATH, IMAGE.digest) is None
    assert deleted.tags == (Tag("1.0"),)
    (removal,) = [record for record in ghcr.traffic.of("api") if record.method == "DELETE"]
    assert removal.target.startswith(b"/orgs/acme/packages/container/tools%2Fapp/versions/")
    assert ghcr.traffic.counts["manifest DELETE"] == 0


@trap("trap-40-ghcr-other-tags")
async def test_tag_is_not_deleted_where_another_one_would_go_with_it(trap: str) -> None:
    """A version goes with all its tags: that has to be asked for."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0", "latest")
        put(ghcr, PATH, make_image("other"), "2.0")
        before = ghcr.store.tags(PATH)
        async with process(internet, ghcr) as app:
            with pytest.raises(PolicyRefusedError, match="latest") as refused:
                await delete(app.context, Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert refused.value.code == "DIGEST_HAS_TAGS"
    assert ghcr.store.tags(PATH) == before
    assert not [record for record in ghcr.traffic.of("api") if record.method == "DELETE"]


@trap("trap-40-ghcr-last-version")
async def test_last_version_with_a_tag_is_kept_and_said_to_be(trap: str) -> None:
    """GitHub deletes the last tagged version with its package only."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        async with process(internet, ghcr) as app:
            with pytest.raises(RegistryError, match="last tagged version") as refused:
                await delete(app.context, Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert refused.value.remedy.startswith("delete the whole package")
    assert ghcr.store.tags(PATH) == {"1.0": IMAGE.digest}


@pytest.mark.parametrize(
    ("scopes", "admin"),
    [
        pytest.param({"read:packages"}, True, id="trap-40-ghcr-no-scope"),
        pytest.param({"read:packages", "delete:packages"}, False, id="trap-40-ghcr-no-administrator"),
    ],
)
async def test_deletion_without_the_right_to_it_says_which_right_is_lacking(scopes: set[str], admin: bool) -> None:
    """To those who may not delete GitHub says 403, or 404 as if there were nothing."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        put(ghcr, PATH, make_image("other"), "2.0")
        github(ghcr).scopes, github(ghcr).admin = scopes, admin
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            with pytest.raises(DeniedError) as refused:
                await client.writer(PATH).delete(IMAGE.digest)

    assert "delete:packages" in refused.value.remedy
    assert ghcr.store.tags(PATH)["1.0"] == IMAGE.digest


# --- digests in bulk


VERSION = f'[{{"id":1,"name":"{IMAGE.digest}","metadata":{{"container":{{"tags":["1.0"]}}}}}}]'.encode()


def page_of(versions: bytes) -> Change:
    """Let the API answer this instead."""
    return Change(lambda answer: replace(answer, status=200, headers=(), body=versions))


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(Respond(401, body=b'{"message":"Bad credentials"}'), id="bulk-03-ghcr-401"),
        pytest.param(Respond(403, body=b'{"message":"You need at least read:packages"}'), id="bulk-03-ghcr-403"),
        pytest.param(Respond(404, body=b'{"message":"Not Found"}'), id="bulk-03-ghcr-404"),
        pytest.param(Respond(403, body=b'{"message":"API rate limit exceeded for user"}'), id="bulk-03-ghcr-limit"),
        pytest.param(Respond(429, headers=(("Retry-After", "60"),)), id="bulk-03-ghcr-429"),
        pytest.param(Respond(500), id="bulk-03-ghcr-500"),
        pytest.param(Respond(200, body=b"<html>"), id="bulk-03-ghcr-no-json"),
        pytest.param(Respond(200, body=b'{"versions":[]}'), id="bulk-03-ghcr-other-shape"),
        pytest.param(Respond(200, body=b"[]"), id="bulk-03-ghcr-nothing"),
        pytest.param(
            Respond(200, headers=(("Link", '<https://api.github.com/x?page=21>; rel="last"'),), body=VERSION),
            id="bulk-03-ghcr-too-many-pages",
        ),
    ],
)
async def test_tags_are_listed_plainly_where_github_tells_nothing(action: Action) -> None:
    """Whatever goes wrong with a hint costs no more than the hint, and is remembered for a while."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, IMAGE, "1.0", "latest")
        ghcr.fault(action, kind="api", times=None)
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            entries = await bulk(client)
            asked = ghcr.traffic.counts["api"]
            again = await bulk(client)

    assert entries == again == [TagEntry(tag=Tag("1.0")), TagEntry(tag=Tag("latest"))]
    assert ghcr.traffic.counts["tags/list"] == 2
    assert ghcr.traffic.counts["api"] == asked


@trap("bulk-03-ghcr-anonymous")
async def test_github_is_not_asked_without_a_token(trap: str) -> None:
    """Its API refuses everybody who has none, for public packages too."""
    public = replace(GHCR, auth=replace(GHCR.auth, anonymous_pull=True))
    async with Internet() as internet:
        ghcr = await join(internet, public)
        put(ghcr, PATH, IMAGE, "1.0")
        async with internet.client(HOST) as client:
            assert await bulk(client) == [TagEntry(tag=Tag("1.0"))]

    assert ghcr.traffic.counts["api"] == 0


@trap("bulk-03-ghcr-owner")
async def test_token_that_may_not_read_packages_is_tried_once_for_an_owner(trap: str) -> None:
    """A second repository of the same owner costs no request to the API."""
    async with Internet() as internet:
        ghcr = await join(internet)
        github(ghcr).scopes = set()
        put(ghcr, PATH, IMAGE, "1.0")
        put(ghcr, "acme/other", IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            assert await bulk(client) == [TagEntry(tag=Tag("1.0"))]
            assert await bulk(client, "acme/other") == [TagEntry(tag=Tag("1.0"))]

    assert ghcr.traffic.counts["api"] == 1


@trap("bulk-05-ghcr")
async def test_token_goes_to_the_api_as_it_is_and_tokens_of_the_registry_do_not(trap: str) -> None:
    """Each side sees the credential that is meant for it."""
    async with Internet() as internet:
        ghcr = await join(internet)
        put(ghcr, PATH, make_index("app"), "1.0")
        github(ghcr).page_entries = 1
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            await client.reader(PATH).head(Tag("1.0"))
            await bulk(client)

    secret = f"Bearer {GHCR.auth.password}"
    assert len(ghcr.traffic.of("api")) == 3
    assert {record.header("Authorization") for record in ghcr.traffic.of("api")} == {secret}
    assert {record.header("X-GitHub-Api-Version") for record in ghcr.traffic.of("api")} == {"2022-11-28"}
    others = [record for record in ghcr.traffic.records if record.kind != "api"]
    assert secret not in {record.header("Authorization") for record in others}


@trap("bulk-05-ghcr-other-host")
async def test_next_page_at_another_host_is_not_asked_for(trap: str) -> None:
    """The token would go along."""
    elsewhere = (("Link", f'<https://{PLAIN}/v2/versions?page=2>; rel="next"'),)
    async with Internet() as internet:
        ghcr, plain = await join(internet), await join_plain(internet)
        put(ghcr, PATH, IMAGE, "1.0")
        ghcr.fault(Change(lambda answer: replace(answer, headers=elsewhere)), kind="api")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            assert await bulk(client) == [TagEntry(tag=Tag("1.0"))]

    assert list(plain.traffic.records) == []


@trap("bulk-06-ghcr")
async def test_nonsense_among_versions_is_left_out(trap: str) -> None:
    """Names that are no tags are skipped, what is no digest is none, of two rows the newest counts."""
    new, old = Digest.of(b"new"), Digest.of(b"old")
    rows = (
        f'[{{"id":1,"name":"{old}","updated_at":"2026-01-01T00:00:00Z","metadata":{{"container":{{"tags":["moved",7,"-no"]}}}}}},'
        f'{{"id":2,"name":"{new}","updated_at":"2026-01-02T00:00:00Z","metadata":{{"container":{{"tags":["moved"]}}}}}},'
        f'{{"id":3,"name":"{old}","updated_at":"","metadata":{{"container":{{"tags":["unclear"]}}}}}},'
        f'{{"id":4,"name":"{new}","updated_at":null,"metadata":{{"container":{{"tags":["unclear"]}}}}}},'
        '{"id":5,"name":null,"metadata":{"container":{"tags":["no-digest"]}}},'
        '{"id":6,"name":"sha256:12","metadata":{"container":{"tags":["bad-digest"]}}},'
        '{"id":7,"metadata":{"container":{"tags":null}}},{"id":8,"metadata":null},{"id":9},null,"text"]'
    )
    async with Internet() as internet:
        ghcr = await join(internet)
        ghcr.fault(page_of(rows.encode()), kind="api")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            pages = [page async for page in client.reader(PATH).bulk_tags()]

    assert {entry.tag.name: entry.digest for entry in pages[0].entries} == {
        "moved": new,
        "unclear": None,
        "no-digest": None,
        "bad-digest": None,
    }
    assert pages[0].skipped == 1


@trap("bulk-06-ghcr-pages")
async def test_tag_that_moves_while_pages_are_read_has_its_newest_digest(trap: str) -> None:
    """An older row on a later page says nothing; a newer one replaces what was told."""
    new, old = Digest.of(b"new"), Digest.of(b"old")

    def rows(first: Digest, day: int) -> bytes:
        moved = ("forth", first, day), ("back", old if first == new else new, 3 - day)
        return json.dumps(
            [
                {
                    "id": number,
                    "name": str(digest),
                    "updated_at": f"2026-01-0{at}T00:00:00Z",
                    "metadata": {"container": {"tags": [tag]}},
                }
                for number, (tag, digest, at) in enumerate(moved)
            ]
        ).encode()

    following = (("Link", '<https://api.github.com/orgs/acme/more?page=2>; rel="next"'),)
    async with Internet() as internet:
        ghcr = await join(internet)
        ghcr.fault(Respond(200, headers=following, body=rows(old, 1)), kind="api")
        ghcr.fault(Respond(200, body=rows(new, 2)), kind="api", nth=2)
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            pages = [page async for page in client.reader(PATH).bulk_tags()]

    told = [{entry.tag.name: entry.digest for entry in page.entries} for page in pages]
    assert told == [{"forth": old, "back": new}, {"forth": new}]


@pytest.mark.parametrize("user", [False, True], ids=["organisation", "user"])
async def test_digests_of_all_tags_come_with_the_versions(user: bool) -> None:
    """Whether the owner is an organisation or a user is tried once and remembered."""
    other = make_index("other")
    async with Internet() as internet:
        ghcr = await join(internet)
        github(ghcr).users = {"acme"} if user else set()
        put(ghcr, PATH, IMAGE, "1.0", "latest")
        put(ghcr, "acme/other", other, "2.0")
        async with internet.client(HOST, credential=credential_of(ghcr)) as client:
            found = {entry.tag.name: entry.digest for entry in await bulk(client)}
            assert [entry.digest for entry in await bulk(client, "acme/other")] == [other.digest]

    assert found == {"1.0": IMAGE.digest, "latest": IMAGE.digest}
    assert ghcr.traffic.counts["api"] == (3 if user else 2)
    assert ghcr.traffic.counts["tags/list"] == ghcr.traffic.counts["manifest HEAD"] == 0


# --- whole runs


@pytest.mark.parametrize("user", [False, True], ids=["organisation", "user"])
async def test_all_packages_of_an_owner_are_mirrored(user: bool) -> None:
    """``ghcr.io/acme/**``: names with slashes too, found by GitHub's API, page by page."""
    index = make_index("index", attestations=True)
    async with Internet() as internet:
        plain, ghcr = await join_plain(internet), await join(internet)
        github(ghcr).users = {"acme"} if user else set()
        github(ghcr).page_entries = 2
        put(ghcr, PATH, IMAGE, "1.0", "latest")
        put(ghcr, "acme/index", index, "2.0")
        put(ghcr, "acme/tools/more", IMAGE, "3.0")
        put(ghcr, "other/app", IMAGE, "4.0")
        async with process(internet, ghcr) as app:
            done = await carry_out(app, rule(f"{HOST}/acme/**", f"{PLAIN}/mirror/{{repository}}"))

    assert done.problems == []
    assert sorted(plain.store.repositories()) == [f"mirror/{path}" for path in ("acme/index", PATH, "acme/tools/more")]
    assert tag_of(plain, f"mirror/{PATH}", "latest") == IMAGE.digest
    assert tag_of(plain, "mirror/acme/index", "2.0") == index.digest


async def test_image_with_its_signature_is_mirrored_to_ghcr_once() -> None:
    """A second run finds everything in place and puts nothing."""
    index = make_index("index")
    signature = make_artifact("signature", subject=index.descriptor)
    async with Internet() as internet:
        plain, ghcr = await join_plain(internet), await join(internet)
        put(plain, "app", index, "1.0", "latest")
        put(plain, "app", signature)
        async with process(internet, ghcr) as app:
            first = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))
        puts = ghcr.traffic.counts["manifest PUT"]
        async with process(internet, ghcr) as app:
            second = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert first.problems == second.problems == []
    assert tag_of(ghcr, PATH, "1.0") == tag_of(ghcr, PATH, "latest") == index.digest
    assert ghcr.store.manifest(PATH, signature.digest) is not None
    assert second.count(Outcome.IN_SYNC) == 2
    assert ghcr.traffic.counts["manifest PUT"] == puts
