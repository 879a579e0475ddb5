"""Registries' own sources of credentials: between the configuration's entry and docker's files."""

from __future__ import annotations

import anyio
import pytest

from mirrord.errors import CredentialError, CredentialUnavailableError
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.registry.credentials import CredentialChain, NativeCredentials
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.anyio

FOUND = Credential(username="u", secret="p")
OTHER = Credential(username="v", secret="q")
UNAVAILABLE = CredentialUnavailableError("no SDK is installed", remedy="install mirrord[aws]")


class Source(CredentialProvider):
    """Answers with what it is given, one after the other; an exception is raised."""

    def __init__(self, *answers: Credential | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.forgotten: list[str] = []

    async def credential(self, host: str) -> Credential | None:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def forget(self, host: str) -> None:
        self.forgotten.append(host)


# --- native


async def test_native_source_is_found_once_a_registry_and_asked_each_time() -> None:
    source, found = Source(FOUND, OTHER), list[str]()

    def find(host: str) -> CredentialProvider | None:
        found.append(host)
        return source

    native = NativeCredentials(find)

    assert [await native.credential("r.io") for _ in range(2)] == [FOUND, OTHER]
    assert found == ["r.io"]


async def test_registry_without_a_native_source_has_no_credential_and_nothing_to_forget() -> None:
    native = NativeCredentials(lambda _host: None)
    native.forget("r.io")

    assert await native.credential("r.io") is None
    native.forget("r.io")


async def test_native_sources_of_registries_are_apart() -> None:
    sources: dict[str, Source] = {"a.io": Source(FOUND), "b.io": Source(OTHER)}
    native = NativeCredentials(sources.get)

    assert (await native.credential("a.io"), await native.credential("b.io")) == (FOUND, OTHER)
    native.forget("a.io")

    assert (sources["a.io"].forgotten, sources["b.io"].forgotten) == (["a.io"], [])


# --- the chain around it


async def test_source_that_cannot_be_used_here_lets_the_next_one_be_asked() -> None:
    first, second = Source(UNAVAILABLE), Source(FOUND)
    chain = CredentialChain([first, second], FakeClock())

    assert await chain.credential("r.io") is FOUND
    assert (first.asked, second.asked) == (["r.io"], ["r.io"])


async def test_source_that_cannot_be_used_is_the_error_if_none_knows_the_registry() -> None:
    chain = CredentialChain([Source(None), Source(UNAVAILABLE), Source(None)], FakeClock())

    with pytest.raises(CredentialUnavailableError, match="no SDK is installed") as caught:
        await chain.credential("r.io")

    assert caught.value.remedy == "install mirrord[aws]"


async def test_first_source_that_cannot_be_used_is_the_one_that_is_told() -> None:
    chain = CredentialChain([Source(UNAVAILABLE), Source(CredentialUnavailableError("another"))], FakeClock())

    with pytest.raises(CredentialUnavailableError, match="no SDK is installed"):
        await chain.credential("r.io")


async def test_source_that_fails_ends_the_search_although_an_earlier_one_cannot_be_used() -> None:
    late = Source(FOUND)
    chain = CredentialChain([Source(UNAVAILABLE), Source(CredentialError("access denied")), late], FakeClock())

    with pytest.raises(CredentialError, match="access denied"):
        await chain.credential("r.io")

    assert late.asked == []


async def test_source_that_cannot_be_used_is_asked_again_next_time() -> None:
    source = Source(UNAVAILABLE, FOUND)
    chain = CredentialChain([source], FakeClock())

    with pytest.raises(CredentialUnavailableError):
        await chain.credential("r.io")

    assert await chain.credential("r.io") is FOUND


async def test_tasks_that_wait_for_a_search_get_the_same_error() -> None:
    gate = anyio.Event()

    class Slow(Source):
        async def credential(self, host: str) -> Credential | None:
            await gate.wait()
            return await super().credential(host)

    slow = Slow(UNAVAILABLE)
    chain = CredentialChain([slow], FakeClock())
    outcomes: list[tuple[type[CredentialError], str]] = []

    async def ask() -> None:
        try:
            await chain.credential("r.io")
        except CredentialError as exc:
            outcomes.append((type(exc), exc.remedy))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        gate.set()

    assert outcomes == [(CredentialUnavailableError, "install mirrord[aws]")] * 2
    assert slow.asked == ["r.io"]


async def test_forgetting_reaches_every_source() -> None:
    source = Source(FOUND)
    native = NativeCredentials(lambda _host: source)
    chain = CredentialChain([native], FakeClock())
    await chain.credential("r.io")

    chain.forget("r.io")
    await chain.credential("r.io")

    assert source.forgotten == ["r.io"]
    assert source.asked == ["r.io", "r.io"]
