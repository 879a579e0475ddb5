"""Google Artifact Registry, which answers for Container Registry too."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class GoogleProvider(Provider):
    """Google's registries."""

    name = "google"

    def matches(self, host: str) -> bool:
        """Match gcr.io, its regions, and the Docker hosts of Artifact Registry."""
        return host == "gcr.io" or host.endswith((".gcr.io", "-docker.pkg.dev"))
