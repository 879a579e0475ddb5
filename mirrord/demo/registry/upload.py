"""An upload session: the bytes received so far, and the opaque state that its Location carries."""

from __future__ import annotations

import base64
import hashlib

from mirrord.oci.digest import Digest


class Upload:
    """Content on its way into a repository. ``offset`` is the number of bytes stored."""

    __slots__ = ("_hash", "_pieces", "id", "offset", "repository")

    def __init__(self, repository: str, number: int) -> None:
        self.repository = repository
        self.id = hashlib.sha256(f"{repository} {number}".encode()).hexdigest()[:32]
        self.offset = 0
        self._pieces: list[bytes] = []
        self._hash = hashlib.sha256()

    def append(self, piece: bytes) -> None:
        """Store the next piece and hash it as it comes."""
        self._pieces.append(piece)
        self._hash.update(piece)
        self.offset += len(piece)

    def content(self) -> bytes:
        """Return everything received."""
        return b"".join(self._pieces)

    def has_digest(self, digest: Digest) -> bool:
        """Say whether what was received has ``digest``."""
        if digest.algorithm == "sha256":
            return self._hash.hexdigest() == digest.hex
        return Digest.of(self.content(), digest.algorithm) == digest

    @property
    def state(self) -> str:
        """The state at this offset. It is base64 with padding, so a client that re-encodes the query breaks it."""
        return self.state_at(self.offset)

    def state_at(self, offset: int) -> str:
        """Return the state that was given out when ``offset`` bytes were stored."""
        seal = hashlib.sha256(f"{self.id} {offset}".encode()).digest()
        return base64.urlsafe_b64encode(offset.to_bytes(8) + seal).decode("ascii")

    def issued(self, state: str) -> bool:
        """Say whether ``state`` was given out for this session, now or earlier."""
        try:
            offset = int.from_bytes(base64.urlsafe_b64decode(state.encode("ascii"))[:8])
        except ValueError:
            return False
        return offset <= self.offset and state == self.state_at(offset)
