from __future__ import annotations

import gzip
import json
import ssl

import httpx2
import pytest
import trustme

from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import ACCEPT, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.fakes.profiles import Auth, Blobs, Deletes, LinkStyle, LocationStyle, Manifests, Rate, TagList, Uploads
from tests.fakes.registry import BASIC, BEARER, DISTRIBUTION_V2, FakeRegistry, Profile, Refusal

pytestmark = pytest.mark.anyio

CONTENT = b"content of a layer" * 10
DIGEST = Digest.of(CONTENT)
BLOB = f"/v2/team/app/blobs/{DIGEST}"
START = "/v2/team/app/blobs/uploads/"
TAGGED = "/v2/team/app/manifests/1.0"
ALL_TYPES = {"Accept": ", ".join(ACCEPT)}
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": str(DIGEST), "size": len(CONTENT)},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"subject")), "size": 7},
    }
).encode()
PUT_HEADERS = {"Content-Type": OCI_MANIFEST}


def connected(registry: FakeRegistry) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=registry.url, verify=False)


def filled(profile: Profile) -> FakeRegistry:
    registry = FakeRegistry(profile)
    registry.store.add_blob("team/app", CONTENT)
    registry.store.add_manifest("team/app", MANIFEST, OCI_MANIFEST, tags=["1.0"])
    return registry


def code(response: httpx2.Response) -> str:
    return str(response.json()["errors"][0]["code"])


async def get(profile: Profile, path: str, **headers: str) -> httpx2.Response:
    async with filled(profile) as registry, connected(registry) as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


# Authentication


async def test_basic_asks_for_its_user() -> None:
    async with filled(BASIC) as registry, connected(registry) as client:
        refused = await client.get("/v2/")
        let_in = await client.get("/v2/", auth=(BASIC.auth.user, BASIC.auth.password))

    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="Registry"')
    assert let_in.status_code == 200


async def test_bearer_names_realm_service_and_scope() -> None:
    async with filled(BEARER) as registry, connected(registry) as client:
        ping = await client.get("/v2/")
        mount = await client.post(f"{START}?mount={DIGEST}&from=team/base")

    realm = f'Bearer realm="http://{registry.token_host}/token",service="registry.test"'
    assert ping.headers["WWW-Authenticate"] == realm
    assert mount.headers["WWW-Authenticate"] == (
        f'{realm},scope="repository:team/app:pull,push repository:team/base:pull"'
    )


async def token(registry: FakeRegistry, client: httpx2.AsyncClient, *scopes: str) -> str:
    auth = registry.profile.auth
    response = await client.get(
        f"http://{registry.token_host}/token", params={"scope": scopes}, auth=(auth.user, auth.password)
    )
    assert response.status_code == 200
    return str(response.json()["token"])


async def test_token_lets_in_for_what_it_allows() -> None:
    async with filled(BEARER) as registry, connected(registry) as client:
        headers = {"Authorization": f"Bearer {await token(registry, client, 'repository:team/app:pull')}"}
        ping = await client.get("/v2/", headers=headers)
        pull = await client.get(BLOB, headers=headers)
        push = await client.post(START, headers=headers)
        catalog = await client.get("/v2/_catalog", headers=headers)

    assert [answer.status_code for answer in (ping, pull, push, catalog)] == [200, 200, 401, 401]
    assert push.headers["WWW-Authenticate"].endswith('scope="repository:team/app:pull,push",error="insufficient_scope"')
    assert 'scope="registry:catalog:*"' in catalog.headers["WWW-Authenticate"]


async def test_token_dies_on_the_emulators_clock() -> None:
    async with filled(BEARER) as registry, connected(registry) as client:
        headers = {"Authorization": f"Bearer {await token(registry, client, 'repository:team/app:pull')}"}
        registry.clock.advance(299)
        alive = await client.get(BLOB, headers=headers)
        registry.clock.advance(2)
        dead = await client.get(BLOB, headers=headers)

    assert (alive.status_code, dead.status_code) == (200, 401)
    assert 'error="invalid_token"' in dead.headers["WWW-Authenticate"]


async def test_tokens_can_be_revoked() -> None:
    async with filled(BEARER) as registry, connected(registry) as client:
        first = await token(registry, client, "repository:team/app:pull")
        registry.tokens.revoke_all()
        refused = await client.get(BLOB, headers={"Authorization": f"Bearer {first}"})
        second = await token(registry, client, "repository:team/app:pull")

    assert refused.status_code == 401
    assert first != second


async def test_token_json_follows_the_profile() -> None:
    auth = Auth(scheme="bearer", token_keys=("access_token",), expires_in=None, issued_at_skew_s=600)

    async with FakeRegistry(Profile(auth=auth)) as registry, connected(registry) as client:
        response = await client.get(f"http://{registry.token_host}/token", auth=(auth.user, auth.password))

    assert response.json().keys() == {"access_token", "issued_at"}


async def test_token_service_takes_a_form() -> None:
    form = {"grant_type": "password", "username": BEARER.auth.user, "password": BEARER.auth.password}

    async with filled(BEARER) as registry, connected(registry) as client:
        url = f"http://{registry.token_host}/token"
        granted = await client.post(url, data={**form, "scope": "repository:team/app:pull repository:a:pull"})
        wrong = await client.post(url, data={**form, "password": "wrong"})
        page = await client.get(f"http://{registry.token_host}/other")

    assert registry.tokens.access(granted.json()["token"]) == frozenset(
        {
            ("repository", "team/app", "pull"),
            ("repository", "a", "pull"),
        }
    )
    assert (wrong.status_code, page.status_code) == (401, 404)


@pytest.mark.parametrize("status", [400, 401, 404, 405])
async def test_token_service_may_refuse_posts(status: int) -> None:
    profile = Profile(auth=Auth(scheme="bearer", post=Refusal(status=status)))

    async with FakeRegistry(profile) as registry, connected(registry) as client:
        response = await client.post(f"http://{registry.token_host}/token", data={"scope": "x"})

    assert response.status_code == status


async def test_token_service_may_grant_less_or_refuse_a_scope() -> None:
    auth = Auth(scheme="bearer", granted=frozenset({"pull"}), refused_scopes=("delete", "other/"))

    async with FakeRegistry(Profile(auth=auth)) as registry, connected(registry) as client:
        less = await token(registry, client, "repository:a:pull,push")
        url = f"http://{registry.token_host}/token?scope=repository:other/b:pull"
        refused = await client.get(url, auth=(auth.user, auth.password))

    assert registry.tokens.access(less) == frozenset({("repository", "a", "pull")})
    assert refused.status_code == 400


@pytest.mark.parametrize(("allowed", "status"), [(True, 200), (False, 401)])
async def test_token_service_knows_anonymous_pulls(allowed: bool, status: int) -> None:
    profile = Profile(auth=Auth(scheme="bearer", anonymous_pull=allowed))

    async with FakeRegistry(profile) as registry, connected(registry) as client:
        response = await client.get(f"http://{registry.token_host}/token?scope=repository:a:pull,push")

    assert response.status_code == status
    if allowed:
        assert registry.tokens.access(response.json()["token"]) == frozenset({("repository", "a", "pull")})


@pytest.mark.parametrize(
    ("auth", "ping", "repository"),
    [
        pytest.param(Auth(scheme="bearer", repository_challenge="none"), ["Bearer"], [], id="no-challenge"),
        pytest.param(Auth(scheme="bearer", repository_challenge="empty"), ["Bearer"], [""], id="empty-challenge"),
        pytest.param(Auth(scheme="bearer", repository_challenge="basic"), ["Bearer"], ["Basic"], id="flip-to-basic"),
        pytest.param(Auth(scheme="bearer", repository_challenge="ping"), ["Bearer"], ["Bearer"], id="same-as-ping"),
        pytest.param(
            Auth(scheme="bearer", challenge_form="two-headers"),
            ["Negotiate", "Bearer"],
            ["Negotiate", "Bearer"],
            id="two-headers",
        ),
        pytest.param(
            Auth(scheme="bearer", challenge_form="one-header-of-two"), ["Basic"], ["Basic"], id="one-header-of-two"
        ),
        pytest.param(Auth(scheme="bearer", ping_status=200), [], ["Bearer"], id="open-ping"),
    ],
)
async def test_challenge_has_the_form_of_the_profile(auth: Auth, ping: list[str], repository: list[str]) -> None:
    async with filled(Profile(auth=auth)) as registry, connected(registry) as client:
        answers = [await client.get("/v2/"), await client.get(BLOB)]

    schemes = [[value.partition(" ")[0] for value in answer.headers.get_list("WWW-Authenticate")] for answer in answers]
    assert schemes == [ping, repository]


async def test_ping_may_carry_a_dummy_scope_and_another_realm() -> None:
    auth = Auth(scheme="bearer", ping_scope="repository:user/image:pull", realm="http://10.0.0.1/token")

    response = await get(Profile(auth=auth), "/v2/")

    assert 'realm="http://10.0.0.1/token"' in response.headers["WWW-Authenticate"]
    assert 'scope="repository:user/image:pull"' in response.headers["WWW-Authenticate"]


# Tag lists


async def tag_list(switch: TagList, query: str = "", *tags: str) -> httpx2.Response:
    registry = FakeRegistry(Profile(tags=switch))
    for tag in tags or ("a", "b", "c", "d"):
        registry.store.tag("team/app", tag, DIGEST)
    async with registry, connected(registry) as client:
        return await client.get(f"/v2/team/app/tags/list{query}")


async def test_tag_list_may_ignore_n_and_order() -> None:
    response = await tag_list(TagList(ignore_n=True, order="storage"), "?n=2&last=a")

    assert sorted(response.json()["tags"]) == ["a", "b", "c", "d"]
    assert response.json()["tags"] != ["a", "b", "c", "d"]
    assert "Link" not in response.headers


async def test_tag_list_may_have_short_pages() -> None:
    response = await tag_list(TagList(page_entries=2), "?n=1000")

    assert response.json()["tags"] == ["a", "b"]
    assert response.headers["Link"] == '</v2/team/app/tags/list?last=b&n=2>; rel="next"'


async def test_tag_list_may_refuse_a_large_n() -> None:
    response = await tag_list(TagList(refuse_n_above=1000), "?n=5000")

    assert (response.status_code, code(response)) == (400, "PAGINATION_NUMBER_INVALID")


@pytest.mark.parametrize(
    ("style", "link"),
    [
        ("relative", "/v2/team/app/tags/list?last=a%2Bb&n=1"),
        ("absolute", "http://{host}/v2/team/app/tags/list?last=a%2Bb&n=1"),
        ("raw", "/v2/team/app/tags/list?n=1&last=a+b"),
        ("empty-parameter", "/v2/team/app/tags/list?last=a%2Bb&n=1&orderby="),
        ("wrong-path", "/artifactory/api/docker/v2/team/app/tags/list?last=a%2Bb&n=1"),
        ("other-host", "http://other.test/v2/team/app/tags/list?last=a%2Bb&n=1"),
    ],
)
async def test_tag_list_links_in_the_style_of_the_profile(style: LinkStyle, link: str) -> None:
    response = await tag_list(TagList(link=style), "?n=1", "a+b", "c")

    host = response.request.url.netloc.decode()
    assert response.headers["Link"] == f'<{link.format(host=host)}>; rel="next"'


@pytest.mark.parametrize(
    ("switch", "status", "tags"),
    [("continue", 200, ["b", "c", "d"]), ("skip", 200, ["c", "d"]), ("not-found", 404, None)],
)
async def test_tag_list_after_a_tag_that_is_gone(switch: str, status: int, tags: list[str] | None) -> None:
    found = TagList(unknown_last=switch)  # type: ignore[arg-type]  # the parameters are its literals

    response = await tag_list(found, "?n=5&last=aa")

    assert response.status_code == status
    assert response.json().get("tags") == tags


async def test_tag_list_may_hold_odd_things() -> None:
    switch = TagList(odd_items=(None, str(DIGEST)), extra={"child": [], "manifest": {}})

    response = await tag_list(switch)

    assert response.json()["tags"] == [None, str(DIGEST), "a", "b", "c", "d"]
    assert response.json().keys() == {"name", "tags", "child", "manifest"}


async def test_tag_list_may_be_null() -> None:
    always = await tag_list(TagList(always_null=True))
    registry = FakeRegistry(Profile(tags=TagList(null_when_empty=True)))
    registry.store.tag("team/app", "a", DIGEST)
    registry.store.untag("team/app", "a")
    async with registry, connected(registry) as client:
        empty = await client.get("/v2/team/app/tags/list")

    assert (always.json()["tags"], empty.json()["tags"]) == (None, None)


async def test_tag_list_keeps_the_registrys_own_errors() -> None:
    assert code(await tag_list(TagList(), "?n=x")) == "PAGINATION_NUMBER_INVALID"
    assert code(await get(Profile(), "/v2/team/nothing/tags/list")) == "NAME_UNKNOWN"


async def test_catalog_may_be_refused() -> None:
    response = await get(Profile(catalog=Refusal(status=401, code="UNAUTHORIZED")), "/v2/_catalog")

    assert response.status_code == 401


# Blobs


@pytest.mark.parametrize("status", [302, 307])
async def test_blob_redirects_to_another_origin(status: int) -> None:
    async with filled(Profile(blobs=Blobs(redirect=status))) as registry, connected(registry) as client:
        redirect = await client.get(BLOB)
        url = redirect.headers["Location"]
        head = await client.head(BLOB)
        whole = await client.get(url)
        part = await client.get(url, headers={"Range": "bytes=3-5"})
        with_auth = await client.get(url, headers={"Authorization": "Bearer x"})
        requoted = await client.get(url.replace("%2f", "%2F"))
        wrong_method = await client.head(url)
        registry.clock.advance(301)
        expired = await client.get(url)
        registry.store.remove_blob("team/app", DIGEST)

    assert (redirect.status_code, head.status_code) == (status, 200)
    assert not url.startswith(registry.url)
    assert (whole.content, part.content) == (CONTENT, CONTENT[3:6])
    assert "Docker-Content-Digest" not in whole.headers
    statuses = [answer.status_code for answer in (with_auth, requoted, wrong_method, expired)]
    assert statuses == [400, 403, 403, 403]
    assert with_auth.headers["Content-Type"] == "application/xml"
    assert registry.storage_traffic.counts["storage"] == 6


async def test_blob_that_is_gone_from_the_storage_is_404() -> None:
    profile = Profile(blobs=Blobs(redirect=307, redirect_head=True))

    async with filled(profile) as registry, connected(registry) as client:
        url = (await client.head(BLOB)).headers["Location"]
        registry.store.remove_blob("team/app", DIGEST)
        gone = await client.head(url)
        unknown = await client.get(BLOB)
        malformed = await client.get("/v2/team/app/blobs/sha256:x")

    assert [answer.status_code for answer in (gone, unknown, malformed)] == [404, 404, 400]


async def test_blob_ranges_may_be_ignored() -> None:
    response = await get(Profile(blobs=Blobs(ranges=False)), BLOB, Range="bytes=3-5")

    assert (response.status_code, response.content) == (200, CONTENT)
    assert "Accept-Ranges" not in response.headers


async def test_blob_may_be_compressed_on_the_way() -> None:
    async with (
        filled(Profile(blobs=Blobs(gzip=True, content_type="text/plain"))) as registry,
        connected(registry) as client,
        client.stream("GET", BLOB) as response,
    ):
        raw = b"".join([piece async for piece in response.aiter_raw()])

    assert (response.headers["Content-Encoding"], response.headers["Content-Type"]) == ("gzip", "text/plain")
    assert gzip.decompress(raw) == CONTENT


async def test_range_at_the_end_may_lie_about_its_length() -> None:
    at_end = {"Range": f"bytes={len(CONTENT)}-"}
    async with (
        filled(DISTRIBUTION_V2) as registry,
        connected(registry) as client,
        client.stream("GET", BLOB, headers=at_end) as response,
    ):
        with pytest.raises(httpx2.RemoteProtocolError, match="received 33 bytes, expected 180"):
            await response.aread()

    assert (response.status_code, response.headers["Content-Length"]) == (416, str(len(CONTENT)))


# Manifests


async def test_manifest_digest_header_may_be_absent_or_false() -> None:
    absent = await get(Profile(manifests=Manifests(digest_header="absent")), TAGGED, **ALL_TYPES)
    false = await get(Profile(manifests=Manifests(digest_header="false")), TAGGED, **ALL_TYPES)

    assert "Docker-Content-Digest" not in absent.headers
    assert Digest.parse(false.headers["Docker-Content-Digest"]) != Digest.of(false.content)


async def test_manifest_type_may_have_parameters_and_accept_may_be_loose() -> None:
    switch = Manifests(content_type_suffix="; charset=utf-8", strict_accept=False)

    response = await get(Profile(manifests=switch), TAGGED)

    assert (response.status_code, response.headers["Content-Type"]) == (200, f"{OCI_MANIFEST}; charset=utf-8")


async def test_manifest_head_may_be_refused() -> None:
    profile = Profile(manifests=Manifests(head=Refusal(status=405)))
    async with filled(profile) as registry, connected(registry) as client:
        head = await client.head(TAGGED, headers=ALL_TYPES)
        got = await client.get(TAGGED, headers=ALL_TYPES)

    assert (head.status_code, got.status_code) == (405, 200)


async def put_manifest(switch: Manifests, raw: bytes = MANIFEST, tag: str = "2.0") -> httpx2.Response:
    async with filled(Profile(manifests=switch)) as registry, connected(registry) as client:
        return await client.put(f"/v2/team/app/manifests/{tag}", content=raw, headers=PUT_HEADERS)


async def test_manifest_put_follows_the_profile() -> None:
    missing = MANIFEST.replace(str(DIGEST).encode(), str(Digest.of(b"missing")).encode())
    untyped = MANIFEST.replace(b'"mediaType": "application/vnd.oci.image.manifest.v1+json", "config"', b'"config"')
    needs_type = Manifests(media_type_needed=Refusal(status=405))

    immutable = await put_manifest(Manifests(immutable_tags=Refusal(status=412, code="PRECONDITION")), tag="1.0")
    new_tag = await put_manifest(Manifests(immutable_tags=Refusal(status=412)))
    too_large = await put_manifest(Manifests(size_cap_bytes=100))
    other_code = await put_manifest(Manifests(missing_content_code="BLOB_UNKNOWN"), missing)
    unchecked = await put_manifest(Manifests(check_content=False), missing)
    without_type = await put_manifest(needs_type, untyped)
    with_type = await put_manifest(needs_type)

    assert (immutable.status_code, code(immutable)) == (412, "PRECONDITION")
    assert (too_large.status_code, new_tag.status_code) == (413, 201)
    assert (other_code.status_code, code(other_code)) == (400, "BLOB_UNKNOWN")
    assert (unchecked.status_code, unchecked.headers["Docker-Content-Digest"]) == (201, str(Digest.of(missing)))
    assert (without_type.status_code, with_type.status_code) == (405, 201)


async def test_repository_may_have_to_exist_before_a_push() -> None:
    profile = Profile(manifests=Manifests(create_on_push=False))

    async with FakeRegistry(profile) as registry, connected(registry) as client:
        put = await client.put(TAGGED, content=MANIFEST, headers=PUT_HEADERS)
        early = await client.post(START)
        registry.switches.created.add("team/app")
        late = await client.post(START)

    assert (put.status_code, early.status_code, late.status_code) == (404, 404, 202)
    assert code(early) == "NAME_UNKNOWN"


async def test_quota_counts_manifest_gets_alone() -> None:
    profile = Profile(rate=Rate(pulls=1, window_s=60, retry_after="30"))

    async with filled(profile) as registry, connected(registry) as client:
        head = await client.head(TAGGED, headers=ALL_TYPES)
        first = await client.get(TAGGED, headers=ALL_TYPES)
        second = await client.get(TAGGED, headers=ALL_TYPES)
        registry.clock.advance(61)
        third = await client.get(TAGGED, headers=ALL_TYPES)

    assert [answer.status_code for answer in (head, first, second, third)] == [200, 200, 429, 200]
    assert [answer.headers["RateLimit-Remaining"] for answer in (head, first, second)] == ["1;w=60", "0;w=60", "0;w=60"]
    assert second.headers["Retry-After"] == "30"


async def test_quota_may_hide_itself() -> None:
    response = await get(Profile(rate=Rate(pulls=0, headers=False)), TAGGED, **ALL_TYPES)

    assert response.status_code == 429
    assert not any(name.startswith(("ratelimit", "retry")) for name in response.headers)


# Uploads


@pytest.mark.parametrize(
    ("style", "start"),
    [
        ("relative", START),
        ("absolute", f"http://{{host}}{START}"),
        ("no-scheme", f"//{{host}}{START}"),
        ("http-downgrade", f"http://{{host}}{START}"),
        ("other-host", f"{{storage}}{START}"),
    ],
)
async def test_location_has_the_style_of_the_profile(style: LocationStyle, start: str) -> None:
    async with FakeRegistry(Profile(uploads=Uploads(location=style))) as registry, connected(registry) as client:
        response = await client.post(START)

    expected = start.format(host=registry.host, storage=registry.switches.storage_url)
    assert response.headers["Location"].startswith(expected)


async def test_registry_may_take_chunks_alone_or_whole_blobs_alone() -> None:
    refused = Refusal(status=404)
    async with FakeRegistry(Profile(uploads=Uploads(put_body=refused))) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        whole = await client.put(f"{location}&digest={DIGEST}", content=CONTENT)
        chunk = await client.patch(location, content=CONTENT)
        closed = await client.put(f"{chunk.headers['Location']}&digest={DIGEST}")
    async with FakeRegistry(Profile(uploads=Uploads(patch=refused))) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        no_chunk = await client.patch(location, content=CONTENT)

    assert [answer.status_code for answer in (whole, chunk, closed, no_chunk)] == [404, 202, 201, 404]


async def test_chunks_may_be_limited_in_size() -> None:
    switch = Uploads(min_chunk_bytes=5, max_chunk_bytes=10)
    async with FakeRegistry(Profile(uploads=switch)) as registry, connected(registry) as client:
        started = await client.post(START)
        large = await client.patch(started.headers["Location"], content=b"x" * 11)
        small = await client.patch(started.headers["Location"], content=b"x" * 4)
        after_small = await client.patch(small.headers["Location"], content=b"x" * 5)

    assert started.headers["OCI-Chunk-Min-Length"] == "5"
    assert [answer.status_code for answer in (large, small, after_small)] == [416, 202, 416]


async def test_bodies_may_be_limited_by_a_proxy() -> None:
    async with FakeRegistry(Profile(uploads=Uploads(max_body_bytes=10))) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        response = await client.put(f"{location}&digest={DIGEST}", content=CONTENT)

    assert (response.status_code, response.headers["Content-Type"]) == (413, "text/html")


@pytest.mark.parametrize(
    ("switch", "headers", "status"),
    [
        (Uploads(content_range="ignored"), {"Content-Range": "70-79"}, 202),
        (Uploads(content_range="required"), {}, 416),
        (Uploads(content_range="required"), {"Content-Range": "0-9"}, 202),
    ],
    ids=["ignored", "required-and-absent", "required-and-given"],
)
async def test_content_range_is_checked_as_the_profile_says(
    switch: Uploads, headers: dict[str, str], status: int
) -> None:
    async with FakeRegistry(Profile(uploads=switch)) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        response = await client.patch(location, content=b"0123456789", headers=headers)

    assert response.status_code == status


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("true", ["0-9", "0-19", "0-19"]),
        ("stale", ["0-9", "0-9", "0-9"]),
        ("off-by-one", ["bytes=0-10", "bytes=0-20", "bytes=0-20"]),
        ("absent", [None, None, None]),
    ],
)
async def test_range_header_shows_what_the_profile_says(shown: str, expected: list[str | None]) -> None:
    switch = Uploads(range_header=shown)  # type: ignore[arg-type]  # the parameters are its literals
    async with FakeRegistry(Profile(uploads=switch)) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        first = await client.patch(location, content=b"0123456789")
        second = await client.patch(first.headers["Location"], content=b"0123456789")
        status = await client.get(second.headers["Location"])

    assert [answer.headers.get("Range") for answer in (first, second, status)] == expected


@pytest.mark.parametrize(
    ("single_post", "status"),
    [("stored", 201), ("dropped", 202), (Refusal(status=415), 415)],
    ids=["stored", "dropped", "refused"],
)
async def test_single_post_is_answered_as_the_profile_says(single_post: object, status: int) -> None:
    switch = Uploads(single_post=single_post)  # type: ignore[arg-type]  # the parameters are its values
    async with FakeRegistry(Profile(uploads=switch)) as registry, connected(registry) as client:
        response = await client.post(f"{START}?digest={DIGEST}", content=CONTENT)

    assert response.status_code == status
    assert (DIGEST in registry.store.blobs("team/app")) == (status == 201)


@pytest.mark.parametrize(
    ("mount", "status"),
    [("done", 201), ("upload", 202), (Refusal(status=405), 405)],
    ids=["done", "upload", "refused"],
)
async def test_mount_is_answered_as_the_profile_says(mount: object, status: int) -> None:
    registry = FakeRegistry(Profile(uploads=Uploads(mount=mount)))  # type: ignore[arg-type]  # the parameters are its values
    registry.store.add_blob("team/base", CONTENT)
    async with registry, connected(registry) as client:
        response = await client.post(f"{START}?mount={DIGEST}&from=team/base")

    assert response.status_code == status
    assert registry.traffic.counts == {"mount": 1}


async def test_upload_status_may_need_the_latest_location() -> None:
    async with FakeRegistry(DISTRIBUTION_V2) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        latest = (await client.patch(location, content=CONTENT)).headers["Location"]
        statuses = [(await client.get(place)).status_code for place in (location, latest, latest.replace("%3D", ""))]

    assert statuses == [404, 204, 404]


async def test_cancel_may_be_refused() -> None:
    profile = Profile(uploads=Uploads(delete=Refusal(status=405)))
    async with FakeRegistry(profile) as registry, connected(registry) as client:
        location = (await client.post(START)).headers["Location"]
        response = await client.delete(location)

    assert response.status_code == 405


# Referrers and deletion


@pytest.mark.parametrize(
    ("referrers", "status", "with_header"),
    [
        ("api", 200, True),
        ("api-without-subject-header", 200, False),
        ("subject-header-without-api", 404, True),
        ("wrong-type", 200, False),
        ("alias", 404, False),
        (Refusal(status=303, headers=(("Location", "https://example.com/"),)), 303, False),
    ],
    ids=["api", "no-header", "no-api", "wrong-type", "alias", "redirect"],
)
async def test_referrers_are_served_as_the_profile_says(referrers: object, status: int, with_header: bool) -> None:
    profile = Profile(referrers=referrers)  # type: ignore[arg-type]  # the parameters are its values
    async with filled(profile) as registry, connected(registry) as client:
        listed = await client.get(f"/v2/team/app/referrers/{Digest.of(b'subject')}")
        put = await client.put(TAGGED, content=MANIFEST, headers=PUT_HEADERS)

    assert listed.status_code == status
    assert ("OCI-Subject" in put.headers) == with_header
    if referrers == "wrong-type":
        assert listed.headers["Content-Type"] != OCI_INDEX


async def test_tag_of_a_referrers_index_may_be_the_subject_itself() -> None:
    digest = Digest.of(MANIFEST)

    response = await get(Profile(referrers="alias"), f"/v2/team/app/manifests/sha256-{digest.hex}", **ALL_TYPES)

    assert response.content == MANIFEST


async def test_deletes_are_answered_as_the_profile_says() -> None:
    refused = Refusal(status=400)
    digest = Digest.of(MANIFEST)
    by_digest = f"/v2/team/app/manifests/{digest}"

    async def delete(switch: Deletes, path: str, *, index: bool = False, tagged: bool = True) -> int:
        async with filled(Profile(deletes=switch)) as registry, connected(registry) as client:
            if not tagged:
                registry.store.untag("team/app", "1.0")
            if index:
                children = [{"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(MANIFEST)}]
                raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}).encode()
                registry.store.add_manifest("team/app", raw, OCI_INDEX)
            return (await client.delete(path)).status_code

    assert await delete(Deletes(tag=refused), TAGGED) == 400
    assert await delete(Deletes(tag=refused), by_digest) == 202
    assert await delete(Deletes(manifest=refused), by_digest) == 400
    assert await delete(Deletes(manifest_with_tags=refused), by_digest) == 400
    assert await delete(Deletes(manifest_with_tags=refused), by_digest, tagged=False) == 202
    assert await delete(Deletes(referenced=refused), by_digest, index=True) == 400
    assert await delete(Deletes(referenced=refused), by_digest) == 202
    assert await delete(Deletes(blob=refused), BLOB) == 400


# The whole


async def test_version_header_may_be_missing() -> None:
    response = await get(Profile(api_version_header=False), "/v2/")

    assert "Docker-Distribution-Api-Version" not in response.headers


async def test_registry_speaks_tls_and_may_downgrade_its_location() -> None:
    authority = trustme.CA()
    server, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client_side)

    async with (
        FakeRegistry(Profile(uploads=Uploads(location="http-downgrade")), ssl_context=server) as registry,
        httpx2.AsyncClient(base_url=registry.url, verify=client_side) as client,
    ):
        response = await client.post(START)

    assert registry.url.startswith("https://")
    assert response.headers["Location"].startswith("http://")
