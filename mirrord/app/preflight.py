"""What is checked before a run begins: that each registry's settings can be used at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mirrord.planning.places import hosts_of
from mirrord.planning.rule import Rule
from mirrord.ports.settings import RegistrySettings, SecretReader

if TYPE_CHECKING:
    from mirrord.app.parts import App


async def check_registries(app: App, rules: Sequence[Rule], read_secret: SecretReader) -> None:
    """See that the registries of ``rules`` could be asked; no request is made.

    Raises:
        UsageError: the provider or the proxy of a registry is not usable.
        StartupError: a secret cannot be read, or a certificate cannot be used.
    """
    for host in hosts_of(rules):
        app.registries.handle(host)
        await _check(app.registries.settings(host), read_secret)


async def _check(settings: RegistrySettings, read_secret: SecretReader) -> None:
    if settings.password is not None:
        await read_secret(settings.password)
    if not settings.plain_http:
        import anyio.to_thread

        from mirrord.registry.tls import shared_ssl_context

        await anyio.to_thread.run_sync(shared_ssl_context(settings.tls))  # kept, for the requests to come
