"""Azure Container Registry."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class AcrProvider(Provider):
    """Azure Container Registry."""

    name = "acr"

    def matches(self, host: str) -> bool:
        """Match the hosts of the public cloud, of China and of the US government."""
        return host.endswith((".azurecr.io", ".azurecr.cn", ".azurecr.us"))
