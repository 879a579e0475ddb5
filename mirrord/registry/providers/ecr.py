"""Amazon Elastic Container Registry, private and public."""

from __future__ import annotations

import re

from mirrord.registry.providers.base import Provider

PUBLIC = "public.ecr.aws"
_PRIVATE = re.compile(r"\d{12}\.dkr[.-]ecr(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|on\.aws)")


class EcrProvider(Provider):
    """Amazon ECR: one registry for each account and region, and the public one."""

    name = "ecr"

    def matches(self, host: str) -> bool:
        """Match the hosts of private registries in every partition, and public.ecr.aws."""
        return host == PUBLIC or _PRIVATE.fullmatch(host) is not None
