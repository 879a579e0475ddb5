"""Who mirrord is at a registry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user and its secret, or an identity token. Its repr hides both secrets.

    ``origin`` says where it was found, for `mirrord auth check`: "registries entry" or a file's path.
    """

    username: str = ""
    secret: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    expires_at: datetime | None = None
    origin: str = ""

    @property
    def key(self) -> str:
        """A digest that tells credentials apart in caches without holding them."""
        text = f"{self.username}\x00{self.secret}\x00{self.identity_token}"
        return hashlib.sha256(text.encode()).hexdigest()


class CredentialProvider(Protocol):
    """One source of credentials."""

    async def credential(self, host: str) -> Credential | None:
        """Return the credential for a registry, or None if this source has none for it.

        Raises:
            CredentialError: the source is configured for the registry, but failed; nobody goes on anonymously.
        """
        ...

    def missing(self, host: str) -> str:  # noqa: ARG002 - most sources have no more to say
        """Return what would give this source a credential for a registry, for who was refused without one; or ""."""
        return ""

    def forget(self, host: str) -> None:  # noqa: ARG002 - a source that keeps nothing needs no more than this
        """Ask for a fresh credential next time: the registry did not accept the one that was given."""
        return
