"""Azure Container Registry.

Sources: Azure/acr, docs/AAD-OAuth.md (tokens, actions, Link); Azure REST API, Container Registry, Tag - Get List;
harbor, src/pkg/reg/adapter/azurecr.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from mirrord.planning.listing import ListingTraits, TagEntry, TagPage
from mirrord.ports.credentials import CredentialProvider
from mirrord.registry import scopes
from mirrord.registry.call import Answer
from mirrord.registry.links import next_link
from mirrord.registry.providers.acr_credentials import AcrCredentials
from mirrord.registry.providers.base import Provider
from mirrord.registry.providers.pages import entries_of, json_pages
from mirrord.registry.providers.rows import read_digest, read_tag
from mirrord.registry.providers.service import Api, RegistryService
from mirrord.registry.scopes import Scopes

PAGE_SIZE: Final = 100
MOST_PAGES: Final = 1000

_SUFFIXES: Final = (".azurecr.io", ".azurecr.cn", ".azurecr.us")
_READS: Final = re.compile(r"repository:.+:pull")


class AcrProvider(Provider):
    """Azure Container Registry, in the public cloud, in China and for the US government."""

    name = "acr"
    listing = ListingTraits(page_size=PAGE_SIZE, has_digests=True)

    def matches(self, host: str) -> bool:
        """Match the hosts of the public cloud, of China and of the US government."""
        return host.endswith(_SUFFIXES)

    def token_scopes(self, scopes: Scopes) -> Scopes:
        """Ask for the right to list where the right to read is asked for: here it is one of its own."""
        return tuple(f"{scope},metadata_read" if _READS.fullmatch(scope) else scope for scope in scopes)

    def service(self, api: Api) -> RegistryService:
        """Return what lists tags by the registry's own API."""
        return AcrService(api)


class AcrService(RegistryService):
    """One registry of Azure."""

    def credentials(self) -> CredentialProvider:
        """Return the identity of the environment."""
        return AcrCredentials(self.api)

    async def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield tags with digests, by ``_tags``.

        When an image was made is not told there, but when its tag was put, which is something else.
        """
        what = f"list the tags of {self.api.host}/{path} with their digests"
        first = f"/acr/v1/{path}/_tags?n={self.api.listing.page_size}"

        def following(answer: Answer, _: object) -> str | None:
            return next_link(answer.headers.get_list("link"), answer.url)

        seen: set[str] = set()
        pages = json_pages(self.api.http, first, what, following, most=MOST_PAGES, access=scopes.pull(path))
        async for page in pages:
            entries, skipped = [], 0
            for fields in entries_of(page, "tags", what):
                tag = read_tag(fields.get("name"))
                if tag is None:
                    skipped += 1
                elif tag.name not in seen:
                    seen.add(tag.name)
                    entries.append(TagEntry(tag=tag, digest=read_digest(fields.get("digest"))))
            yield TagPage(entries=tuple(entries), skipped=skipped)
