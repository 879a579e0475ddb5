"""Asking a registry what a credential may do there."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from mirrord.oci.reference import Repository


class Presence(StrEnum):
    """Whether a repository is there. LATER: no, and a push makes it, in a way that cannot be tried beforehand."""

    YES = "yes"
    NO = "no"
    LATER = "later"


class AccessProbe(Protocol):
    """Finds out what a credential is good for, with requests that change nothing."""

    async def greet(self, host: str) -> str:
        """Log in, and return what the registry asks for: "none", "basic" or "bearer".

        Raises:
            UnauthorizedError: it does not accept the credential, or wants one where there is none.
            RegistryError: it cannot be reached.
        """
        ...

    async def granted(self, repository: Repository) -> frozenset[str] | None:
        """Return the actions, "pull" and "push" for instance, that a token for reading and writing allows.

        None where nothing tells: the registry uses no tokens, or its tokens cannot be read.
        """
        ...

    async def try_pull(self, repository: Repository) -> Presence:
        """Read from a repository, and return whether it is there, and shown.

        Of one that is LATER neither `granted` nor `try_push` may be asked: either could make it, or is refused.

        Raises:
            RegistryError: the registry refuses.
        """
        ...

    async def try_push(self, repository: Repository) -> None:
        """Begin an upload and cancel it at once. Some registries create the repository by that.

        Raises:
            RegistryError: the registry refuses.
        """
        ...
