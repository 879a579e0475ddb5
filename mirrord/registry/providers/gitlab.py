"""The container registry of GitLab."""

from __future__ import annotations

from mirrord.registry.providers.base import Provider


class GitlabProvider(Provider):
    """GitLab's container registry."""

    name = "gitlab"

    def matches(self, host: str) -> bool:
        """Match registry.gitlab.com; one of your own is named in the configuration."""
        return host == "registry.gitlab.com"
