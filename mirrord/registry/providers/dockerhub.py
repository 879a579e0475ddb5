"""Docker Hub: its name, the host behind it, and the host of its tokens.

Source: Docker's manuals, docker-hub/usage/pulls.md; the token protocol of the distribution project, token.md.
"""

from __future__ import annotations

from mirrord.oci.reference import DOCKER_HUB
from mirrord.planning.listing import ListingTraits
from mirrord.registry.providers.base import Abilities, Provider


class DockerHubProvider(Provider):
    """Docker Hub. Requests go to registry-1.docker.io, tokens come from auth.docker.io."""

    name = "dockerhub"
    abilities = Abilities(referrers_api=None, repositories=False)
    listing = ListingTraits(page_size=100)

    def matches(self, host: str) -> bool:
        """Match ``docker.io``, to which references normalise all aliases."""
        return host == DOCKER_HUB

    def endpoint(self, host: str) -> str:  # noqa: ARG002 - one endpoint for all names
        """Return the host that answers for ``docker.io``."""
        return "registry-1.docker.io"

    def auth_hosts(self, host: str) -> tuple[str, ...]:  # noqa: ARG002 - one token service
        """Return Docker Hub's token service."""
        return ("auth.docker.io",)

    def explain_catalog(self, host: str) -> str:  # noqa: ARG002 - one registry
        """Say that Docker Hub has no catalog."""
        return "Docker Hub has no catalog; name the repositories in the rules"
