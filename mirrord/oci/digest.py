"""Digests: ``algorithm:hex``, checked once and then trusted.

Source: image-spec v1.1.1 descriptor.md, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mirrord.errors import InvalidDigestError, quote

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = {name: re.compile(rf"[0-9a-f]{{{length}}}") for name, length in _HEX_LENGTH.items()}
_ALGORITHM = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*")
_LONGEST = max(_HEX_LENGTH.values()) + len("sha512:")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of content by its hash. ``algorithm`` is sha256 or sha512, ``hex`` has lower-case hex digits."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that ``text`` writes.

        Raises:
            InvalidDigestError: ``text`` is no digest (DIGEST_INVALID), or its algorithm is one that mirrord does
                not verify (DIGEST_ALGORITHM_UNSUPPORTED).
        """
        algorithm, colon, hex_digits = text.partition(":")
        if not colon or not _ALGORITHM.fullmatch(algorithm) or not text.isascii():
            raise InvalidDigestError(f'"{quote(text)}" is no digest; expected sha256: and 64 hex digits')
        pattern = _HEX.get(algorithm)
        if pattern is None:
            raise InvalidDigestError(
                f'"{quote(text)}": mirrord verifies sha256 and sha512 only',
                code="DIGEST_ALGORITHM_UNSUPPORTED",
            )
        if len(text) > _LONGEST or not pattern.fullmatch(hex_digits):
            raise InvalidDigestError(
                f'"{quote(text)}" is no digest; expected {algorithm}: and {_HEX_LENGTH[algorithm]} lower-case '
                "hex digits"
            )
        return cls(algorithm, hex_digits)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of ``content``."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def verifier(self) -> Verifier:
        """Return an object that hashes a stream of pieces and says whether they have this digest."""
        return Verifier(self)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self.hex[:12]


class Verifier:
    """Hashes content piece by piece against the digest that it should have."""

    __slots__ = ("_hash", "expected")

    def __init__(self, expected: Digest) -> None:
        self.expected = expected
        self._hash = hashlib.new(expected.algorithm)

    def update(self, piece: bytes) -> None:
        """Hash the next piece. Releases the interpreter lock for pieces over 2 KiB."""
        self._hash.update(piece)

    def actual(self) -> Digest:
        """Return the digest of everything hashed so far."""
        return Digest(self.expected.algorithm, self._hash.hexdigest())

    def matches(self) -> bool:
        """Say whether everything hashed so far has the expected digest."""
        return self._hash.hexdigest() == self.expected.hex
