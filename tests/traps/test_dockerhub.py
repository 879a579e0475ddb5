"""Docker Hub over the emulated net: its traps, its own API, and what is deleted by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from urllib.parse import unquote

import anyio
import pytest

from mirrord.demo.registry.traffic import RequestRecord
from mirrord.errors import (
    AddressRefusedError,
    DeniedError,
    MirrordError,
    NotFoundError,
    UnauthorizedError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Reference, Repository, Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.listing import TagEntry
from mirrord.planning.pattern import PathPattern
from mirrord.planning.report import Outcome
from mirrord.planning.rule import RepositorySelector, Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.registry.providers.dockerhub import LOGIN_REFUSED_FOR_S, TOKEN_LIFE_S
from mirrord.sync.delete import delete, look_up
from tests.contract.images import blob_of, stream
from tests.fakes.clients import Client
from tests.fakes.clock import START
from tests.fakes.faults import Action, Around, CutBody, Drop, Respond
from tests.fakes.images import content, make_artifact, make_image
from tests.fakes.profiles import Auth, Profile, Refusal, TagList, Uploads
from tests.fakes.registries.dockerhub import DOCKERHUB, HOST
from tests.fakes.registry import FakeRegistry
from tests.traps.hub import TARGET, scene

pytestmark = pytest.mark.anyio

PATH = "acme/app"
IMAGE = make_image("app")


def trap(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trap", [pytest.param("", id=name)])


def with_auth(auth: Auth) -> Profile:
    return replace(DOCKERHUB, auth=auth)


def to_hub(path: str = PATH) -> Rule:
    """Return the rule that mirrors a repository of the other registry to Docker Hub."""
    return Rule(
        name=path,
        source=Source(location=Repository(TARGET, path)),
        targets=(TargetTemplate.parse(f"{HOST}/{path}"),),
    )


def scopes_asked(registry: FakeRegistry) -> list[str]:
    return [unquote(record.target.decode()) for record in registry.traffic.of("token")]


def is_whole(record: RequestRecord) -> bool:
    """Say whether a blob is asked for from its beginning."""
    return record.header("Range") is None


def authorizations(registry: FakeRegistry, kind: str) -> set[str | None]:
    return {record.header("Authorization") for record in registry.traffic.of(kind)}


async def bulk(client: Client, path: str = PATH) -> dict[str, Digest | None]:
    return {entry.tag.name: entry.digest for entry in await bulk_entries(client, path)}


async def bulk_entries(client: Client, path: str = PATH) -> list[TagEntry]:
    return [entry async for page in client.reader(path).bulk_tags() for entry in page.entries]


# --- authorisation


@trap("trap-05-dockerhub-push")
async def test_token_without_the_right_to_push_ends_in_a_clear_error(trap: str) -> None:
    """The token service gives a token all the same; the registry refuses it, and is not asked for ever."""
    async with scene(with_auth(replace(DOCKERHUB.auth, granted=frozenset({"pull"})))) as net, net.client() as client:
        with pytest.raises(UnauthorizedError, match="no right"):
            await client.writer(PATH).put_manifest(IMAGE.root, Tag("1.0"))

    assert [record.status for record in net.hub.traffic.of("manifest PUT")] == [401, 401]
    assert net.hub.traffic.counts["token"] == 2
    assert net.hub.store.tags(PATH) == {}


@trap("trap-06-dockerhub-mount")
async def test_repository_that_no_token_covers_costs_the_mount_alone(trap: str) -> None:
    """One scope that the token service does not take spoils the request for the token."""
    raw = content("layer")
    refusing = replace(DOCKERHUB.auth, refused_scopes=("acme/forbidden",), refused_scope_status=401)
    async with scene(with_auth(refusing)) as net, net.client() as client:
        net.hub.store.add_blob("acme/forbidden", raw)
        writer = client.writer(PATH)
        mounted = await writer.mount_blob(blob_of(raw), Repository(HOST, "acme/forbidden"))
        await writer.put_blob(blob_of(raw), stream(raw))

    assert not mounted
    assert net.hub.store.blob(PATH, Digest.of(raw)) == raw
    assert [record.status for record in net.hub.traffic.of("token")] == [401, 200, 200]


@trap("trap-08-dockerhub-sync")
async def test_upload_that_outlives_its_token_is_made_again(trap: str) -> None:
    """Tokens live for five minutes; the closing PUT of a slow upload comes too late, and the image arrives whole."""
    async with scene() as net:
        image = net.add(PATH, make_image("slow", layers=1), "1.0", registry=net.other)
        fault = net.hub.fault(Around(before=lambda: net.hub.clock.advance(301)), kind="upload PUT")
        found = await net.sync(to_hub())

    assert found.problems == []
    assert fault.fired == 1
    assert 401 in [record.status for record in net.hub.traffic.of("upload PUT")]
    assert net.hub.store.tags(PATH) == {"1.0": image.digest}


@pytest.mark.parametrize(
    "skew_s", [pytest.param(-600, id="trap-09-dockerhub-behind"), pytest.param(600, id="trap-09-dockerhub-ahead")]
)
async def test_token_from_a_clock_that_is_wrong_lives_as_long_as_it_says(skew_s: float) -> None:
    """Its life counts from its receipt: one token for all requests, and another one after it has died."""
    async with scene(with_auth(replace(DOCKERHUB.auth, issued_at_skew_s=skew_s))) as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        for _ in range(3):
            await client.reader(PATH).head(Tag("1.0"))
        tokens = net.hub.traffic.counts["token"]
        net.clock.advance(301)
        await client.reader(PATH).head(Tag("1.0"))

    assert (tokens, net.hub.traffic.counts["token"]) == (1, 2)
    assert [record.status for record in net.hub.traffic.of("manifest HEAD")] == [200] * 4


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("two-headers", id="trap-11-dockerhub-two-headers"),
        pytest.param("one-header-of-two", id="trap-11-dockerhub-one-header"),
    ],
)
async def test_challenge_is_found_among_others(form: str) -> None:
    """Negotiate before Bearer, and commas within quotes."""
    async with scene(with_auth(replace(DOCKERHUB.auth, challenge_form=form))) as net, net.client() as client:  # type: ignore[arg-type] # a literal
        net.add(PATH, IMAGE, "1.0")
        head = await client.reader(PATH).head(Tag("1.0"))

    assert head is not None
    assert [record.status for record in net.hub.traffic.of("manifest HEAD")] == [200]
    assert authorizations(net.hub, "token") != {None}


@trap("trap-11-dockerhub-realm")
async def test_credential_goes_to_no_realm_of_another_house(trap: str) -> None:
    """Whoever stands between says that tokens come from elsewhere: nothing is sent there."""
    realm = f"https://{TARGET}/token"
    async with scene(with_auth(replace(DOCKERHUB.auth, realm=realm))) as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        with pytest.raises(AddressRefusedError, match="AUTH_REALM_UNTRUSTED"):
            await client.reader(PATH).head(Tag("1.0"))

    assert list(net.other.traffic.records) == []
    assert net.hub.traffic.counts["token"] == 0


# --- reading


@trap("trap-12-dockerhub")
async def test_blob_is_fetched_from_storage_without_the_token(trap: str) -> None:
    """The storage refuses a request that carries Authorization, and one whose signed query changed."""
    layer = IMAGE.root.blobs()[-1]
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        async with client.reader(PATH).blob(layer, offset=10) as pieces:
            body = b"".join([piece async for piece in pieces])

    assert body == IMAGE.blobs[layer.digest][10:]
    (fetched,) = net.hub.storage_traffic.records
    assert (fetched.status, fetched.header("Authorization"), fetched.header("Range")) == (206, None, "bytes=10-")


@trap("trap-13-dockerhub")
async def test_blob_that_breaks_off_is_resumed_at_the_registry(trap: str) -> None:
    """The signed URL of the first try is not used again: the registry signs a new one for what is missing."""
    async with scene() as net:
        image = net.add(PATH, make_image("broken", layers=1, layer_size=300_000), "1.0")
        net.hub.fault(CutBody(after=100_000), kind="storage", where=is_whole, times=None)
        found = await net.sync(net.rule(PATH))

    assert found.problems == []
    assert net.served(PATH) == {"1.0": image.digest}
    ranges = sorted(str(record.header("Range")) for record in net.hub.storage_traffic.records)
    assert ranges == ["None", "None", "bytes=100000-"]
    assert len({record.target for record in net.hub.storage_traffic.records}) == 3
    assert net.hub.traffic.counts["blob GET"] == 3


# --- listing


@trap("trap-21-dockerhub")
async def test_listing_that_ignores_the_page_size_ends(trap: str) -> None:
    """As it was in 2021: all tags at once, in no order, and no Link."""
    old = replace(DOCKERHUB, tags=TagList(ignore_n=True, order="storage"))
    tags = [f"v{number:03}" for number in range(250)]
    async with scene(old) as net, net.client() as client:
        net.add(PATH, IMAGE, *tags)
        listed = await client.tags(PATH)

    assert sorted(listed) == tags
    assert net.hub.traffic.counts["tags/list"] == 1


@trap("trap-22-dockerhub")
async def test_pages_of_a_hundred_are_followed_to_the_last(trap: str) -> None:
    """As it is in 2026: a hundred a page, and a Link until the end."""
    tags = [f"v{number:03}" for number in range(250)]
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, *tags)
        listed = await client.tags(PATH)

    assert listed == tags
    assert net.hub.traffic.counts["tags/list"] == 3


# --- limits and transport


@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        pytest.param((("Retry-After", "20"),), 20, 25, id="trap-27-dockerhub-seconds"),
        pytest.param(
            (("Retry-After", format_datetime(START + timedelta(seconds=20), usegmt=True)),),
            19,
            25,
            id="trap-27-dockerhub-date",
        ),
        pytest.param((("X-Retry-After", str(int(START.timestamp()) + 20)),), 20, 25, id="trap-27-dockerhub-unix-time"),
        pytest.param((("Retry-After", "Thu, 01 Jan 2015 00:00:00 GMT"),), 1, 5, id="trap-27-dockerhub-past"),
        pytest.param((), 1, 5, id="trap-27-dockerhub-none"),
    ],
)
async def test_abuse_limit_is_heeded_in_each_of_its_forms(
    headers: tuple[tuple[str, str], ...], least_s: float, most_s: float
) -> None:
    """A plain 429 pauses the registry for as long as it asks, and for a second at least."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        net.hub.fault(Respond(429, headers, b"Too Many Requests"), kind="manifest GET")
        await client.reader(PATH).manifest(IMAGE.digest)

    assert [record.status for record in net.hub.traffic.of("manifest GET")] == [429, 200]
    assert least_s <= net.clock.monotonic() <= most_s


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        pytest.param("manifest GET", Respond(503, body=b"<html>busy</html>"), id="trap-28-dockerhub-503"),
        pytest.param("manifest GET", Respond(522), id="trap-28-dockerhub-522"),
        pytest.param("blob GET", Drop(reset=True), id="trap-28-dockerhub-reset"),
        pytest.param("manifest HEAD", Drop(), id="trap-28-dockerhub-closed"),
    ],
)
async def test_image_is_copied_although_the_connection_fails(kind: str, action: Action) -> None:
    """What the network does once does not cost the image."""
    async with scene() as net:
        net.add(PATH, IMAGE, "1.0")
        fault = net.hub.fault(action, kind=kind)
        found = await net.sync(net.rule(PATH))

    assert found.problems == []
    assert fault.fired == 1
    assert net.served(PATH) == {"1.0": IMAGE.digest}


# --- writing


@pytest.mark.parametrize(
    "uploads",
    [
        pytest.param(Uploads(location="absolute"), id="trap-29-dockerhub-absolute"),
        pytest.param(Uploads(location="no-scheme"), id="trap-29-dockerhub-no-scheme"),
        pytest.param(Uploads(location="http-downgrade"), id="trap-29-dockerhub-downgraded"),
    ],
)
async def test_upload_goes_to_where_the_registry_points(uploads: Uploads) -> None:
    """The query of the Location is kept byte for byte, whatever the form, and always over TLS."""
    raw = content("layer")
    async with scene(replace(DOCKERHUB, uploads=uploads)) as net, net.client() as client:
        await client.writer(PATH).put_blob(blob_of(raw), stream(raw))

    assert net.hub.store.blob(PATH, Digest.of(raw)) == raw
    assert all(b"_state=" in record.target for record in net.hub.traffic.of("upload PUT"))


@pytest.mark.parametrize(
    ("mount", "mounted"),
    [
        pytest.param("done", True, id="trap-35-dockerhub-done"),
        pytest.param("upload", False, id="trap-35-dockerhub-session"),
        pytest.param(Refusal(status=401, code="UNAUTHORIZED"), False, id="trap-35-dockerhub-401"),
    ],
)
async def test_mount_is_tried_and_never_costs_the_image(mount: object, mounted: bool) -> None:
    """It needs the right to pull from the source, even from a public one; without it the blob is sent."""
    raw = content("layer")
    uploads = replace(DOCKERHUB.uploads, mount=mount)  # type: ignore[arg-type] # one of the switch's values
    async with scene(replace(DOCKERHUB, uploads=uploads)) as net, net.client() as client:
        net.hub.store.add_blob("acme/base", raw)
        writer = client.writer(PATH)
        found = await writer.mount_blob(blob_of(raw), Repository(HOST, "acme/base"))
        if not found:
            await writer.put_blob(blob_of(raw), stream(raw))

    assert found is mounted
    assert net.hub.store.blob(PATH, Digest.of(raw)) == raw
    assert any("repository:acme/base:pull" in scopes for scopes in scopes_asked(net.hub))


@trap("trap-39-dockerhub")
async def test_referrers_are_kept_under_their_tag(trap: str) -> None:
    """There is no referrers API: what is pushed with a subject is listed in the index under the fallback tag."""
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        for raw in signature.blobs.values():
            await client.writer(PATH).put_blob(blob_of(raw), stream(raw))
        await client.writer(PATH).put_manifest(signature.root)
        answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert [descriptor.digest for descriptor in answer.descriptors] == [signature.digest]
    assert not answer.from_api
    assert fallback_tag(IMAGE.digest).name in net.hub.store.tags(PATH)
    assert net.hub.traffic.counts["referrers"] == 1


@trap("trap-39-dockerhub-pulls")
async def test_looking_for_referrers_that_are_not_there_costs_no_pull(trap: str) -> None:
    """The fallback tag is looked up before it is fetched."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        answer = await client.reader(PATH).referrers(IMAGE.digest)

    assert answer.descriptors == ()
    assert net.hub.traffic.counts["manifest GET"] == 0


# --- deletion


@pytest.mark.parametrize(
    "forms",
    [
        pytest.param({"documented", "older"}, id="trap-40-dockerhub"),
        pytest.param({"older"}, id="trap-40-dockerhub-older-form"),
    ],
)
async def test_tag_is_deleted_by_the_hub_api_and_no_other_goes_with_it(forms: set[str]) -> None:
    """The registry itself deletes nothing. Other tags of the same digest stay."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0", "latest")
        net.api.forms = forms
        deleted = await delete(net.context(client), Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert net.hub.store.tags(PATH) == {"latest": IMAGE.digest}
    assert (deleted.tags, deleted.manifests) == ((Tag("1.0"),), ())
    assert net.hub.traffic.counts["manifest DELETE"] == 0
    assert net.hub.traffic.counts["manifest GET"] == 0


@trap("trap-40-dockerhub-digest")
async def test_digest_is_not_deleted_and_it_is_said_why(trap: str) -> None:
    """Neither the registry nor the Hub API deletes a manifest by its digest; no option is advised that would not do."""
    reference = Reference.parse(f"{HOST}/{PATH}@{IMAGE.digest}")
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        for with_tags in (False, True):
            with pytest.raises(UnsupportedError, match="deletes tags, and no manifests by digest") as refused:
                await delete(net.context(client), reference, with_tags=with_tags)
            assert refused.value.remedy == "delete its tags by name"
        with pytest.raises(UnsupportedError, match="deletes tags, and no manifests by digest"):
            await look_up(net.context(client), reference)
        with pytest.raises(UnsupportedError, match="deletes tags, and no manifests by digest"):
            await client.writer(PATH).delete(IMAGE.digest)

    assert net.hub.traffic.counts["tags/list"] == 0
    assert net.hub.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert not [record for record in net.hub.traffic.records if record.method == "DELETE"]


@trap("trap-40-dockerhub-gone")
async def test_tag_that_is_gone_counts_as_deleted(trap: str) -> None:
    """Somebody else was quicker."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        await client.writer(PATH).delete(Tag("2.0"))

    assert net.hub.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert [record.status for record in net.hub.traffic.of("api") if record.method == "DELETE"] == [404, 404]


@trap("trap-40-dockerhub-no-right")
async def test_deletion_without_the_right_to_it_is_an_error(trap: str) -> None:
    """Access tokens may be limited to reading and writing."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        net.api.may_delete = False
        with pytest.raises(DeniedError, match="access denied"):
            await delete(net.context(client), Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert net.hub.store.tags(PATH) == {"1.0": IMAGE.digest}


@trap("trap-40-dockerhub-anonymous")
async def test_deletion_without_a_credential_is_not_even_tried(trap: str) -> None:
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, "1.0")
        with pytest.raises(UnauthorizedError, match="takes a user") as refused:
            await delete(net.context(client), Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert "right to delete" in refused.value.remedy
    assert net.hub.traffic.counts["api"] == 0


# --- repositories


@pytest.mark.parametrize("forms", [{"documented", "older"}, {"older"}], ids=["documented form", "older form"])
async def test_repositories_of_a_namespace_are_mirrored(forms: set[str]) -> None:
    """Page by page, private ones with the account's token, and no plugins."""
    async with scene() as net:
        net.api.forms = forms
        net.api.page_entries = 2
        for name in ("app", "base", "cache", "secret"):
            net.add(f"acme/{name}", make_image(name), "1.0")
        net.add("acme/plugin", make_image("plugin"), "1.0")
        net.add("acmeother/app", make_image("stranger"), "1.0")
        net.api.private, net.api.plugins = {"acme/secret"}, {"acme/plugin"}
        rule = Rule(
            name="all",
            source=Source(repositories=RepositorySelector(host=HOST, pattern=PathPattern.parse("acme/*"))),
            targets=(TargetTemplate.parse(f"{TARGET}/mirror/{{repository}}"),),
        )
        found = await net.sync(rule)

    assert found.problems == []
    assert found.count(Outcome.COPIED) == 4
    assert net.other.store.repositories() == [f"mirror/acme/{name}" for name in ("app", "base", "cache", "secret")]
    assert net.api.logins == 1


async def test_private_repositories_are_not_shown_to_nobody() -> None:
    """Without a credential the public ones are listed."""
    async with scene() as net, net.client(anonymous=True) as client:
        net.add("acme/app", IMAGE, "1.0")
        net.add("acme/secret", IMAGE, "1.0")
        net.api.private = {"acme/secret"}
        listed = await client.repositories("acme/")

    assert listed == ["acme/app"]
    assert authorizations(net.hub, "api") == {None}


async def test_repositories_without_a_namespace_are_refused_with_a_remedy() -> None:
    """Nobody lists all of Docker Hub."""
    async with scene() as net, net.client() as client:
        with pytest.raises(UnsupportedError) as refused:
            await client.repositories()

    assert "docker.io/NAMESPACE/*" in refused.value.remedy
    assert list(net.hub.traffic.records) == []


@pytest.mark.parametrize(
    ("prefix", "listed"),
    [("acme", ["acme/app", "acme/base"]), ("acme/", ["acme/app", "acme/base"]), ("acme/b", ["acme/base"])],
)
async def test_namespace_is_named_with_and_without_its_slash(prefix: str, listed: list[str]) -> None:
    async with scene() as net, net.client() as client:
        for path in ("acme/app", "acme/base", "acmeother/app"):
            net.add(path, IMAGE, "1.0")
        found = await client.repositories(prefix)

    assert found == listed


@pytest.mark.parametrize(
    ("prefix", "kind"),
    [
        pytest.param("nobody/", NotFoundError, id="unknown"),
        pytest.param("../", MirrordError, id="no name"),
        pytest.param("a#b/", MirrordError, id="a fragment"),
    ],
)
async def test_namespace_that_is_none_is_an_error(prefix: str, kind: type[MirrordError]) -> None:
    async with scene() as net, net.client() as client:
        with pytest.raises(kind):
            await client.repositories(prefix)

    assert net.hub.traffic.counts["api"] <= 3


# --- digests in bulk


@trap("bulk-01-dockerhub")
async def test_digest_of_the_hub_is_a_hint_and_the_registry_is_believed(trap: str) -> None:
    """The API lags behind: what is copied is what the registry serves."""
    async with scene() as net:
        image = net.add(PATH, make_image("new"), "1.0")
        net.api.rows = {"1.0": {"digest": str(IMAGE.digest)}}
        async with net.client() as client:
            told = await bulk(client)
        found = await net.sync(net.rule(PATH))

    assert told == {"1.0": IMAGE.digest}
    assert found.problems == []
    assert net.served(PATH) == {"1.0": image.digest}


@trap("bulk-02-dockerhub")
async def test_tag_that_the_hub_does_not_tell_is_copied_all_the_same(trap: str) -> None:
    """Listings of the Hub have missed tags: absent there is not deleted."""
    async with scene() as net:
        net.add(PATH, IMAGE, "1.0", "2.0")
        net.api.hidden = {"2.0"}
        async with net.client() as client:
            told = await bulk(client)
            listed = await client.tags(PATH)
        found = await net.sync(net.rule(PATH))

    assert told == {"1.0": IMAGE.digest}
    assert listed == ["1.0", "2.0"]
    assert found.problems == []
    assert net.served(PATH) == {"1.0": IMAGE.digest, "2.0": IMAGE.digest}


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(Respond(401, body=b'{"detail":"no"}'), id="bulk-03-dockerhub-401"),
        pytest.param(Respond(403), id="bulk-03-dockerhub-403"),
        pytest.param(Respond(404), id="bulk-03-dockerhub-404"),
        pytest.param(
            Respond(429, headers=(("X-Retry-After", str(int(START.timestamp()) + 9)),)), id="bulk-03-dockerhub-429"
        ),
        pytest.param(Respond(503), id="bulk-03-dockerhub-503"),
        pytest.param(Respond(200, body=b"<html>"), id="bulk-03-dockerhub-no-json"),
        pytest.param(Respond(200, body=b'{"count":1,"next":null,"results":null}'), id="bulk-03-dockerhub-other-shape"),
        pytest.param(Respond(200, body=b'{"next":7,"results":[]}'), id="bulk-03-dockerhub-odd-next"),
        pytest.param(
            Respond(200, body=b'{"next":"https://hub.docker.com/v2/x","results":[]}'), id="bulk-03-dockerhub-endless"
        ),
    ],
)
async def test_tags_are_listed_plainly_where_the_hub_tells_nothing(action: Action) -> None:
    """Whatever goes wrong with a hint costs no more than the hint, and is remembered for a while."""
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, "1.0", "latest")
        net.hub.fault(action, kind="api", times=None)
        first = await bulk(client)
        asked = net.hub.traffic.counts["api"]
        second = await bulk(client)

    assert first == second == {"1.0": None, "latest": None}
    assert net.hub.traffic.counts["tags/list"] == 2
    assert net.hub.traffic.counts["api"] == asked


@trap("bulk-04-dockerhub")
async def test_page_of_the_hub_tells_a_hundred_tags(trap: str) -> None:
    """What a page costs and tells is known beforehand, so that it can be compared with looks."""
    tags = [f"v{number:03}" for number in range(250)]
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, *tags)
        told = await bulk(client)
        traits = client.reader(PATH).listing

    assert told == dict.fromkeys(tags, IMAGE.digest)
    assert net.hub.traffic.counts["api"] == 3
    assert (traits.page_size, traits.has_digests, traits.has_times) == (100, True, False)


@trap("bulk-04-dockerhub-many-pages")
async def test_repository_of_many_tags_is_told_to_its_end(trap: str) -> None:
    """Giving up on the way would cost the pages that were read, and a look at each tag."""
    tags = [f"v{number:03}" for number in range(520)]
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, *tags)
        net.api.page_entries = 2
        told = await bulk(client)

    assert told == dict.fromkeys(tags, IMAGE.digest)
    assert net.hub.traffic.counts["api"] == 260
    assert net.hub.traffic.counts["tags/list"] == 0


@trap("bulk-05-dockerhub")
async def test_hub_and_registry_each_get_their_own_token(trap: str) -> None:
    """The password goes to the two services that give tokens, and to nobody else."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, *(f"v{number}" for number in range(150)))
        await client.reader(PATH).head(Tag("v1"))
        await bulk(client)

    login, *pages = net.hub.traffic.of("api")
    assert (login.method, login.target, login.header("Authorization")) == ("POST", b"/v2/auth/token", None)
    assert len(pages) == 2
    assert {str(record.header("Authorization"))[:17] for record in pages} == {"Bearer hub-token-"}
    registry = [record for record in net.hub.traffic.records if record.kind != "api"]
    assert not [record for record in registry if "hub-token" in str(record.header("Authorization"))]


@trap("bulk-05-dockerhub-next")
async def test_next_page_at_another_host_is_not_asked_for(trap: str) -> None:
    """The token would go along."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, *(f"v{number}" for number in range(150)))
        net.api.next_host = TARGET
        told = await bulk(client)

    assert set(told.values()) == {None}
    assert list(net.other.traffic.records) == []


@trap("bulk-06-dockerhub")
async def test_rows_of_the_hub_are_cleaned(trap: str) -> None:
    """No images and no digest mean "ask"; names that are none are passed over; the row pushed last counts."""
    old, new = "2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, "1.0", "empty", "null", "odd", "idle", "twice")
        net.api.rows = {
            "empty": {"images": []},
            "null": {"digest": None, "images": [{"digest": None}]},
            "odd": {"digest": "sha256:short"},
            "idle": {"tag_status": "inactive"},
            "twice": {"tag_last_pushed": old, "digest": str(Digest.of(b"old"))},
        }
        net.api.more_rows = [
            {"name": "twice", "digest": str(IMAGE.digest), "tag_last_pushed": new},
            {"name": "unclear", "digest": str(IMAGE.digest), "tag_last_pushed": new},
            {"name": "unclear", "digest": str(Digest.of(b"old")), "tag_last_pushed": new},
            {"name": "timeless", "digest": str(Digest.of(b"old")), "tag_last_pushed": None},
            {"name": "timeless", "digest": str(IMAGE.digest), "tag_last_pushed": None},
            {"name": "no/tag", "digest": str(IMAGE.digest)},
            {"name": None},
        ]
        entries = await bulk_entries(client)

    assert {entry.tag.name: entry.digest for entry in entries} == {
        "1.0": IMAGE.digest,
        "unclear": None,
        "timeless": None,
        "empty": IMAGE.digest,
        "null": None,
        "odd": None,
        "idle": IMAGE.digest,
        "twice": IMAGE.digest,
    }
    assert {entry.created for entry in entries} == {None}


@trap("bulk-07-dockerhub")
async def test_limit_of_the_hub_api_is_kept_apart_from_the_quota_of_pulls(trap: str) -> None:
    """Its limit rests the API until its moment; the registry goes on meanwhile, and no pull is spent."""
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, *(f"v{number}" for number in range(250)))
        net.api.limit = 2
        told = await bulk(client)
        rested_s = net.clock.monotonic()
        before = net.clock.monotonic()
        await client.reader(PATH).manifest(IMAGE.digest)

    assert len(told) == 250
    assert 60 <= rested_s <= 62
    assert net.clock.monotonic() == before
    assert [record.status for record in net.hub.traffic.of("api")] == [200, 200, 200]
    assert net.hub.switches.pulled == 1


@trap("bulk-07-dockerhub-429")
async def test_moment_that_the_hub_api_names_is_waited_for(trap: str) -> None:
    """X-Retry-After is a point in time, and rests the API alone."""
    async with scene() as net, net.client(anonymous=True) as client:
        net.add(PATH, IMAGE, "1.0")
        moment = str(int(START.timestamp()) + 40)
        net.hub.fault(Respond(429, (("X-Retry-After", moment),), b'{"detail":"slow down"}'), kind="api")
        told = await bulk(client)

    assert told == {"1.0": IMAGE.digest}
    assert 40 <= net.clock.monotonic() <= 42
    assert client.http.throttle is not client.gateway.handle(HOST).service._hub.throttle  # type: ignore[attr-defined] # its own


@trap("bulk-08-dockerhub")
async def test_listing_that_lags_is_asked_anew_each_time(trap: str) -> None:
    """Nothing of an answer is kept: what the Hub comes to tell is told at the next question."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        net.api.rows = {"1.0": {"digest": str(Digest.of(b"old"))}}
        lagging = await bulk(client)
        net.api.rows = {}
        fresh = await bulk(client)

    assert (lagging, fresh) == ({"1.0": Digest.of(b"old")}, {"1.0": IMAGE.digest})


# --- the Hub API's token


async def test_token_of_the_hub_is_fetched_once_for_all_and_renewed_before_it_dies() -> None:
    """Many questions at the same time, more than the API has places: one login; another one after eight minutes."""
    async with scene() as net, net.client() as client:
        for number in range(12):
            net.add(f"acme/app{number}", IMAGE, "1.0")
        await gather(client, 12)
        first = net.api.logins
        net.clock.advance(TOKEN_LIFE_S)
        await gather(client, 1)

    assert (first, net.api.logins) == (1, 2)
    assert 401 not in [record.status for record in net.hub.traffic.of("api")]


async def test_token_of_the_hub_that_is_refused_is_renewed_once() -> None:
    """It was revoked: listing and deletion log in again, and go on."""
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0", "2.0")
        await bulk(client)
        net.api.revoke_all()
        told = await bulk(client)
        net.api.revoke_all()
        client.clock.advance(60)
        await client.writer(PATH).delete(Tag("2.0"))

    assert told == {"1.0": IMAGE.digest, "2.0": IMAGE.digest}
    assert net.hub.store.tags(PATH) == {"1.0": IMAGE.digest}
    assert net.api.logins == 3


async def test_token_of_the_hub_that_many_are_refused_with_is_renewed_once() -> None:
    """Each of fifty hears of it; the first logs in again, and the others take what it got."""
    async with scene() as net, net.client() as client:
        tags = [f"1.{number}" for number in range(50)]
        net.add(PATH, IMAGE, *tags, "2.0")
        await bulk(client)
        net.api.revoke_all()
        async with anyio.create_task_group() as group:
            for tag in tags:
                group.start_soon(client.writer(PATH).delete, Tag(tag))

    assert net.hub.store.tags(PATH) == {"2.0": IMAGE.digest}
    assert net.api.logins == 2


async def test_right_that_lacks_at_the_hub_is_no_reason_to_log_in_for_each_request() -> None:
    async with scene() as net, net.client() as client:
        net.add(PATH, IMAGE, "1.0")
        await bulk(client)
        net.hub.fault(Respond(401), kind="api", where=lambda record: record.method == "DELETE", times=None)
        for _ in range(20):
            with pytest.raises(UnauthorizedError, match=r"hub\.docker\.com"):
                await client.writer(PATH).delete(Tag("1.0"))

    assert net.api.logins <= 3


async def test_credential_that_the_hub_refuses_is_not_tried_again_at_once() -> None:
    """Too many logins lock an account; the registry may take the credential all the same."""
    async with scene() as net, net.client() as client:
        for number in range(3):
            net.add(f"acme/app{number}", IMAGE, "1.0")
        refusal = Respond(401, body=b'{"detail":"Incorrect authentication credentials"}')
        net.hub.fault(refusal, kind="api", where=lambda record: record.method == "POST", times=None)
        for number in range(3):
            assert await bulk(client, f"acme/app{number}") == {"1.0": None}
        with pytest.raises(UnauthorizedError, match="log in to the Hub API"):
            await client.repositories("acme/")
        soon = net.hub.traffic.counts["api"]
        net.clock.advance(LOGIN_REFUSED_FOR_S)
        with pytest.raises(UnauthorizedError):
            await client.repositories("acme/")

    assert (soon, net.hub.traffic.counts["api"]) == (1, 2)


async def test_answer_without_a_token_is_an_error_that_shows_no_secret() -> None:
    async with scene() as net, net.client() as client:
        net.hub.fault(Respond(200, body=b'{"access_token":"with space"}'), kind="api")
        with pytest.raises(MirrordError, match="TOKEN_INVALID") as refused:
            await client.repositories("acme/")

    assert "with space" not in str(refused.value)
    assert DOCKERHUB.auth.password not in str(refused.value)


async def test_repository_that_no_hub_has_is_not_asked_for() -> None:
    """Paths have two parts there."""
    async with scene() as net, net.client(anonymous=True) as client:
        net.add("a/b/c", IMAGE, "1.0")
        told = await bulk(client, "a/b/c")

    assert told == {"1.0": None}
    assert net.hub.traffic.counts["api"] == 0


async def gather(client: Client, count: int) -> None:
    """Ask for the tags of many repositories at the same time."""
    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(bulk, client, f"acme/app{number}")
