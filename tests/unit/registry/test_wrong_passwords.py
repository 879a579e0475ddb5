"""What a wrong password costs: few log-ins, however many tasks and repositories there are. Accounts get locked."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from mirrord.errors import UnauthorizedError
from mirrord.oci.reference import Tag
from mirrord.ports.credentials import Credential
from tests.contract.images import build_image
from tests.fakes.clients import Client, credential_of, open_client
from tests.fakes.faults import Respond
from tests.fakes.profiles import Auth, Profile
from tests.fakes.registry import BASIC, BEARER, FakeRegistry

pytestmark = pytest.mark.anyio

IMAGE = build_image()
WRONG = Credential(username="robot", secret="wrong")
LATE = Profile(auth=Auth(scheme="basic", ping_status=200))
REPOSITORIES = tuple(f"team/app{number}" for number in range(50))


def filled(profile: Profile, paths: Sequence[str] = REPOSITORIES) -> FakeRegistry:
    registry = FakeRegistry(profile)
    for path in paths:
        registry.store.add_manifest(path, IMAGE.manifest.raw, IMAGE.manifest.descriptor.media_type, tags=["1.0"])
    return registry


async def look(client: Client, path: str, refused: list[UnauthorizedError]) -> None:
    try:
        assert await client.reader(path).head(Tag("1.0")) is not None
    except UnauthorizedError as exc:
        refused.append(exc)


async def look_at_all(client: Client, paths: Sequence[str] = REPOSITORIES) -> list[UnauthorizedError]:
    """Look at a tag in each of many repositories side by side; return the refusals."""
    refused: list[UnauthorizedError] = []
    async with anyio.create_task_group() as group:
        for path in paths:
            group.start_soon(look, client, path, refused)
    return refused


def log_ins(registry: FakeRegistry) -> int:
    """Return how often a password arrived."""
    return sum((record.header("Authorization") or "").startswith("Basic ") for record in registry.traffic.records)


@pytest.mark.parametrize(("profile", "most"), [(BASIC, 1), (BEARER, 2)], ids=["basic", "bearer"])
async def test_fifty_repositories_with_a_wrong_password_cost_few_log_ins(profile: Profile, most: int) -> None:
    """Neither the tasks that begin together nor those that come later try what was refused."""
    async with filled(profile) as registry, open_client(registry, credential=WRONG) as client:
        refused = await look_at_all(client)
        first = log_ins(registry)
        client.clock.advance(60)
        refused += await look_at_all(client)

    assert len(refused) == 2 * len(REPOSITORIES)
    assert first <= most
    assert log_ins(registry) == first
    assert all("wrong" not in str(error) and '"robot"' in str(error) for error in refused)


async def test_wrong_password_at_a_registry_with_an_open_front_door_costs_few_log_ins() -> None:
    """``/v2/`` lets everybody in, so that it cannot tell whether the password is right."""
    async with filled(LATE) as registry, open_client(registry, credential=WRONG) as client:
        for path in REPOSITORIES:
            await look_at_all(client, [path])

    assert log_ins(registry) <= 8


@pytest.mark.parametrize("profile", [BASIC, BEARER, LATE], ids=["basic", "bearer", "late"])
async def test_password_that_was_corrected_is_used_at_once(profile: Profile) -> None:
    async with filled(profile) as registry, open_client(registry, credential=WRONG) as client:
        assert len(await look_at_all(client)) == len(REPOSITORIES)
        client.credentials.by_host[registry.host] = credential_of(registry)

        assert await look_at_all(client) == []


@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
async def test_account_that_is_in_order_again_is_tried_after_a_quarter_of_an_hour(profile: Profile) -> None:
    async with filled(profile) as registry, open_client(registry) as client:
        registry.fault(Respond(401), kind="token" if profile is BEARER else "ping", times=3)
        refused = await look_at_all(client)
        client.clock.advance(15 * 60 + 1)
        registry.faults.clear()

        assert refused
        assert await look_at_all(client) == []


async def test_refused_repositories_do_not_make_a_right_password_a_wrong_one() -> None:
    """Some token services answer 401 to whoever has no right to one repository."""
    auth = Auth(
        scheme="bearer", refused_scopes=tuple(f"{path}:" for path in REPOSITORIES[:40]), refused_scope_status=401
    )
    async with filled(Profile(auth=auth)) as registry, open_client(registry) as client:
        refused = await look_at_all(client, REPOSITORIES[:40])

        assert len(refused) == 40
        assert await look_at_all(client, REPOSITORIES[40:]) == []


async def test_password_that_is_changed_while_mirrord_runs_costs_few_log_ins() -> None:
    async with filled(BEARER) as registry, open_client(registry) as client:
        assert await look_at_all(client, REPOSITORIES[:10]) == []
        client.clock.advance(600)
        registry.fault(Respond(401), kind="token", times=None)
        registry.traffic.clear()
        refused = await look_at_all(client)

    assert len(refused) == 50
    assert log_ins(registry) <= 2


@pytest.mark.parametrize("profile", [BASIC, BEARER], ids=["basic", "bearer"])
@pytest.mark.parametrize("status", [401, 403])
async def test_repository_that_refuses_for_ever_costs_hardly_more_than_one_request_each_time(
    profile: Profile, status: int
) -> None:
    """No token is asked for again and again, and nothing is sent twice, where a right lacks."""
    async with filled(profile) as registry, open_client(registry) as client:
        assert await look_at_all(client, REPOSITORIES[:1]) == []
        registry.traffic.clear()
        registry.fault(Respond(status), kind="tags/list", times=None)
        for _ in range(20):
            with pytest.raises(Exception, match=r"AUTH_REJECTED|DENIED"):
                await client.tags(REPOSITORIES[0])

    assert registry.traffic.counts["tags/list"] <= 23
    assert registry.traffic.counts["token"] <= 3
