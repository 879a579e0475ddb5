"""zot follows the specification, referrers API included; what it refuses to delete is told in its own words.

Its listing with digests is an optional extension (search, by GraphQL) whose query is not confirmed, so tags are looked
at one by one. Source: zot, pkg/api/routes.go.
"""

from __future__ import annotations

from mirrord.errors import RegistryError, UnsupportedError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Tag
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.service import Api, RegistryService


class ZotProvider(Provider):
    """zot. Whether it mounts and lists referrers is found out by asking, since both depend on its version."""

    name = "zot"

    def matches(self, host: str) -> bool:  # noqa: ARG002 - never told by its host
        """Match no host: a zot has a name of its own, and is named in the configuration."""
        return False

    def service(self, api: Api) -> RegistryService:
        """Return what deletes at a zot."""
        return ZotService(api)


class ZotService(RegistryService):
    """One zot."""

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete a tag, or a manifest; one that an index names, or that several tags name, may be refused."""
        try:
            await super().delete(path, ref)
        except RegistryError as exc:
            if exc.status not in (405, 409):
                raise
            reason = "an index still names it" if exc.status == 405 else "several tags name the same manifest"  # noqa: PLR2004
            raise UnsupportedError(
                f"{exc.message}; with zot that means that {reason}",
                host=exc.host,
                status=exc.status,
                error_codes=exc.error_codes,
                remedy="delete the index first" if exc.status == 405 else "delete its tags one by one",  # noqa: PLR2004
            ) from exc
