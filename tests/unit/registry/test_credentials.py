"""Sources of credentials and their chain."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mirrord.errors import CredentialError
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.settings import EnvSecret, RegistrySettings, Secret
from mirrord.registry.credentials import (
    REMEMBERED_S,
    CredentialChain,
    DockerConfigCredentials,
    ExplicitCredentials,
)

pytestmark = pytest.mark.anyio

START = datetime(2025, 11, 24, 12, 0, 0, tzinfo=UTC)


class StandingClock(Clock):
    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds


class Source(CredentialProvider):
    """Answers with what it is given, one after the other; an exception is raised."""

    def __init__(self, *answers: Credential | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.gate: anyio.Event | None = None

    async def credential(self, host: str) -> Credential | None:
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def read_secret(secret: Secret) -> str:
    assert isinstance(secret, EnvSecret)
    if secret.name == "BROKEN":
        raise CredentialError("the environment variable BROKEN is not set")
    return f"value of {secret.name}"


def explicit(**settings: object) -> ExplicitCredentials:
    return ExplicitCredentials(RegistrySettings(host="r.io", **settings), read_secret)  # type: ignore[arg-type]  # a builder


async def test_explicit_credentials_read_the_secret_when_asked() -> None:
    found = await explicit(username="u", password=EnvSecret("TOKEN")).credential("r.io")

    assert found == Credential(username="u", secret="value of TOKEN", origin="registries entry")


async def test_explicit_credentials_belong_to_their_registry_alone() -> None:
    assert await explicit(username="u", password=EnvSecret("TOKEN")).credential("other.io") is None
    assert await explicit().credential("r.io") is None


@pytest.mark.parametrize(
    "settings",
    [
        {"username": "u"},
        {"password": EnvSecret("TOKEN")},
        {"username": "", "password": EnvSecret("TOKEN")},
        {"username": "u:v", "password": EnvSecret("TOKEN")},
    ],
    ids=["no-password", "no-user", "empty-user", "colon"],
)
async def test_explicit_credentials_must_be_complete(settings: dict[str, object]) -> None:
    with pytest.raises(CredentialError, match=r'CREDENTIAL_INCOMPLETE.*"r.io"'):
        await explicit(**settings).credential("r.io")


async def test_explicit_credentials_fail_when_the_secret_cannot_be_read() -> None:
    with pytest.raises(CredentialError, match="BROKEN is not set"):
        await explicit(username="u", password=EnvSecret("BROKEN")).credential("r.io")


def write(path: Path, host: str = "r.io", user: str = "u", **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:p".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}, **more}))


def test_docker_files_are_looked_at_in_their_order(tmp_path: Path) -> None:
    plain = DockerConfigCredentials({}, tmp_path)
    full = DockerConfigCredentials(
        {"DOCKER_CONFIG": "/d", "REGISTRY_AUTH_FILE": "/r.json", "XDG_RUNTIME_DIR": "/run", "XDG_CONFIG_HOME": "/c"},
        tmp_path,
    )

    assert plain.files == (tmp_path / ".docker/config.json", tmp_path / ".config/containers/auth.json")
    assert [str(path) for path in full.files] == [
        "/r.json",
        "/d/config.json",
        "/run/containers/auth.json",
        "/c/containers/auth.json",
    ]


async def test_docker_files_give_the_first_credential_found(tmp_path: Path) -> None:
    provider = DockerConfigCredentials({"XDG_RUNTIME_DIR": str(tmp_path / "run")}, tmp_path)
    write(tmp_path / ".docker/config.json", host="other.io")
    write(tmp_path / "run/containers/auth.json", user="podman")
    write(tmp_path / ".config/containers/auth.json", user="late")

    found = await provider.credential("r.io")

    assert found is not None
    assert (found.username, found.origin) == ("podman", str(tmp_path / "run/containers/auth.json"))
    assert await provider.credential("unknown.io") is None


async def test_docker_files_that_are_missing_are_no_error(tmp_path: Path) -> None:
    assert await DockerConfigCredentials({"REGISTRY_AUTH_FILE": "/no/such"}, tmp_path).credential("r.io") is None


@pytest.mark.covers("E95")
@pytest.mark.parametrize("kind", ["directory", "loop", "fifo", "large", "below-a-file", "broken"])
async def test_docker_files_that_are_unusable_are_errors(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "auth.json"
    match kind:
        case "directory":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "fifo":
            os.mkfifo(path)
        case "large":
            path.write_bytes(b" " * (1024 * 1024 + 1))
        case "below-a-file":
            path.write_bytes(b"")
            path /= "auth.json"
        case _:
            path.write_text("{")
    write(tmp_path / ".docker/config.json")

    with pytest.raises(CredentialError, match=r"DOCKER_CONFIG_INVALID.*auth\.json"):
        await DockerConfigCredentials({"REGISTRY_AUTH_FILE": str(path)}, tmp_path).credential("r.io")


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str, str], None]:
    def write_program(name: str, script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / f"docker-credential-{name}").write_text(f"#!/bin/sh\n{script}\n")
        (folder / f"docker-credential-{name}").chmod(0o755)

    return write_program


def with_path(tmp_path: Path) -> DockerConfigCredentials:
    return DockerConfigCredentials({"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.defpath}"}, tmp_path)


async def test_docker_files_ask_their_helper_before_stored_secrets(
    tmp_path: Path, install: Callable[[str, str], None]
) -> None:
    write(tmp_path / ".docker/config.json", host="docker.io", credsStore="test")
    install("test", 'read -r s; echo "{\\"Username\\":\\"$s\\",\\"Secret\\":\\"x\\"}"')

    found = await with_path(tmp_path).credential("docker.io")

    assert found is not None
    assert (found.username, found.secret) == ("https://index.docker.io/v1/", "x")
    assert found.origin == f"docker-credential-test ({tmp_path}/.docker/config.json)"


async def test_docker_files_go_on_when_a_helper_has_nothing(
    tmp_path: Path, install: Callable[[str, str], None]
) -> None:
    write(tmp_path / ".docker/config.json", credHelpers={"r.io": "special"}, credsStore="test")
    install("special", "echo credentials not found in native keychain; exit 1")
    install("test", "echo credentials not found in native keychain; exit 1")

    found = await with_path(tmp_path).credential("r.io")

    assert found is not None
    assert found.username == "u"


@pytest.mark.covers("A14", "E95")
async def test_docker_files_never_skip_a_missing_helper(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", credHelpers={"r.io": "absent"})

    with pytest.raises(CredentialError, match="docker-credential-absent"):
        await with_path(tmp_path).credential("r.io")


FOUND = Credential(username="u", secret="p")


async def test_chain_takes_the_first_credential() -> None:
    first, second, third = Source(None), Source(FOUND), Source(None)

    assert await CredentialChain([first, second, third], StandingClock()).credential("r.io") is FOUND
    assert (first.asked, second.asked, third.asked) == (["r.io"], ["r.io"], [])


async def test_chain_without_any_credential_means_anonymous() -> None:
    assert await CredentialChain([Source(None)], StandingClock()).credential("r.io") is None


@pytest.mark.covers("D92")
async def test_chain_stops_at_the_first_error() -> None:
    late = Source(FOUND)
    chain = CredentialChain([Source(CredentialError("broken", code="X")), late], StandingClock())

    with pytest.raises(CredentialError, match="X: broken"):
        await chain.credential("r.io")

    assert late.asked == []


async def test_chain_remembers_for_a_minute_and_forgets_on_demand() -> None:
    clock, source = StandingClock(), Source(FOUND)
    chain = CredentialChain([source], clock)

    for passed_s in (0, REMEMBERED_S - 1, REMEMBERED_S):
        clock.passed_s = passed_s
        await chain.credential("r.io")
    assert len(source.asked) == 2

    chain.forget("r.io")
    await chain.credential("r.io")
    assert len(source.asked) == 3


async def test_chain_remembers_no_credential_too_but_no_failure() -> None:
    source = Source(CredentialError("broken"), None)
    chain = CredentialChain([source], StandingClock())

    with pytest.raises(CredentialError):
        await chain.credential("r.io")
    await chain.credential("r.io")
    await chain.credential("r.io")

    assert len(source.asked) == 2


@pytest.mark.parametrize(("left_s", "asked"), [(10, 2), (-10, 2), (600, 1)])
async def test_chain_forgets_a_credential_when_it_expires(left_s: float, asked: int) -> None:
    clock = StandingClock()
    source = Source(Credential(username="u", secret="p", expires_at=START + timedelta(seconds=left_s)))
    chain = CredentialChain([source], clock)

    await chain.credential("r.io")
    clock.passed_s = 10
    await chain.credential("r.io")

    assert len(source.asked) == asked


async def ask_twice(chain: CredentialChain, source: Source) -> list[object]:
    """Ask from two tasks while the source is waiting; return what each of them got."""
    outcomes: list[object] = []
    source.gate = anyio.Event()

    async def ask() -> None:
        try:
            outcomes.append(await chain.credential("r.io"))
        except CredentialError as exc:
            outcomes.append(str(exc))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        source.gate.set()
    return outcomes


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(FOUND, FOUND), (None, None), (CredentialError("broken", code="X", remedy="mend it"), "X: broken; mend it")],
    ids=["found", "none", "failed"],
)
async def test_chain_shares_one_search_between_tasks(answer: Credential | Exception | None, outcome: object) -> None:
    source = Source(answer)

    outcomes = await ask_twice(CredentialChain([source], StandingClock()), source)

    assert outcomes == [outcome, outcome]
    assert len(source.asked) == 1


async def test_chain_hands_the_search_over_when_the_searching_task_is_cancelled() -> None:
    source = Source(FOUND)
    source.gate = anyio.Event()
    chain = CredentialChain([source], StandingClock())
    leader = anyio.CancelScope()
    outcomes: list[Credential | None] = []

    async def lead() -> None:
        with leader:
            await chain.credential("r.io")

    async def follow() -> None:
        outcomes.append(await chain.credential("r.io"))

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        leader.cancel()
        source.gate.set()

    assert outcomes == [FOUND]
    assert len(source.asked) == 2


async def test_chain_does_not_remember_what_was_forgotten_during_the_search() -> None:
    source = Source(FOUND)
    source.gate = anyio.Event()
    chain = CredentialChain([source], StandingClock())

    async with anyio.create_task_group() as group:
        group.start_soon(chain.credential, "r.io")
        await anyio.wait_all_tasks_blocked()
        chain.forget("r.io")
        source.gate.set()
    await chain.credential("r.io")

    assert len(source.asked) == 2
