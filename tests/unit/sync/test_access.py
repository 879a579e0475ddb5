from __future__ import annotations

import pytest

from mirrord.errors import CredentialError, DeniedError, MirrordError, UnauthorizedError, UnavailableError
from mirrord.oci.reference import Repository
from mirrord.planning.rule import Rule, Source
from mirrord.planning.target import TargetTemplate
from mirrord.ports.access import AccessProbe, Presence
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.events import NullSink
from mirrord.ports.settings import RegistrySettings, TlsSettings
from mirrord.registry.throttle import RegistrySlots, ThrottleBook
from mirrord.sync.access import RegistryAccess, Right, check_access
from mirrord.sync.context import Context
from tests.fakes.clock import FakeClock
from tests.fakes.memory import Memory

pytestmark = pytest.mark.anyio

SOURCE, TARGET = Repository("source.test", "team/app"), Repository("target.test", "mirror/app")
RULE = Rule(name="r", source=Source(location=SOURCE), targets=(TargetTemplate.parse(str(TARGET)),))


class Probe(AccessProbe):
    """A registry that answers as it was told; ``pushed`` are the uploads that were begun."""

    def __init__(
        self,
        *,
        greeting: str | MirrordError = "bearer",
        granted: frozenset[str] | None = None,
        pull: Presence | MirrordError = Presence.YES,
        push: MirrordError | None = None,
    ) -> None:
        self.pushed: list[Repository] = []
        self._greeting, self._granted, self._pull, self._push = greeting, granted, pull, push

    async def greet(self, host: str) -> str:
        if isinstance(self._greeting, MirrordError):
            raise self._greeting
        return self._greeting

    async def granted(self, repository: Repository) -> frozenset[str] | None:
        return self._granted

    async def try_pull(self, repository: Repository) -> Presence:
        if isinstance(self._pull, MirrordError):
            raise self._pull
        return self._pull

    async def try_push(self, repository: Repository) -> None:
        self.pushed.append(repository)
        if self._push is not None:
            raise self._push


class Wallet(CredentialProvider):
    """Gives the same answer for every registry."""

    def __init__(self, answer: Credential | CredentialError | None) -> None:
        self._answer = answer

    async def credential(self, host: str) -> Credential | None:
        if isinstance(self._answer, CredentialError):
            raise self._answer
        return self._answer


ROBOT = Wallet(Credential(username="robot", secret="secret", origin="registries entry"))
NOBODY = Wallet(None)


async def check(
    probe: Probe, wallet: Wallet = ROBOT, *settings: RegistrySettings, try_push: bool = False
) -> dict[str, RegistryAccess]:
    memory = Memory()
    context = Context(gateway=memory, slots=RegistrySlots(ThrottleBook()), clock=FakeClock(), events=NullSink())
    by_host = {one.host: one for one in settings}
    found = await check_access(context, probe, wallet, by_host, [RULE], try_push=try_push)
    return {registry.host: registry for registry in found}


async def test_a_token_that_allows_to_push_is_believed_without_trying() -> None:
    probe = Probe(granted=frozenset({"pull", "push"}))

    found = await check(probe)

    (target,) = found["target.test"].repositories
    assert (target.pull, target.push, target.problem) == (Right.YES, Right.GRANTED, None)
    assert not probe.pushed


async def test_a_token_that_allows_no_push_is_a_problem_at_a_target() -> None:
    found = await check(Probe(granted=frozenset({"pull"})))

    (target,) = found["target.test"].repositories
    assert target.push is Right.NO
    assert target.problem is not None
    assert "allows pull, and rules push there" in target.problem.message


async def test_a_right_to_push_that_no_rule_needs_is_a_warning() -> None:
    found = await check(Probe(granted=frozenset({"pull", "push"})))

    (source,) = found["source.test"].repositories
    assert source.push is None
    assert "it may push here as well" in source.warnings[0]


@pytest.mark.parametrize(("error", "right"), [(None, Right.YES), (DeniedError("no"), Right.NO)], ids=["may", "may not"])
async def test_pushing_is_tried_at_targets_alone(error: MirrordError | None, right: Right) -> None:
    probe = Probe(push=error)

    found = await check(probe, try_push=True)

    assert found["target.test"].repositories[0].push is right
    assert probe.pushed == [TARGET]


async def test_a_missing_repository_is_a_problem_at_a_source_only() -> None:
    found = await check(Probe(pull=Presence.NO))

    assert [problem.code for problem in found["source.test"].problems] == ["NOT_FOUND"]
    assert not found["target.test"].problems
    assert not found["target.test"].repositories[0].exists


async def test_a_repository_that_the_first_push_makes_is_no_problem_and_is_not_pushed_to() -> None:
    """Neither is the token asked what it allows: at Quay that alone would make the repository."""
    probe = Probe(pull=Presence.LATER, granted=frozenset())

    found = await check(probe, try_push=True)

    repository = found["target.test"].repositories[0]
    assert (repository.made_by_push, repository.exists, repository.push) == (True, False, Right.UNKNOWN)
    assert not found["target.test"].problems
    assert not probe.pushed


async def test_a_credential_that_is_refused_is_not_used_any_further() -> None:
    found = await check(Probe(greeting=UnauthorizedError("no")))

    assert {registry.accepted for registry in found.values()} == {Right.NO}
    assert not any(registry.is_usable or registry.repositories for registry in found.values())


async def test_an_anonymous_registry_may_refuse_a_log_in_and_still_be_read() -> None:
    found = await check(Probe(greeting=UnauthorizedError("no")), NOBODY)

    assert found["source.test"].accepted is Right.UNKNOWN
    assert found["source.test"].repositories[0].pull is Right.YES


async def test_a_registry_that_is_down_says_nothing_of_the_credential() -> None:
    found = await check(Probe(greeting=UnavailableError("down")))

    assert found["target.test"].accepted is Right.UNKNOWN
    assert not found["target.test"].is_usable


@pytest.mark.covers("C33")
async def test_a_source_of_credentials_that_fails_is_told_and_nothing_is_asked() -> None:
    found = await check(Probe(), Wallet(CredentialError("helper failed")))

    assert found["target.test"].accepted is Right.NO
    assert [problem.code for problem in found["target.test"].problems] == ["CREDENTIAL_UNUSABLE"]
    assert not found["target.test"].repositories


@pytest.mark.parametrize(
    ("settings", "wallet", "warning"),
    [
        pytest.param({"plain_http": True}, ROBOT, "the credential goes over the network unencrypted", id="plain"),
        pytest.param({"plain_http": True}, NOBODY, "nothing proves who answers", id="plain-anonymous"),
        pytest.param({"tls": TlsSettings(verify=False)}, ROBOT, "tls.verify is off", id="unverified"),
    ],
)
async def test_insecure_settings_are_warnings(settings: dict[str, object], wallet: Wallet, warning: str) -> None:
    found = await check(Probe(), wallet, RegistrySettings(host="target.test", **settings))  # type: ignore[arg-type] # by name

    assert warning in found["target.test"].warnings[0]


async def test_registries_of_the_settings_are_checked_though_no_rule_needs_them() -> None:
    found = await check(Probe(), ROBOT, RegistrySettings(host="spare.test"))

    assert found["spare.test"].accepted is Right.YES
    assert found["spare.test"].is_usable
