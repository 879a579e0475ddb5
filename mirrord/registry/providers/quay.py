"""Quay, quay.io and self-hosted."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class QuayProvider(Provider):
    """Quay."""

    name = "quay"

    def matches(self, host: str) -> bool:
        """Match quay.io; one of your own is named in the configuration."""
        return host == "quay.io"
