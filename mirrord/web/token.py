"""The bearer token of the API: read from its file, and read again whenever the file is another one."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path

from mirrord.errors import StartupError

SHORTEST = 16
"""So many characters a token has at least."""

_LARGEST_BYTES = 4096
_REMEDY = "write one of at least 16 printable ASCII characters there: openssl rand -hex 32"

Version = tuple[int, int, int]


@dataclass(slots=True)
class BearerToken:
    """What a file says is the token. Methods look at the disk: call them in a thread.

    A file that is taken away or spoilt while the service runs lets nobody in until it is well again.
    """

    path: str
    _version: Version | None = field(default=None, init=False)
    _digest: bytes | None = field(default=None, init=False, repr=False)

    def load(self) -> None:
        """Read the file.

        Raises:
            StartupError: it cannot be read, or holds no token (API_TOKEN_INVALID).
        """
        self._digest = None
        try:
            with Path(self.path).open("rb") as stream:
                status = os.fstat(stream.fileno())
                self._version = (status.st_mtime_ns, status.st_size, status.st_ino)
                content = stream.read(_LARGEST_BYTES + 1)
        except OSError as exc:
            self._version = None
            raise self._invalid(f"cannot be read: {exc.strerror}") from exc
        text = content.strip()
        if len(content) > _LARGEST_BYTES:
            raise self._invalid(f"is larger than {_LARGEST_BYTES} bytes")
        if len(text) < SHORTEST:
            raise self._invalid(f"holds {len(text)} characters, fewer than {SHORTEST}")
        if not all(0x21 <= byte <= 0x7E for byte in text):  # noqa: PLR2004 - the printable characters of ASCII
            raise self._invalid("holds a space or a character that no header can carry")
        self._digest = hashlib.sha256(text).digest()

    def matches(self, given: bytes) -> bool:
        """Return whether this is the token now, in a time that does not depend on what is wrong with it."""
        try:
            if self._is_other():
                self.load()
        except StartupError:
            return False
        known = self._digest
        return known is not None and hmac.compare_digest(known, hashlib.sha256(given).digest())

    def _is_other(self) -> bool:
        try:
            status = Path(self.path).stat()
        except OSError:
            self._digest = self._version = None
            return False
        return self._version != (status.st_mtime_ns, status.st_size, status.st_ino)

    def _invalid(self, what: str) -> StartupError:
        return StartupError(
            f"the file {self.path} (MIRRORD_API_TOKEN_FILE) {what}", code="API_TOKEN_INVALID", remedy=_REMEDY
        )
