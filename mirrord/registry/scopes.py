"""What access a request needs, in the words of the token protocol.

Source: distribution, docs/content/spec/auth/scope.md.
"""

from __future__ import annotations

Scopes = tuple[str, ...]

NO_SCOPE: Scopes = ()
CATALOG: Scopes = ("registry:catalog:*",)


def pull(path: str) -> Scopes:
    """Return the scope that reads the repository ``path``."""
    return (f"repository:{path}:pull",)


def push(path: str) -> Scopes:
    """Return the scope that reads and writes the repository ``path``."""
    return (f"repository:{path}:pull,push",)


def delete(path: str) -> Scopes:
    """Return the scope that deletes from the repository ``path``."""
    return (f"repository:{path}:delete,pull",)


def mount(path: str, origin: str) -> Scopes:
    """Return the scopes that mount a blob of ``origin`` into ``path``."""
    return (f"repository:{path}:pull,push", f"repository:{origin}:pull")
