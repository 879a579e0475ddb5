"""GitHub Container Registry."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class GhcrProvider(Provider):
    """GitHub Container Registry."""

    name = "ghcr"

    def matches(self, host: str) -> bool:
        """Match ghcr.io."""
        return host == "ghcr.io"
