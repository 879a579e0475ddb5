"""Every exception of mirrord, in one tree: what it means, and what its reader can do.

The text of an error reads ``CODE: what was wrong, on what; remedy``. Codes are stable and machine readable.
Messages never carry secrets, and text that came from a registry is quoted with its control characters escaped
(`quote`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

QUOTE_LIMIT = 200


def quote(text: str | bytes, limit: int = QUOTE_LIMIT) -> str:
    """Return remote text fit for a message, on one line and harmless to a terminal.

    Control and bidirectional characters are escaped; what would be longer than ``limit`` is cut, and ends in "...".
    """
    if isinstance(text, bytes):
        # A character has at most four bytes; one more than the limit shows that there is more.
        text = text[: (limit + 1) * 4].decode("utf-8", "replace")
    pieces: list[str] = []
    room = limit
    for character in text[: limit + 1]:
        piece = character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        room -= len(piece)
        if room < 0:
            return "".join(pieces) + "..."
        pieces.append(piece)
    return "".join(pieces)


class MirrordError(Exception):
    """The root of all errors that mirrord raises on purpose."""

    default_code: ClassVar[str] = "ERROR"
    default_remedy: ClassVar[str] = ""

    def __init__(self, message: str, *, code: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.remedy = self.default_remedy if remedy is None else remedy

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        return f"{text}; {self.remedy}" if self.remedy else text


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One fault of a configuration file, placed as a compiler would place it.

    Line and column count from 1; 0 means that the fault belongs to the whole file. ``key`` is the path of the
    faulty value, ``rules[0].schedule`` for instance, empty for the whole file.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    code: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(MirrordError):
    """The configuration is not valid; every problem is listed, and nothing was attempted. Exit code 2."""

    default_code = "CONFIG_INVALID"

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __str__(self) -> str:
        return self.message


class UsageError(MirrordError):
    """A command was called in a way that cannot work. Exit code 2."""

    default_code = "USAGE"


class InvalidReferenceError(MirrordError):
    """Text that should name a registry, repository, tag or digest does not follow the grammar. Exit code 2."""

    default_code = "REFERENCE_INVALID"


class InvalidDigestError(MirrordError):
    """Text that should be a digest is none, or its algorithm is not supported."""

    default_code = "DIGEST_INVALID"


class InvalidManifestError(MirrordError):
    """A manifest or index cannot be read without guessing; ``code`` says in which way."""

    default_code = "MANIFEST_INVALID"


class StartupError(MirrordError):
    """mirrord could not start: credentials, trust store, or every registry unusable. Exit code 3."""

    default_code = "STARTUP"


class StateError(StartupError):
    """The state store cannot be opened, read or written. At the start: exit code 3; later the service degrades."""

    default_code = "STATE_UNUSABLE"


class CredentialError(StartupError):
    """A configured source of credentials failed; mirrord never goes on without the credential it was told to use."""

    default_code = "CREDENTIAL_UNUSABLE"


class CredentialUnavailableError(CredentialError):
    """A source of credentials cannot be used here; another one may know the registry. An error only if none does."""

    default_code = "CREDENTIAL_UNAVAILABLE"


class PolicyRefusedError(MirrordError):
    """A policy or guard of the rule forbids what would be needed. Exit code 4."""

    default_code = "POLICY_REFUSED"


class RegistryError(MirrordError):
    """A registry could not be asked, or answered with an error.

    ``host`` is the registry's name, ``method`` and ``path`` the request (the path without its query), ``status``
    the HTTP status or None when there was no answer, ``error_codes`` the codes of the OCI error body,
    ``retry_after_s`` the wait that the registry asked for, in seconds.
    """

    default_code = "REGISTRY_ERROR"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        host: str = "",
        method: str = "",
        path: str = "",
        status: int | None = None,
        error_codes: Sequence[str] = (),
        retry_after_s: float | None = None,
        retryable: bool | None = None,
        code: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.host = host
        self.method = method
        self.path = path
        self.status = status
        self.error_codes = tuple(error_codes)
        self.retry_after_s = retry_after_s
        self.retryable = self.default_retryable if retryable is None else retryable


class UnauthorizedError(RegistryError):
    """The registry or its token service does not accept the credential, or wants one."""

    default_code = "AUTH_REJECTED"
    default_remedy = "check the registry's credential with `mirrord auth check`"


class DeniedError(RegistryError):
    """The credential is known but may not do this."""

    default_code = "DENIED"
    default_remedy = "give the credential this right, or check that the repository exists"


class NotFoundError(RegistryError):
    """The repository, tag, manifest or blob does not exist, or the credential may not see it."""

    default_code = "NOT_FOUND"
    default_remedy = "check the name; private repositories look missing without the right credential"


class RateLimitedError(RegistryError):
    """The registry asks to slow down (429, or a 403 that means the same)."""

    default_code = "RATE_LIMITED"
    default_remedy = "lower requests_per_second or concurrency for this registry, or give it a credential"
    default_retryable = True


class QuotaExhaustedError(RateLimitedError):
    """The registry's quota of pulls is used up, or what is left of it is reserved. Everything but pulls still works."""

    default_code = "QUOTA_EXHAUSTED"
    default_remedy = "wait for the window of the quota to pass, or log in for a larger one"
    default_retryable = False


class UnavailableError(RegistryError):
    """No answer, a broken connection, or a server error: the same request may work later."""

    default_code = "UNAVAILABLE"
    default_retryable = True


class UnsupportedError(RegistryError):
    """The registry cannot do this at all."""

    default_code = "UNSUPPORTED"


class ProtocolViolationError(RegistryError):
    """The answer breaks the distribution specification in a way that cannot be survived."""

    default_code = "PROTOCOL_ERROR"


class ContentMismatchError(RegistryError):
    """Bytes do not have the digest or size that they were asked for by. They were not used."""

    default_code = "DIGEST_MISMATCH"
    default_remedy = "the content at the source is damaged or was changed on the way; nothing was written"


class AddressRefusedError(RegistryError):
    """A URL or address that a registry named is not one that mirrord may follow."""

    default_code = "ADDRESS_REFUSED"


class ListingIncompleteError(RegistryError):
    """A listing of tags or repositories did not come to a proven end; it is never used as if it had."""

    default_code = "LISTING_INCOMPLETE"


class TransferError(MirrordError):
    """Copying failed; ``side`` says at which end, ``operation`` at which step. The cause is chained."""

    default_code = "TRANSFER_FAILED"

    def __init__(
        self,
        message: str,
        *,
        side: str = "",
        operation: str = "",
        code: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.side = side
        self.operation = operation


class LeaderFailedError(TransferError):
    """The same work, asked for by another image of this run, failed; the cause is that failure."""

    default_code = "SHARED_WORK_FAILED"

    @classmethod
    def of(cls, failure: Exception) -> LeaderFailedError:
        """Return the error of those who waited for work that failed: with its code and remedy, told once."""
        if isinstance(failure, LeaderFailedError):
            return cls(failure.message, code=failure.code, remedy=failure.remedy)
        if isinstance(failure, MirrordError):
            message = f"{failure.message} (met by another image of this run)"
            return cls(message, code=failure.code, remedy=failure.remedy)
        return cls(f"the same work failed for another image of this run: {failure}")


class LayoutError(MirrordError):
    """An OCI image layout directory cannot be read or written."""

    default_code = "LAYOUT_INVALID"


class MissingContentError(RegistryError):
    """A registry refuses a manifest because it lacks a blob or child that the manifest names."""

    default_code = "MANIFEST_BLOB_UNKNOWN"
