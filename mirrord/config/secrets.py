"""Reading secrets: from the environment, a file or a program, whenever one is needed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import ByteReceiveStream

from mirrord.errors import CredentialError, quote
from mirrord.ports.settings import CommandSecret, EnvSecret, FileSecret, Secret, SecretReader

MAX_BYTES = 64 * 1024
COMMAND_DEADLINE_S = 10.0
_READABLE_BY_OTHERS = stat.S_IROTH


class ConfiguredSecrets(SecretReader):
    """Reads secrets, those in variables from one environment."""

    def __init__(self, environment: Mapping[str, str], *, command_deadline_s: float = COMMAND_DEADLINE_S) -> None:
        self._environment = environment
        self._command_deadline_s = command_deadline_s

    async def __call__(self, secret: Secret) -> str:
        """Return the secret; see `SecretReader`."""
        return await read_secret(secret, self._environment, command_deadline_s=self._command_deadline_s)


async def read_secret(
    secret: Secret, environment: Mapping[str, str], *, command_deadline_s: float = COMMAND_DEADLINE_S
) -> str:
    r"""Return a secret.

    One newline at its end is left out, ``\n`` or ``\r\n``: editors and programs put one there.

    Raises:
        CredentialError: it is missing, empty, larger than 64 KiB, no text, or cannot be read. The message names
            where it should be and shows nothing of what was there, nor what a program wrote to stderr.
    """
    if isinstance(secret, EnvSecret):
        return _from_environment(secret, environment)
    if isinstance(secret, FileSecret):
        content = await anyio.to_thread.run_sync(_read_file, secret.path)
        return _as_text(content, f'the file "{quote(secret.path)}"', "SECRET_FILE")
    content = await _run(secret, environment, command_deadline_s)
    return _as_text(content, f"what {_name(secret)} printed", "SECRET_COMMAND")


def exposure_of(secret: Secret) -> str | None:
    """Return a warning if others on this machine can read a secret's file, else None."""
    if not isinstance(secret, FileSecret):
        return None
    try:
        mode = Path(secret.path).stat().st_mode
    except OSError:
        return None  # reading it will say so
    if mode & _READABLE_BY_OTHERS:
        return f'the secret file "{quote(secret.path)}" can be read by every user of this machine'
    return None


def _from_environment(secret: EnvSecret, environment: Mapping[str, str]) -> str:
    value = environment.get(secret.name)
    if not value:
        state = "not set" if value is None else "empty"
        raise CredentialError(
            f"the environment variable {secret.name}, which holds a secret, is {state}", code="ENV_UNSET"
        )
    return value


def _read_file(path: str) -> bytes:
    shown = f'the secret file "{quote(path)}"'
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise CredentialError(f"{shown} does not exist", code="SECRET_FILE_MISSING") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "the path is not valid"
        raise CredentialError(f"{shown} cannot be opened: {reason}", code="SECRET_FILE_UNREADABLE") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CredentialError(f"{shown} is no regular file", code="SECRET_FILE_UNREADABLE")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise CredentialError(f"{shown} cannot be read: {exc.strerror}", code="SECRET_FILE_UNREADABLE") from None
    finally:
        os.close(descriptor)


def _as_text(content: bytes, where: str, code: str) -> str:
    if len(content) > MAX_BYTES:
        raise CredentialError(f"{where} is larger than {MAX_BYTES // 1024} KiB", code=f"{code}_TOO_LARGE")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise CredentialError(f"{where} is no UTF-8 text", code=f"{code}_BINARY") from None
    text = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not text:
        raise CredentialError(f"{where} is empty", code=f"{code}_EMPTY")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise CredentialError(f"{where} has control characters", code=f"{code}_BINARY")
    return text


async def _run(secret: CommandSecret, environment: Mapping[str, str], deadline_s: float) -> bytes:
    """Return what a program prints, at most one byte more than allowed."""
    name = _name(secret)
    try:
        with anyio.fail_after(deadline_s):
            async with await anyio.open_process(
                secret.argv,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # programs that fail like to print the secret there
                cwd=secret.directory,
                env=dict(environment),
                start_new_session=True,
            ) as process:
                try:
                    assert process.stdout is not None
                    content = await _read_bounded(process.stdout)
                    status = await process.wait() if len(content) <= MAX_BYTES else 0
                finally:
                    # What it started in turn may hold its output open, or go on for ever.
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(process.pid, signal.SIGKILL)
    except TimeoutError:
        raise CredentialError(f"{name} did not end within {deadline_s:g} s", code="SECRET_COMMAND_TIMEOUT") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "an argument is not valid"
        raise CredentialError(f"{name} could not be started: {reason}", code="SECRET_COMMAND_FAILED") from None
    if status != 0:
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        raise CredentialError(
            f"{name} ended with {how}", code="SECRET_COMMAND_FAILED", remedy="run it by hand to see what it says"
        )
    return content


async def _read_bounded(stream: ByteReceiveStream) -> bytes:
    content = bytearray()
    async for chunk in stream:
        content += chunk
        if len(content) > MAX_BYTES:
            break
    return bytes(content)


def _name(secret: CommandSecret) -> str:
    """Return how messages call a program: without its arguments, of which one may be a token."""
    return f'the secret command "{quote(secret.argv[0])}"'
