"""GitLab's container registry, over the emulated net: its traps, its listing, and whole runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mirrord.errors import AddressRefusedError, RegistryError, UnauthorizedError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Reference, Repository, Tag
from mirrord.planning.report import Outcome
from mirrord.sync.delete import delete
from tests.contract.images import blob_of, stream
from tests.fakes.clients import credential_of
from tests.fakes.faults import Around, Respond
from tests.fakes.images import content, make_artifact, make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import Auth, Profile, Refusal
from tests.fakes.registries.gitlab import GITLAB, JOB_USER, NAMES_GITLAB, GitlabApi
from tests.fakes.registry import FakeRegistry
from tests.fakes.runs import PLAIN, carry_out, join_plain, process, rule
from tests.fakes.stores import put, tag_of

pytestmark = pytest.mark.anyio

HOST = "registry.gitlab.com"
PATH = "acme/tools/app"
IMAGE = make_image("app")
RAW = content("layer")


async def join(internet: Internet, profile: Profile = GITLAB) -> FakeRegistry:
    gitlab = await internet.join(profile, NAMES_GITLAB)
    api(gitlab).projects = {"acme/tools", "acme/sub/other", "somebody/own"}
    return gitlab


def api(registry: FakeRegistry) -> GitlabApi:
    assert isinstance(registry.api, GitlabApi)
    return registry.api


def trap(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trap", [pytest.param("", id=name)])


@trap("trap-08-gitlab")
async def test_image_arrives_although_its_token_ends_during_an_upload(trap: str) -> None:
    """A token lives for five minutes; a slow layer takes longer, and is sent once more from a fresh stream."""
    async with Internet() as internet:
        plain, gitlab = await join_plain(internet), await join(internet)
        put(plain, "app", IMAGE, "1.0")
        gitlab.fault(Around(before=lambda: gitlab.clock.advance(301)), kind="upload PUT")
        async with process(internet, gitlab) as app:
            done = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert done.problems == []
    assert [record.status for record in gitlab.traffic.of("upload PUT")].count(401) >= 1
    assert tag_of(gitlab, PATH, "1.0") == IMAGE.digest


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param(GITLAB.auth, id="trap-11-gitlab"),
        pytest.param(replace(GITLAB.auth, challenge_form="one-header-of-two"), id="trap-11-gitlab-two-in-one-line"),
        pytest.param(replace(GITLAB.auth, challenge_form="two-headers"), id="trap-11-gitlab-two-headers"),
    ],
)
async def test_tokens_come_from_gitlab_com(auth: Auth) -> None:
    """It is another host than the registry's, and may see the credential."""
    async with Internet() as internet:
        gitlab = await join(internet, replace(GITLAB, auth=auth))
        put(gitlab, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            head = await client.reader(PATH).head(Tag("1.0"))

    assert head is not None
    (asked,) = gitlab.traffic.of("token")
    assert (asked.header("Authorization") or "").startswith("Basic ")
    assert asked.header("Host") == "gitlab.com"


@pytest.mark.parametrize(
    "realm",
    [
        pytest.param(f"https://{PLAIN}/jwt/auth", id="trap-11-gitlab-other-host"),
        pytest.param("http://gitlab.com/jwt/auth", id="trap-11-gitlab-without-tls"),
        pytest.param("https://10.0.0.1/jwt/auth", id="trap-11-gitlab-inside"),
    ],
)
async def test_credential_goes_to_no_other_realm(realm: str) -> None:
    """Neither for a token nor for the API of whoever claims to be the GitLab."""
    async with Internet() as internet:
        gitlab = await join(internet, replace(GITLAB, auth=replace(GITLAB.auth, realm=realm)))
        plain = await join_plain(internet)
        put(gitlab, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            with pytest.raises(AddressRefusedError, match="AUTH_REALM_UNTRUSTED"):
                await client.reader(PATH).head(Tag("1.0"))
            with pytest.raises(AddressRefusedError, match="AUTH_REALM_UNTRUSTED"):
                await client.repositories("acme/")

    assert list(plain.traffic.records) == []
    assert {record.header("Authorization") for record in gitlab.traffic.records} == {None}


@trap("trap-22-gitlab")
async def test_pages_shorter_than_asked_for_are_followed_to_the_last(trap: str) -> None:
    """A page has 100 tags whatever was asked for; only the missing Link is the end."""
    tags = [f"v{number:03}" for number in range(250)]
    async with Internet() as internet:
        gitlab = await join(internet)
        put(gitlab, PATH, IMAGE, *tags)
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            listed = await client.tags(PATH)

    assert listed == tags
    assert gitlab.traffic.counts["tags/list"] == 3


@trap("trap-35-gitlab")
async def test_mount_from_a_repository_that_may_not_be_read_costs_the_mount_alone(trap: str) -> None:
    """GitLab answers 401, as if the credential were wrong."""
    refusing = replace(GITLAB, uploads=replace(GITLAB.uploads, mount=Refusal(status=401, code="UNAUTHORIZED")))
    async with Internet() as internet:
        gitlab = await join(internet, refusing)
        gitlab.store.add_blob("somebody/own", RAW)
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            mounted = await client.writer(PATH).mount_blob(blob_of(RAW), Repository(HOST, "somebody/own"))
            await client.writer(PATH).put_blob(blob_of(RAW), stream(RAW))

    assert not mounted
    assert {record.status for record in gitlab.traffic.of("mount")} == {401}
    assert gitlab.store.blob(PATH, Digest.of(RAW)) == RAW


@trap("trap-39-gitlab")
async def test_subject_is_not_taken_for_the_index_of_its_referrers(trap: str) -> None:
    """GitLab resolves a fallback tag that is not there to the subject; the index is written all the same."""
    index = make_index("index")
    signature = make_artifact("signature", subject=index.descriptor)
    async with Internet() as internet:
        gitlab = await join(internet)
        put(gitlab, PATH, index, "1.0")
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            before = await client.reader(PATH).referrers(index.digest)
            for raw in signature.blobs.values():
                await client.writer(PATH).put_blob(blob_of(raw), stream(raw))
            await client.writer(PATH).put_manifest(signature.root)
            after = await client.reader(PATH).referrers(index.digest)

    assert before.descriptors == ()
    assert [descriptor.digest for descriptor in after.descriptors] == [signature.digest]
    assert gitlab.store.tags(PATH)[f"sha256-{index.digest.hex}"] != index.digest
    assert gitlab.store.tags(PATH)["1.0"] == index.digest


@trap("trap-39-gitlab-tag-of-a-user")
async def test_tag_that_names_its_own_digest_is_left_alone(trap: str) -> None:
    """It is listed, hence somebody's."""
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    own = f"sha256-{IMAGE.digest.hex}"
    async with Internet() as internet:
        gitlab = await join(internet)
        put(gitlab, PATH, IMAGE, "1.0", own)
        put(gitlab, PATH, signature)
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            await client.writer(PATH).put_manifest(signature.root)

    assert gitlab.store.tags(PATH) == {"1.0": IMAGE.digest, own: IMAGE.digest}


@pytest.mark.parametrize(
    ("status", "fails"),
    [
        pytest.param(400, False, id="trap-39-gitlab-tag-is-a-digest"),
        pytest.param(403, True, id="trap-39-gitlab-denied"),
    ],
)
async def test_fallback_tag_that_cannot_be_written_does_not_lose_the_attachment(status: int, fails: bool) -> None:
    """A registry that takes such a tag for a digest refuses other content under it; a lack of rights is an error."""
    signature = make_artifact("signature", subject=IMAGE.descriptor)
    async with Internet() as internet:
        gitlab = await join(internet)
        put(gitlab, PATH, IMAGE)
        for raw in signature.blobs.values():
            gitlab.store.add_blob(PATH, raw)
        gitlab.fault(
            Respond(status, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}'),
            kind="manifest PUT",
            where=lambda record: b"/sha256-" in record.target,
        )
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            if fails:
                with pytest.raises(RegistryError):
                    await client.writer(PATH).put_manifest(signature.root)
            else:
                await client.writer(PATH).put_manifest(signature.root)
                assert "referrers_tag_refused" in client.events.notes()

    assert gitlab.store.manifest(PATH, signature.digest) is not None
    assert gitlab.store.tags(PATH) == {}


async def test_tag_is_deleted_alone() -> None:
    """By the registry itself, with a token for the deletion."""
    async with Internet() as internet:
        gitlab = await join(internet)
        put(gitlab, PATH, IMAGE, "1.0", "latest")
        async with process(internet, gitlab) as app:
            await delete(app.context, Reference.parse(f"{HOST}/{PATH}:1.0"))

    assert gitlab.store.tags(PATH) == {"latest": IMAGE.digest}
    assert [record.status for record in gitlab.traffic.of("manifest DELETE")] == [202]


# --- repositories


@pytest.mark.parametrize("paging", ["header", "link"])
@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        pytest.param("acme/", ["acme/sub/other", "acme/tools/app", "acme/tools/deep/app"], id="group"),
        pytest.param("acme/tools/", ["acme/tools/app", "acme/tools/deep/app"], id="project"),
        pytest.param("acme/tools/deep/", ["acme/tools/deep/app"], id="below-a-project"),
        pytest.param("acme/tools", ["acme/tools/app", "acme/tools/deep/app"], id="project-as-it-is-named"),
        pytest.param("somebody/own", ["somebody/own"], id="project-of-a-user"),
    ],
)
async def test_repositories_are_listed_for_what_the_pattern_names(paging: str, prefix: str, found: list[str]) -> None:
    """Group, project or something below a project: what it is is found out."""
    async with Internet() as internet:
        gitlab = await join(internet)
        api(gitlab).page_entries = 1
        api(gitlab).paging = "link" if paging == "link" else "header"
        for path in ("acme/tools/app", "acme/tools/deep/app", "acme/sub/other", "somebody/own"):
            put(gitlab, path, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            assert sorted(await client.repositories(prefix)) == found

    secret = f"Bearer {GITLAB.auth.password}"
    assert {record.header("Authorization") for record in gitlab.traffic.of("api")} == {secret}
    assert {record.header("Host") for record in gitlab.traffic.of("api")} == {"gitlab.com"}
    assert secret not in {record.header("Authorization") for record in gitlab.traffic.records if record.kind != "api"}


async def test_token_of_a_job_is_sent_under_its_own_header() -> None:
    """GitLab takes it nowhere else."""
    job = replace(GITLAB, auth=replace(GITLAB.auth, user=JOB_USER))
    async with Internet() as internet:
        gitlab = await join(internet, job)
        put(gitlab, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            assert await client.repositories("acme/tools/") == [PATH]

    assert {record.header("Authorization") for record in gitlab.traffic.of("api")} == {None}
    assert {record.header("JOB-TOKEN") for record in gitlab.traffic.of("api")} == {GITLAB.auth.password}


async def test_deploy_token_is_told_apart_from_those_that_list() -> None:
    """It reads the registry, and GitLab's API does not take it."""
    async with Internet() as internet:
        gitlab = await join(internet)
        api(gitlab).deploy_token = True
        put(gitlab, PATH, IMAGE, "1.0")
        async with internet.client(HOST, credential=credential_of(gitlab)) as client:
            assert await client.tags(PATH) == ["1.0"]
            with pytest.raises(UnauthorizedError) as refused:
                await client.repositories("acme/")

    assert "deploy tokens" in refused.value.remedy
    assert GITLAB.auth.password not in str(refused.value)


# --- whole runs


async def test_all_repositories_of_a_group_are_mirrored() -> None:
    """Those of its subgroups too."""
    index = make_index("index", attestations=True)
    async with Internet() as internet:
        plain, gitlab = await join_plain(internet), await join(internet)
        put(gitlab, PATH, IMAGE, "1.0", "latest")
        put(gitlab, "acme/sub/other", index, "2.0")
        put(gitlab, "somebody/own", IMAGE, "1.0")
        async with process(internet, gitlab) as app:
            done = await carry_out(app, rule(f"{HOST}/acme/**", f"{PLAIN}/mirror/{{repository}}"))

    assert done.problems == []
    assert plain.store.repositories() == ["mirror/acme/sub/other", f"mirror/{PATH}"]
    assert tag_of(plain, f"mirror/{PATH}", "latest") == IMAGE.digest
    assert tag_of(plain, "mirror/acme/sub/other", "2.0") == index.digest


async def test_image_with_its_signature_is_mirrored_to_gitlab_once() -> None:
    """A second run finds everything in place and puts nothing."""
    index = make_index("index")
    signature = make_artifact("signature", subject=index.descriptor)
    async with Internet() as internet:
        plain, gitlab = await join_plain(internet), await join(internet)
        put(plain, "app", index, "1.0", "latest")
        put(plain, "app", signature)
        async with process(internet, gitlab) as app:
            first = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))
        puts = gitlab.traffic.counts["manifest PUT"]
        async with process(internet, gitlab) as app:
            second = await carry_out(app, rule(f"{PLAIN}/app", f"{HOST}/{PATH}"))

    assert first.problems == second.problems == []
    assert tag_of(gitlab, PATH, "1.0") == tag_of(gitlab, PATH, "latest") == index.digest
    assert gitlab.store.manifest(PATH, signature.digest) is not None
    assert second.count(Outcome.IN_SYNC) == 2
    assert gitlab.traffic.counts["manifest PUT"] == puts
