"""Docker's credential helpers: programs that hand out secrets, run without a shell, on a short leash.

Protocol: docker/docker-credential-helpers, README "Development": ``docker-credential-NAME get`` reads the server's
address on stdin and writes a JSON object; a failure is told by the exit code and a text.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream

from mirrord.errors import CredentialError, quote

DEADLINE_S: Final = 10.0
OUTPUT_CAP: Final = 64 * 1024

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_UNUSABLE: Final = re.compile(r"[\s\x00-\x1f\x7f]")
_NOT_FOUND: Final = b"credentials not found"
_IDENTITY_TOKEN_USER: Final = "<token>"  # noqa: S105 - the protocol's mark, no secret
_LAST_RITES_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperAnswer:
    """What a helper knows of a server: a user with a secret, or an identity token."""

    username: str = ""
    secret: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


async def ask_helper(
    name: str, server: str, *, environment: Mapping[str, str], deadline_s: float = DEADLINE_S
) -> HelperAnswer | None:
    """Run ``docker-credential-NAME get`` for ``server``; None if the helper says that it has nothing for it.

    Args:
        name: as configured, without its prefix.
        server: the registry's address, in the form under which docker stores it.
        environment: all environment variables of the helper; its PATH is where the helper is looked for.
        deadline_s: seconds until it is killed.

    Raises:
        CredentialError: the name is no name of a helper (HELPER_NAME_INVALID), there is no such program
            (HELPER_MISSING), or it failed (HELPER_FAILED). What it printed is never shown: it may be the secret.
    """
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise CredentialError(
            f'"{quote(name, 60)}" is no name of a credential helper: lower-case letters, digits, "_" and "-"',
            code="HELPER_NAME_INVALID",
            remedy="write the part after docker-credential- into credHelpers or credsStore, without any path",
        )
    if not server or _UNUSABLE.search(server):
        raise _failed(program, f'cannot be asked for "{quote(server, 60)}", which is no address of a registry')
    path = _find(program, environment)
    try:
        code, output, errors = await _run([path, "get"], server.encode(), environment, deadline_s)
    except TimeoutError:
        raise _failed(program, f"did not answer for {server} within {deadline_s:g} s") from None
    except _OverflowError:
        raise _failed(program, f"printed more than {OUTPUT_CAP // 1024} KiB for {server}") from None
    except OSError as exc:
        raise _failed(program, f"could not be started: {exc.strerror}") from exc
    if code != 0:
        if _NOT_FOUND in output.lower() or _NOT_FOUND in errors.lower():
            return None
        raise _failed(program, f"ended with exit code {code} for {server}")
    return _read(program, server, output)


def _find(program: str, environment: Mapping[str, str]) -> str:
    # Relative parts of PATH are left out: what the working directory holds is not what the user configured.
    folders = [part for part in environment.get("PATH", os.defpath).split(os.pathsep) if Path(part).is_absolute()]
    path = shutil.which(program, path=os.pathsep.join(folders)) if folders else None
    if path is None:
        raise CredentialError(
            f"the credential helper {program} is configured, but not found on PATH",
            code="HELPER_MISSING",
            remedy="install it, or remove it from credHelpers or credsStore of the docker configuration",
        )
    return path


async def _run(
    argv: list[str], stdin: bytes, environment: Mapping[str, str], deadline_s: float
) -> tuple[int, bytes, bytes]:
    output, errors = bytearray(), bytearray()
    # A session of its own: what the helper starts can be ended together with it. Shielded, because a start that is
    # cancelled half way leaves a process that nobody knows.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(argv, env=environment, start_new_session=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with anyio.fail_after(deadline_s):
            async with anyio.create_task_group() as readers:
                readers.start_soon(_collect, process.stdout, output, readers.cancel_scope)
                readers.start_soon(_collect, process.stderr, errors, readers.cancel_scope)
                with suppress(anyio.BrokenResourceError, ConnectionError):  # it need not read what it does not need
                    await process.stdin.send(stdin)
                    await process.stdin.aclose()
            if max(len(output), len(errors)) > OUTPUT_CAP:
                raise _OverflowError
            code = await process.wait()
    except BaseException:  # a cancellation too
        # The helper may be gone while something that it started still holds its output open.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        with anyio.move_on_after(_LAST_RITES_S, shield=True):
            await process.aclose()
    return code, bytes(output), bytes(errors)


async def _collect(stream: ByteReceiveStream, into: bytearray, all_readers: anyio.CancelScope) -> None:
    async for piece in stream:
        into += piece
        if len(into) > OUTPUT_CAP:
            all_readers.cancel()


def _read(program: str, server: str, output: bytes) -> HelperAnswer:
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        answer = None  # the text of the error would quote what was printed
    if not isinstance(answer, dict):
        raise _failed(program, f"printed no JSON object for {server}")
    username, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str) or not secret:
        raise _failed(program, f"printed an answer without Username and Secret for {server}")
    if username == _IDENTITY_TOKEN_USER:
        return HelperAnswer(identity_token=secret)
    return HelperAnswer(username=username, secret=secret)


def _failed(program: str, how: str) -> CredentialError:
    return CredentialError(
        f"the credential helper {program} {how}",
        code="HELPER_FAILED",
        remedy=f'run "{program} get" by hand with the registry on its stdin to see what it says',
    )


class _OverflowError(Exception):
    """The helper printed more than anyone needs."""
