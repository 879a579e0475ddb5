"""Reading secrets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from mirrord.config.secrets import MAX_BYTES, ConfiguredSecrets, exposure_of, read_secret
from mirrord.errors import CredentialError
from mirrord.ports.settings import CommandSecret, EnvSecret, FileSecret

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def python(code: str, *arguments: str) -> CommandSecret:
    return CommandSecret((sys.executable, "-c", code, *arguments), "/")


async def test_a_variable_is_read_when_it_is_needed() -> None:
    environment = {"TOKEN": "one"}
    read = ConfiguredSecrets(environment)
    environment["TOKEN"] = "two"

    assert await read(EnvSecret("TOKEN")) == "two"


@pytest.mark.parametrize(("environment", "said"), [({}, "not set"), ({"TOKEN": ""}, "empty")])
async def test_a_variable_without_a_secret_is_an_error(environment: dict[str, str], said: str) -> None:
    with pytest.raises(CredentialError, match=f"TOKEN, which holds a secret, is {said}") as caught:
        await read_secret(EnvSecret("TOKEN"), environment)

    assert caught.value.code == "ENV_UNSET"


@pytest.mark.covers("E92", "D91")
@pytest.mark.parametrize(
    ("content", "secret"),
    [
        pytest.param(b"token", "token", id="bare"),
        pytest.param(b"token\n", "token", id="newline"),
        pytest.param(b"token\r\n", "token", id="Windows newline"),
        pytest.param(b"token\n\n", "token\n", id="one newline of two"),
        pytest.param(b" to\tken ", " to\tken ", id="spaces"),
        pytest.param(b"x" * MAX_BYTES, "x" * MAX_BYTES, id="as large as allowed"),
        pytest.param("pässwörd".encode(), "pässwörd", id="UTF-8"),
    ],
)
async def test_a_file_is_a_secret_less_one_newline(tmp_path: Path, content: bytes, secret: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)

    assert await read_secret(FileSecret(str(file)), {}) == secret


@pytest.mark.covers("D91")
async def test_a_rotated_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    read = ConfiguredSecrets({})
    before = await read(FileSecret(str(file)))
    file.write_text("two")

    assert (before, await read(FileSecret(str(file)))) == ("one", "two")


@pytest.mark.covers("E92", "D91")
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(None, "SECRET_FILE_MISSING", id="missing"),
        pytest.param(b"", "SECRET_FILE_EMPTY", id="empty"),
        pytest.param(b"\n", "SECRET_FILE_EMPTY", id="a newline"),
        pytest.param(b"hunter2" * MAX_BYTES, "SECRET_FILE_TOO_LARGE", id="large"),
        pytest.param(b"hunter2\xff", "SECRET_FILE_BINARY", id="no UTF-8"),
        pytest.param(b"hunter2\x00", "SECRET_FILE_BINARY", id="NUL"),
        pytest.param(b"hunter2\x1b[0m", "SECRET_FILE_BINARY", id="control characters"),
    ],
)
async def test_a_file_that_holds_no_secret_is_an_error(tmp_path: Path, content: bytes | None, code: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CredentialError) as caught:
        await read_secret(FileSecret(str(file)), {})

    assert caught.value.code == code
    assert str(file) in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.covers("E92")
@pytest.mark.parametrize("kind", ["directory", "fifo", "loop", "NUL"])
async def test_what_is_no_file_is_an_error_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "token"
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "loop":
        place.symlink_to(place)
    name = f"{place}\0" if kind == "NUL" else str(place)

    with pytest.raises(CredentialError) as caught:
        await read_secret(FileSecret(name), {})

    assert caught.value.code == "SECRET_FILE_UNREADABLE"


async def test_a_file_that_fails_while_it_is_read_is_an_error() -> None:
    with pytest.raises(CredentialError) as caught:
        await read_secret(FileSecret("/proc/self/mem"), {})

    assert caught.value.code == "SECRET_FILE_UNREADABLE"


@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o640, False), (0o644, True)])
async def test_a_file_that_everyone_can_read_is_told(tmp_path: Path, mode: int, exposed: bool) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    file.chmod(mode)

    assert (exposure_of(FileSecret(str(file))) is not None) is exposed
    assert exposure_of(FileSecret(str(file) + "x")) is None
    assert exposure_of(EnvSecret("A")) is None


@pytest.mark.covers("D92")
async def test_a_command_prints_the_secret(tmp_path: Path) -> None:
    command = python("import os, sys; print(sys.argv[1] + os.environ['WHO'] + os.getcwd())", "$HOME;`x` ")

    assert await read_secret(command, {"WHO": "me"}) == "$HOME;`x` me/"


async def test_a_command_is_found_beside_the_configuration(tmp_path: Path) -> None:
    script = tmp_path / "token"
    script.write_text("#!/bin/sh\necho t\n")
    script.chmod(0o700)

    assert await read_secret(CommandSecret(("./token",), str(tmp_path)), {"PATH": "/bin:/usr/bin"}) == "t"


@pytest.mark.covers("D92")
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param("import sys; print('hunter2', file=sys.stderr); sys.exit(1)", "SECRET_COMMAND_FAILED",
                     id="exit 1"),
        pytest.param("import os; print('hunter2', flush=True); os.kill(os.getpid(), 9)", "SECRET_COMMAND_FAILED",
                     id="killed"),
        pytest.param("pass", "SECRET_COMMAND_EMPTY", id="nothing"),
        pytest.param("while True: print('hunter2' * 1000)", "SECRET_COMMAND_TOO_LARGE", id="endless"),
        pytest.param("import os; os.write(1, b'hunter2\\xff')", "SECRET_COMMAND_BINARY", id="binary"),
    ],
)  # fmt: skip
async def test_a_command_that_fails_is_an_error_without_its_output(code: str, expected: str) -> None:
    with pytest.raises(CredentialError) as caught:
        await read_secret(python(code, "hunter2"), {})

    assert caught.value.code == expected
    assert sys.executable in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.covers("D92")
@pytest.mark.parametrize("command", [("/no/such/program",), ("a\0b",)])
async def test_a_command_that_cannot_start_is_an_error(command: tuple[str, ...]) -> None:
    with pytest.raises(CredentialError) as caught:
        await read_secret(CommandSecret(command), {})

    assert caught.value.code == "SECRET_COMMAND_FAILED"


@pytest.mark.covers("D92")
async def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 3<>{alive}; sleep 1000 & sleep 1000"
    try:
        with pytest.raises(CredentialError) as caught:
            await read_secret(CommandSecret(("/bin/sh", "-c", script)), {"PATH": "/bin"}, command_deadline_s=0.3)
        with anyio.fail_after(5):
            while True:
                try:
                    # At its end only when nobody has the FIFO open for writing any more.
                    ended = os.read(reader, 1) == b""
                except BlockingIOError:
                    await anyio.lowlevel.checkpoint()
                    continue
                break
    finally:
        os.close(reader)

    assert caught.value.code == "SECRET_COMMAND_TIMEOUT"
    assert ended
