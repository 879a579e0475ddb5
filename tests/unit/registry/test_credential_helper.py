"""Credential helpers, run as real programs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mirrord.errors import CredentialError
from mirrord.registry.credential_helper import HelperAnswer, ask_helper

pytestmark = pytest.mark.anyio

SECRET = "S3CRET-of-the-helper"


@pytest.fixture
def install(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return a function that installs a shell script as docker-credential-test and returns its environment."""

    def write(script: str) -> dict[str, str]:
        program = tmp_path / "docker-credential-test"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}{os.pathsep}{os.defpath}", "MARK": "from the caller"}

    return write


Install = Callable[[str], dict[str, str]]


async def test_helper_gets_the_server_on_stdin_and_answers_with_user_and_secret(install: Install) -> None:
    environment = install(
        'read -r server; echo "{\\"Username\\":\\"$1-$server-$MARK\\",\\"Secret\\":\\"s\\",\\"ServerURL\\":\\"\\"}"'
    )

    answer = await ask_helper("test", "reg.example:5000", environment=environment)

    assert answer == HelperAnswer(username="get-reg.example:5000-from the caller", secret="s")


async def test_helper_hands_out_an_identity_token_under_its_mark(install: Install) -> None:
    environment = install('echo \'{"Username":"<token>","Secret":"refresh"}\'')

    assert await ask_helper("test", "r.io", environment=environment) == HelperAnswer(identity_token="refresh")


@pytest.mark.parametrize("to", ["", ">&2"], ids=["stdout", "stderr"])
async def test_helper_that_knows_nothing_means_no_credential(install: Install, to: str) -> None:
    environment = install(f"echo 'Credentials not found in native keychain' {to}; exit 1")

    assert await ask_helper("test", "r.io", environment=environment) is None


@pytest.mark.covers("D92", "C33")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"echo {SECRET}; exit 3", "ended with exit code 3"),
        (f"echo {SECRET} >&2; exit 1", "ended with exit code 1"),
        (f"echo {SECRET}", "printed no JSON object"),
        (f"echo '[\"{SECRET}\"]'", "printed no JSON object"),
        ("true", "printed no JSON object"),
        (f'echo \'{{"Secret":"{SECRET}"}}\'', "without Username and Secret"),
        ('echo \'{"Username":"u","Secret":""}\'', "without Username and Secret"),
        ('echo \'{"Username":1,"Secret":2}\'', "without Username and Secret"),
        ("yes", "more than 64 KiB"),
        ("yes >&2", "more than 64 KiB"),
        ("kill -9 $$", "ended with exit code -9"),
    ],
    ids=[
        "exit-3",
        "secret-to-stderr",
        "no-json",
        "list",
        "nothing",
        "no-user",
        "empty-secret",
        "numbers",
        "endless",
        "endless-stderr",
        "killed",
    ],
)
async def test_helper_that_fails_is_an_error_that_shows_no_output(install: Install, script: str, words: str) -> None:
    with pytest.raises(CredentialError, match=words) as caught:
        await ask_helper("test", "r.io", environment=install(script))

    assert caught.value.code == "HELPER_FAILED"
    assert "docker-credential-test" in str(caught.value)
    assert SECRET not in str(caught.value)


def is_running(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.covers("D92")
@pytest.mark.parametrize("ending", ["wait", "exit 0"], ids=["waits", "leaves-a-child"])
async def test_helper_that_hangs_is_killed_with_its_children(install: Install, ending: str, tmp_path: Path) -> None:
    environment = install(f'sleep 60 & echo $! > "{tmp_path}/pid"; {ending}')

    with anyio.fail_after(10), pytest.raises(CredentialError, match=r"did not answer for r.io within 1 s"):
        await ask_helper("test", "r.io", environment=environment, deadline_s=1)

    with anyio.fail_after(10):
        while is_running(int((tmp_path / "pid").read_text())):  # noqa: ASYNC110 - no event tells of its end
            await anyio.sleep(0.01)


async def test_helper_is_killed_when_its_caller_is_cancelled(install: Install, tmp_path: Path) -> None:
    environment = install(f'echo $$ > "{tmp_path}/pid.new"; mv "{tmp_path}/pid.new" "{tmp_path}/pid"; exec sleep 60')

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:

            async def ask() -> None:
                await ask_helper("test", "r.io", environment=environment, deadline_s=60)

            group.start_soon(ask)
            while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - another process makes the file
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.mark.covers("A14", "D92")
@pytest.mark.parametrize("path", ["", "relative:.", "/nowhere"], ids=["empty", "relative", "absent"])
async def test_missing_helper_is_an_error_that_names_it(
    install: Install, path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install("true")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CredentialError, match=r"HELPER_MISSING.*docker-credential-test is configured, but not found"):
        await ask_helper("test", "r.io", environment={"PATH": path})


async def test_helper_that_cannot_be_started_is_an_error(install: Install, tmp_path: Path) -> None:
    environment = install("true")
    (tmp_path / "docker-credential-test").write_text("#!/no/such/interpreter\n")

    with pytest.raises(CredentialError, match=r"HELPER_FAILED.*could not be started"):
        await ask_helper("test", "r.io", environment=environment)


@pytest.mark.covers("E94")
@pytest.mark.parametrize(
    "name", ["../../bin/sh", "x;rm", "-v", "/bin/sh", "", "Test", "a b", "a\n", "x" * 65, "\u00e9"]
)
async def test_helper_names_are_names_alone(name: str) -> None:
    with pytest.raises(CredentialError, match="HELPER_NAME_INVALID"):
        await ask_helper(name, "r.io", environment={})


@pytest.mark.parametrize("server", ["", "r.io\nevil", "r.io\r", "a b", "a\x00"])
async def test_helper_is_never_asked_with_more_than_one_line(install: Install, server: str) -> None:
    with pytest.raises(CredentialError, match="no address of a registry"):
        await ask_helper("test", server, environment=install("true"))


def test_helper_answer_hides_secrets() -> None:
    assert SECRET not in repr(HelperAnswer(username="u", secret=SECRET, identity_token=SECRET))
