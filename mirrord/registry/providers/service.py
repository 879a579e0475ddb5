"""What a registry does by its own means: list, create, delete. Every member follows the specification by default.

A provider that needs more overrides members here, in its own file beside its data. One object serves one registry for
the life of its client, so that what it learned (tokens of an API, repositories that exist) may be kept on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mirrord.errors import RegistryError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Repository, Tag
from mirrord.planning.listing import ListingTraits, TagPage
from mirrord.ports.clock import Clock
from mirrord.ports.credentials import Credential, CredentialProvider
from mirrord.ports.events import EventSink
from mirrord.ports.settings import RegistrySettings
from mirrord.registry.http import RegistryHttp
from mirrord.registry.manifests import delete_manifest
from mirrord.registry.tags import list_repositories, list_tags

Authorization = Callable[[], Awaitable[str | None]]
"""Returns the value of an API's Authorization header, or None to send none. Asked before each request."""


class ApiOpener(Protocol):
    """Opens clients of APIs beside the distribution API."""

    def __call__(
        self,
        base: str,
        authorization: Authorization,
        *,
        direct: bool = False,
        wants: str = "",
        drop: Callable[[str], None] | None = None,
    ) -> RegistryHttp:
        """Return a client of the API at ``base``, ``https://hub.docker.com`` for instance, made on first use.

        It has limits, retries and a breaker of its own, follows nothing to another origin, and carries what
        ``authorization`` returns: never the registry's tokens. A ``direct`` one goes past the registry's proxy:
        for what the machine itself, or the cloud below it, answers.

        ``wants`` is the remedy of refusals: which credential with which right would do. ``drop`` is told a value that
        was refused; where it makes ``authorization`` return another one, that is tried at once. By default the
        registry's credential is asked for anew.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What a provider works with.

    Attributes:
        host: the registry's name, ``docker.io``.
        http: the client of its distribution API.
        settings: what the user set for it.
        listing: what the provider says of its tag lists.
        credential: returns the registry's credential, None where it is used anonymously.
        open: opens a client of an API beside the distribution API.
        clock: time.
        events: who listens.
        environment: the process's environment.
    """

    host: str
    http: RegistryHttp
    settings: RegistrySettings
    listing: ListingTraits
    credential: Callable[[], Awaitable[Credential | None]]
    open: ApiOpener
    clock: Clock
    events: EventSink
    environment: Mapping[str, str] = field(default_factory=dict)


class RegistryService:
    """One registry's own means; the defaults are those of the distribution specification."""

    def __init__(self, api: Api) -> None:
        """Ask nothing yet."""
        self.api = api

    def credentials(self) -> CredentialProvider | None:
        """Return the registry's native source of credentials, where that asks over HTTP; None where there is none.

        It stands where that of `Provider.credentials` would, and fails as that does.
        """
        return None

    def list_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield the tags of a repository by the distribution API: complete, or an error."""
        return list_tags(self.api.http, path, self.api.listing.page_size)

    def bulk_tags(self, path: str) -> AsyncIterator[TagPage]:
        """Yield tags with their digests, by an API that tells many at once. Asked where ``listing.has_digests``.

        The digests are hints and tags may lack: what comes of it is used as such, and any error makes the caller
        list the tags plainly.
        """
        return self.list_tags(path)

    async def repositories(self, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories whose path begins with ``prefix``, each once.

        Raises:
            UnsupportedError: the registry does not list repositories; the remedy says what to do instead.
        """
        async for repository in list_repositories(self.api.http, prefix, self.api.listing.page_size):
            yield repository

    async def ensure_repository(self, path: str) -> None:
        """Make a repository where the registry wants that before the first push; nothing elsewhere.

        Called before every image that is pushed: what is known to exist is remembered here.

        Raises:
            RegistryError: it does not exist and could not be made.
        """

    async def look_into(self, path: str, refusal: RegistryError) -> None:  # noqa: ARG002 - overridden
        """Say what it means that a look-up was refused; some registries refuse what does not exist yet.

        Returns where it means no more than that the repository does not exist, and `ensure_repository` will make it.

        Raises:
            RegistryError: ``refusal``, or an error that says more.
        """
        raise refusal

    async def delete(self, path: str, ref: Tag | Digest) -> None:
        """Delete a tag, or a manifest with all its tags; what is not there counts as deleted.

        Raises:
            UnsupportedError: the registry does not delete, or not like this; the message says why.
        """
        await delete_manifest(self.api.http, path, ref)
