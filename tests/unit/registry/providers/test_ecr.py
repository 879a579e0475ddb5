"""ECR: its hosts, its tokens, and what it does by the API of AWS."""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from mirrord.errors import (
    CredentialError,
    CredentialUnavailableError,
    DeniedError,
    ListingIncompleteError,
    MirrordError,
    NotFoundError,
    ProtocolViolationError,
    RateLimitedError,
    RegistryError,
    UnavailableError,
    UnsupportedError,
)
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.ports.credentials import CredentialProvider
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.providers.catalog import choose_provider, known_providers
from mirrord.registry.providers.ecr import EcrProvider, EcrPublicProvider
from mirrord.registry.providers.ecr_api import EcrApi
from mirrord.registry.providers.ecr_credentials import FLOOR_S, LIFE_S
from mirrord.registry.providers.ecr_place import EcrPlace
from mirrord.registry.providers.ecr_service import FAILED_FOR_S
from tests.fakes.clients import Client
from tests.fakes.clock import START, FakeClock
from tests.fakes.faults import Respond
from tests.fakes.images import make_image, make_index
from tests.fakes.internet import Internet
from tests.fakes.profiles import Manifests, Profile
from tests.fakes.registries.ecr import (
    ACCOUNT,
    ECR,
    ECR_PUBLIC,
    HOST,
    NAMES_ECR,
    NAMES_ECR_PUBLIC,
    PUBLIC_HOST,
    EcrControl,
    control_plane,
    no_aws,
    open_ecr,
    use_aws,
)
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(
    monkeypatch: pytest.MonkeyPatch,
    profile: Profile = ECR,
    *,
    settings: RegistrySettings | None = None,
    clock: FakeClock | None = None,
) -> AsyncIterator[tuple[FakeRegistry, EcrControl, Client]]:
    public = profile.name == "ecr-public"
    host, names = (PUBLIC_HOST, NAMES_ECR_PUBLIC) if public else (HOST, NAMES_ECR)
    async with Internet() as internet:
        registry = await internet.join(profile, names)
        async with (
            control_plane(registry, monkeypatch) as control,
            open_ecr(internet, host=host, settings=settings, clock=clock) as client,
        ):
            yield registry, control, client


def source_of(host: str, clock: FakeClock, provider: EcrProvider | None = None) -> CredentialProvider:
    return (provider or EcrProvider()).credentials(host, RegistrySettings(host=host), {}, clock)


# --- hosts


@pytest.mark.parametrize(
    ("host", "place"),
    [
        (HOST, EcrPlace(account=ACCOUNT, region="eu-west-1")),
        (f"{ACCOUNT}.dkr.ecr-fips.us-east-1.amazonaws.com", EcrPlace(account=ACCOUNT, region="us-east-1", fips=True)),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", EcrPlace(account=ACCOUNT, region="cn-north-1")),
        (f"{ACCOUNT}.dkr.ecr.us-gov-west-1.amazonaws.com", EcrPlace(account=ACCOUNT, region="us-gov-west-1")),
        (f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov", EcrPlace(account=ACCOUNT, region="us-iso-east-1")),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", EcrPlace(account=ACCOUNT, region="eusc-de-east-1")),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws", EcrPlace(account=ACCOUNT, region="eu-west-1", dual_stack=True)),
        (
            f"{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws",
            EcrPlace(account=ACCOUNT, region="us-east-1", fips=True, dual_stack=True),
        ),
    ],
)
def test_host_tells_account_and_region(host: str, place: EcrPlace) -> None:
    assert EcrPlace.of(host) == place
    assert isinstance(choose_provider(host, None, known_providers()), EcrProvider)


@pytest.mark.parametrize(
    "host",
    [
        "1234.dkr.ecr.eu-west-1.amazonaws.com",
        f"{HOST}.evil.test",
        f"evil.{HOST}",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.evil",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.on.aws",
        f"{HOST}:444",
    ],
)
def test_host_that_only_looks_like_ecr_is_none(host: str) -> None:
    assert EcrPlace.of(host) is None
    assert not isinstance(choose_provider(host, None, known_providers()), EcrProvider)


def test_public_host_has_a_provider_of_its_own() -> None:
    assert isinstance(choose_provider(PUBLIC_HOST, None, known_providers()), EcrPublicProvider)


# --- tokens


async def test_token_is_shared_by_all_who_ask_and_split_at_the_first_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, _):
        source = source_of(HOST, FakeClock())
        found = []

        async def ask() -> None:
            found.append(await source.credential(HOST))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)

    assert {(one.username, one.secret) for one in found if one is not None} == {
        ("AWS", next(iter(registry.tokens.issued)))
    }
    assert control.calls("GetAuthorizationToken") == 1
    assert dict(control.last("GetAuthorizationToken")) == {"registryIds": [ACCOUNT]}
    assert "ecr:token" not in repr(found)


async def test_names_of_one_account_and_region_share_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, _):
        provider, clock = EcrProvider(), FakeClock()
        for host in (HOST, f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws"):
            assert await source_of(host, clock, provider).credential(host) is not None
        assert control.calls("GetAuthorizationToken") == 1
        other = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"
        await source_of(other, clock, provider).credential(other)
        assert control.calls("GetAuthorizationToken") == 2


async def test_token_is_renewed_at_half_of_its_life(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, _):
        clock = FakeClock()
        source = source_of(HOST, clock)
        first = await source.credential(HOST)
        clock.advance(LIFE_S / 2 - 1)
        assert await source.credential(HOST) == first
        clock.advance(2)
        second = await source.credential(HOST)

    assert first is not None
    assert first.expires_at == START + timedelta(seconds=LIFE_S)
    assert second not in (first, None)
    assert control.calls("GetAuthorizationToken") == 2


async def test_old_token_is_kept_while_aws_gives_no_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, _):
        clock = FakeClock()
        source = source_of(HOST, clock)
        first = await source.credential(HOST)
        control.refusals["GetAuthorizationToken"] = (400, "AccessDeniedException", "not now")
        clock.advance(LIFE_S / 2 + 1)
        assert await source.credential(HOST) == first
        assert await source.credential(HOST) == first
        assert control.calls("GetAuthorizationToken") == 2, "AWS is not asked again at once"
        clock.advance(LIFE_S / 2)
        with pytest.raises(CredentialError, match="ecr:GetAuthorizationToken"):
            await source.credential(HOST)


async def test_failure_is_remembered_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, _):
        clock = FakeClock()
        source = source_of(HOST, clock)
        control.refusals["GetAuthorizationToken"] = (400, "AccessDeniedException", "no")
        for _ in range(5):
            with pytest.raises(CredentialError, match="DENIED"):
                await source.credential(HOST)
        assert control.calls("GetAuthorizationToken") == 1
        control.refusals.clear()
        clock.advance(60)
        assert await source.credential(HOST) is not None


async def test_forgotten_token_is_replaced_once_and_not_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, _):
        clock = FakeClock()
        source = source_of(HOST, clock)
        first = await source.credential(HOST)
        source.forget(HOST)
        second = await source.credential(HOST)
        source.forget(HOST)
        third = await source.credential(HOST)
        clock.advance(FLOOR_S)
        source.forget(HOST)
        await source.credential(HOST)

    assert first != second
    assert second == third
    assert control.calls("GetAuthorizationToken") == 3


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([], id="nothing"),
        pytest.param([{"authorizationToken": "%%%"}], id="no base64"),
        pytest.param([{"authorizationToken": base64.b64encode(b"AWS").decode()}], id="no colon"),
        pytest.param([{"authorizationToken": base64.b64encode(b"AWS:").decode()}], id="no password"),
        pytest.param([{"authorizationToken": base64.b64encode(b"\xff:\xff").decode()}], id="binary"),
    ],
)
async def test_answer_without_a_usable_token_is_an_error(monkeypatch: pytest.MonkeyPatch, data: object) -> None:
    async with opened(monkeypatch) as (_, control, _):
        control.odd["GetAuthorizationToken"] = {"authorizationData": data}
        with pytest.raises(CredentialError, match="no usable token"):
            await source_of(HOST, FakeClock()).credential(HOST)


async def test_missing_boto3_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    no_aws(monkeypatch)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "boto3.session", None)

    with pytest.raises(CredentialUnavailableError, match=r"pip install '\.\[aws\]'"):
        await source_of(HOST, FakeClock()).credential(HOST)


async def test_missing_boto3_is_told_of_what_is_tried_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for a while is the cause, not whose call met it first."""
    no_aws(monkeypatch)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    api = EcrApi(EcrPlace(), FakeClock())

    for what in ("list the images of a", "create the repository b"):
        with pytest.raises(CredentialUnavailableError, match=what):
            await api.call("describe_images", what=what, host=HOST, action="ecr:DescribeImages")


async def test_missing_boto3_is_said_where_repositories_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an error of credentials, like everywhere else: the exit code is 3."""
    async with opened(monkeypatch) as (_, control, client):
        monkeypatch.setitem(sys.modules, "boto3", None)
        monkeypatch.setitem(sys.modules, "boto3.session", None)
        with pytest.raises(CredentialUnavailableError, match=r"pip install '\.\[aws\]'"):
            await client.repositories()

    assert control.log == []


async def test_no_identity_lets_another_source_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    no_aws(monkeypatch)

    with pytest.raises(CredentialUnavailableError, match="AWS_PROFILE"):
        await source_of(HOST, FakeClock()).credential(HOST)


async def test_identity_that_appears_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, _control, _):
        clock = FakeClock()
        source = source_of(HOST, clock)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(CredentialUnavailableError):
            await source.credential(HOST)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        clock.advance(600)
        assert await source.credential(HOST) is not None


async def test_profile_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    no_aws(monkeypatch)
    monkeypatch.setenv("AWS_PROFILE", "absent")

    with pytest.raises(CredentialError, match="absent") as caught:
        await source_of(HOST, FakeClock()).credential(HOST)

    assert not isinstance(caught.value, CredentialUnavailableError)


async def test_profile_whose_login_has_ended_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_aws(monkeypatch)
    config = tmp_path / "config"
    config.write_text(
        "[profile sso]\nsso_start_url = https://sso.test/start\nsso_region = eu-west-1\n"
        "sso_account_id = 123456789012\nsso_role_name = reader\n",
        "utf-8",
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "sso")
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(CredentialError, match="aws sso login") as caught:
        await source_of(HOST, FakeClock()).credential(HOST)

    assert not isinstance(caught.value, CredentialUnavailableError)


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        pytest.param(400, "AccessDeniedException", DeniedError, "allow ecr:DescribeRepositories", id="denied"),
        pytest.param(400, "ExpiredTokenException", CredentialError, "log in anew", id="expired"),
        pytest.param(403, "UnrecognizedClientException", CredentialError, "does not accept", id="unknown key"),
        pytest.param(400, "InvalidParameterException", RegistryError, "REQUEST_REFUSED", id="other"),
        pytest.param(400, "RepositoryNotFoundException", NotFoundError, "NOT_FOUND", id="missing"),
    ],
)
async def test_refusal_of_aws_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[MirrordError], said: str
) -> None:
    async with opened(monkeypatch) as (_, control, client):
        control.refusals["DescribeRepositories"] = (status, code, "it is so")
        with pytest.raises(error, match=said) as caught:
            await client.repositories()

    assert "it is so" in str(caught.value)
    assert "canary-secret-of-aws" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        pytest.param(400, "ThrottlingException", RateLimitedError, id="throttled"),
        pytest.param(500, "ServerException", UnavailableError, id="server error"),
    ],
)
async def test_trouble_of_aws_may_pass(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[RegistryError]
) -> None:
    """boto3 makes its own tries first, with waits of its own."""
    monkeypatch.setattr("mirrord.registry.providers.ecr_api._TRIES", 1)
    async with opened(monkeypatch) as (_, control, client):
        control.refusals["DescribeRepositories"] = (status, code, "later")
        with pytest.raises(error) as caught:
            await client.repositories()

    assert caught.value.retryable


async def test_aws_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirrord.registry.providers.ecr_api._TRIES", 1)
    use_aws(monkeypatch, "http://127.0.0.1:9")

    with pytest.raises(CredentialError, match="UNAVAILABLE: get a token for"):
        await source_of(HOST, FakeClock()).credential(HOST)


async def test_log_tells_no_secret(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """botocore writes whole answers at debug level."""
    with caplog.at_level(logging.DEBUG):
        async with opened(monkeypatch) as (registry, _, _):
            await source_of(HOST, FakeClock()).credential(HOST)

    [password] = registry.tokens.issued
    encoded = base64.b64encode(f"AWS:{password}".encode()).decode()
    for secret in (password, encoded, "canary-secret-of-aws", "Signature="):
        assert secret not in caplog.text


async def test_name_of_ones_own_uses_the_callers_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name before ECR, with `provider: ecr`."""
    async with opened(monkeypatch) as (_, control, _):
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        source = EcrProvider().credentials(
            "images.test", RegistrySettings(host="images.test", provider="ecr"), {}, FakeClock()
        )
        assert await source.credential("images.test") is not None

    assert dict(control.last("GetAuthorizationToken")) == {}


# --- listing


def fill(registry: FakeRegistry, count: int, path: str = "team/app") -> dict[str, Digest]:
    return {f"1.{n}": put(registry, path, make_image(f"app-{n}", layers=1), f"1.{n}").digest for n in range(count)}


async def test_tags_come_with_their_digests_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        wanted = fill(registry, 7)
        put(registry, "team/app", make_image("untagged"))
        control.page_size = 3
        found = {
            str(entry.tag): (entry.digest, entry.created)
            async for page in client.reader().bulk_tags()
            for entry in page.entries
        }

    assert found == {tag: (digest, None) for tag, digest in wanted.items()}
    assert control.calls("DescribeImages") == 3
    assert control.last("DescribeImages") == {
        "registryId": ACCOUNT,
        "repositoryName": "team/app",
        "filter": {"tagStatus": "TAGGED"},
        "maxResults": 1000,
        "nextToken": "page-6",
    }
    assert registry.traffic.counts["tags/list"] == 0


@pytest.mark.parametrize("rule", [pytest.param("", id="bulk-06-ecr")])
async def test_bulk_listing_is_cleaned(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """Names by the grammar of tags, digests by theirs; a tag that is told twice points to what has to be asked."""
    good, other = Digest.of(b"good"), Digest.of(b"other")
    details = [
        {"imageDigest": str(good), "imageTags": ["1.0", "twice", "+bad", ""]},
        {"imageDigest": "md5:x", "imageTags": ["2.0"]},
        {"imageDigest": str(other), "imageTags": ["twice"]},
        {"imageDigest": str(other)},
    ]
    async with opened(monkeypatch) as (registry, control, client):
        fill(registry, 1)
        control.odd["DescribeImages"] = {"imageDetails": details}
        pages = [page async for page in client.reader().bulk_tags()]

    found = {str(entry.tag): entry.digest for page in pages for entry in page.entries}
    assert found == {"1.0": good, "2.0": None, "twice": None}
    assert sum(page.skipped for page in pages) == 2


@pytest.mark.parametrize("rule", [pytest.param("", id="bulk-02-ecr")])
async def test_archived_image_lacks_in_bulk_and_not_in_the_list(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        digests = fill(registry, 2)
        control.archived.add(digests["1.0"])
        bulk = [str(entry.tag) async for page in client.reader().bulk_tags() for entry in page.entries]
        assert bulk == ["1.1"]
        assert await client.tags() == ["1.0", "1.1"]
        assert await client.reader().head(Tag("1.0")) is not None


@pytest.mark.parametrize("rule", [pytest.param("", id="bulk-03-ecr")])
@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param((400, "AccessDeniedException", "no"), id="denied"),
        pytest.param((403, "UnrecognizedClientException", "no"), id="identity"),
        pytest.param((400, "InvalidParameterException", "no"), id="refused"),
    ],
)
async def test_refused_bulk_listing_becomes_a_plain_one_and_rests(
    monkeypatch: pytest.MonkeyPatch, refusal: tuple[int, str, str], rule: str
) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        fill(registry, 2)
        await client.tags()
        control.refusals["DescribeImages"] = refusal
        for _ in range(2):
            found = [entry async for page in client.reader().bulk_tags() for entry in page.entries]
            assert [(str(entry.tag), entry.digest) for entry in found] == [("1.0", None), ("1.1", None)]

    assert control.calls("DescribeImages") == 1
    assert client.events.notes() == ["bulk_refused"]


@pytest.mark.parametrize("rule", [pytest.param("", id="bulk-05-ecr")])
async def test_api_gets_signatures_and_the_registry_gets_the_token(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        fill(registry, 1)
        _ = [page async for page in client.reader().bulk_tags()]
        await client.tags()

    schemes = {
        kind == "api": (header or "").partition(" ")[0]
        for record in registry.traffic.records
        for kind, header in [(record.kind, record.header("Authorization"))]
        if kind != "ping"
    }
    assert schemes == {True: "AWS4-HMAC-SHA256", False: "Basic"}


async def test_pages_that_repeat_end_the_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, client):
        control.odd["DescribeRepositories"] = {"repositories": [], "nextToken": "again"}
        with pytest.raises(ListingIncompleteError, match="the pages repeat"):
            await client.repositories()


async def test_answer_of_another_shape_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, client):
        control.odd["DescribeRepositories"] = {"surprise": True}
        with pytest.raises(ProtocolViolationError, match="API_ANSWER_INVALID"):
            await client.repositories()


async def test_repositories_are_listed_by_prefix_over_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        registry.switches.created |= {"team/one", "team/two", "other", "Bad"}
        control.page_size = 1
        assert await client.repositories("team/") == ["team/one", "team/two"]
        assert control.calls("DescribeRepositories") == 4
        assert registry.traffic.counts["catalog"] == 0


# --- creating


async def test_repository_that_exists_costs_one_request_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        fill(registry, 1)
        for _ in range(3):
            await client.writer().ensure_exists()

    assert registry.traffic.counts["manifest GET"] == 1
    assert control.calls("CreateRepository") == 0


async def test_many_who_need_a_repository_at_once_look_and_create_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client), anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(client.writer().ensure_exists)

    assert registry.traffic.counts["manifest GET"] == 1
    assert control.calls("CreateRepository") == 1


async def test_empty_repository_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        registry.switches.created.add("team/app")
        await client.writer().ensure_exists()

    assert control.calls("CreateRepository") == 0


async def test_repository_that_somebody_else_creates_meanwhile_is_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (_, control, client):
        control.refusals["CreateRepository"] = (400, "RepositoryAlreadyExistsException", "it is there")
        await client.writer().ensure_exists()

    assert client.events.notes() == []


async def test_created_repository_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        await client.writer().ensure_exists()

    assert registry.switches.created == {"team/app"}
    assert client.events.notes() == ["repository_created"]


async def test_repository_that_may_not_be_created_is_an_error_that_names_the_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        control.refusals["CreateRepository"] = (400, "AccessDeniedException", "not you")
        for _ in range(3):
            with pytest.raises(DeniedError, match="allow ecr:CreateRepository"):
                await client.writer().ensure_exists()
        assert control.calls("CreateRepository") == 1, "not asked again for every image"
        control.refusals.clear()
        client.clock.advance(FAILED_FOR_S + 1)
        await client.writer().ensure_exists()

    assert registry.store.uploads("team/app") == ()


async def test_repository_that_pushing_creates_needs_no_right_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    """A creation template with CREATE_ON_PUSH."""
    manifests = Manifests(digest_header="absent", create_on_push=True, unknown_is_told=False)
    profile = Profile(name="ecr", auth=ECR.auth, manifests=manifests, api=EcrControl)
    async with opened(monkeypatch, profile) as (registry, control, client):
        control.refusals["CreateRepository"] = (400, "AccessDeniedException", "not you")
        await client.writer().ensure_exists()

    assert registry.store.uploads("team/app") == ()


async def test_policy_that_was_refused_is_set_on_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = '{"rules": []}' + " " * 100
    settings = RegistrySettings(host=HOST, create_repositories={"lifecycle_policy": policy})
    async with opened(monkeypatch, settings=settings) as (_, control, client):
        control.refusals["PutLifecyclePolicy"] = (400, "InvalidParameterException", "no policy")
        with pytest.raises(RegistryError, match="created just now"):
            await client.writer().ensure_exists()
        control.refusals.clear()
        client.clock.advance(FAILED_FOR_S + 1)
        await client.writer().ensure_exists()

    assert control.policies == {"team/app": policy}
    assert control.calls("CreateRepository") == 1


async def test_reader_without_the_right_to_look_pushes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        registry.fault(Respond(403), kind="manifest GET", times=None)
        await client.writer().ensure_exists()

    assert control.calls("CreateRepository") == 0


# --- deleting


async def test_index_keeps_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        index = put(registry, "team/app", make_index("app"), "1.0")
        child = index.index.children()[0].digest
        with pytest.raises(DeniedError, match="DIGEST_IN_INDEX"):
            await client.writer().delete(child)

    assert registry.store.manifest("team/app", child) is not None


async def test_deletion_of_what_is_not_there_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, _, client):
        await client.writer().delete(Tag("1.0"))
        fill(registry, 1)
        await client.writer().delete(Tag("absent"))
        await client.writer().delete(Digest.of(b"absent"))

    assert list(registry.store.tags("team/app")) == ["1.0"]


async def test_failure_of_a_deletion_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch) as (registry, control, client):
        fill(registry, 1)
        failure = {"imageId": {"imageTag": "1.0"}, "failureCode": "KmsError", "failureReason": "the key is gone"}
        control.odd["BatchDeleteImage"] = {"imageIds": [], "failures": [failure]}
        with pytest.raises(RegistryError, match="KmsError: the key is gone"):
            await client.writer().delete(Tag("1.0"))


# --- public


async def test_public_images_are_pulled_without_any_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch, ECR_PUBLIC) as (registry, control, client):
        no_aws(monkeypatch)
        image = put(registry, "team/app", make_image("app"), "1.0")
        head = await client.reader().head(Tag("1.0"))

    assert head is not None
    assert head.digest == image.digest
    assert control.log == []
    assert registry.traffic.of("token")[0].header("Authorization") is None


async def test_public_images_are_pulled_where_the_identity_may_not_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch, ECR_PUBLIC) as (registry, control, client):
        put(registry, "team/app", make_image("app"), "1.0")
        control.refusals["GetAuthorizationToken"] = (400, "AccessDeniedException", "not you")
        assert await client.reader().head(Tag("1.0")) is not None


@pytest.mark.parametrize(("identity", "pace"), [(False, 1.0), (True, 10.0)], ids=["anonymous", "logged in"])
async def test_public_images_are_asked_for_at_the_pace_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, identity: bool, pace: float
) -> None:
    async with opened(monkeypatch, ECR_PUBLIC) as (registry, control, client):
        if not identity:
            no_aws(monkeypatch)
        fill(registry, 8)
        await client.reader().head(Tag("1.0"))
        started = client.clock.monotonic()
        for number in range(1, 8):
            await client.reader().head(Tag(f"1.{number}"))

    assert client.clock.monotonic() - started == pytest.approx(7 / pace, abs=0.01)
    assert control.calls("GetAuthorizationToken") == int(identity)


async def test_public_pace_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RegistrySettings(host=PUBLIC_HOST, requests_per_second=100.0)
    async with opened(monkeypatch, ECR_PUBLIC, settings=settings) as (registry, _, client):
        fill(registry, 5)
        for number in range(5):
            await client.reader().head(Tag(f"1.{number}"))

    assert client.clock.monotonic() < 0.2


async def test_public_registry_lists_and_deletes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(monkeypatch, ECR_PUBLIC) as (registry, _, client):
        fill(registry, 1)
        with pytest.raises(UnsupportedError, match="name the repositories in the rules"):
            await client.repositories()
        with pytest.raises(UnsupportedError, match="aws ecr-public batch-delete-image"):
            await client.writer().delete(Tag("1.0"))

    assert list(registry.store.tags("team/app")) == ["1.0"]
