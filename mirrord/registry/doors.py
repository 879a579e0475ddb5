"""The ways out of one registry's client: which URL may be asked, over which connections.

The registry itself is reached over its own transport (its CA, client certificate and proxy). Everything it sends us
to on another origin goes over a second one: certificates always verified, no client certificate, and for public
registries a guard that refuses inside addresses at the moment of dialling.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable
from typing import Protocol

import anyio

from mirrord.registry.guard import host_literal, is_inside
from mirrord.registry.origin import Door, Origin, RegistryTrust, Ruling, Verdict, judge
from mirrord.registry.transport import Transport


class Resolver(Protocol):
    """Looks a host name up."""

    async def __call__(self, host: str) -> list[str]:
        """Return the addresses of ``host``; empty if there are none."""
        ...


async def system_resolver(host: str) -> list[str]:
    """Look ``host`` up as the system does."""
    try:
        return [str(address[4][0]) for address in await anyio.getaddrinfo(host, None)]
    except OSError:
        return []


class Doors:
    """Judges URLs for one registry and hands out the transport for each."""

    def __init__(
        self,
        *,
        base: str,
        trust: RegistryTrust,
        own: Transport,
        foreign: Callable[[bool], Transport],
        resolver: Resolver = system_resolver,
    ) -> None:
        """Make the doors of a registry.

        Args:
            base: scheme and authority of the registry, ``https://registry.internal:5000``.
            trust: what the configuration says about it.
            own: reaches the registry.
            foreign: makes the transport to other origins; called with True for one that refuses inside addresses.
            resolver: tells whether the registry's own name leads inside.
        """
        self.base = base
        self._trust = trust
        self._own = own
        self._foreign = foreign
        self._resolver = resolver
        self._privacy_known = trust.private
        self._foreigners: dict[bool, Transport] = {}

    async def judge(self, url: str, door: Door) -> Ruling:
        """Rule on a URL that came in by ``door``; the registry's name is looked up once, when that first matters."""
        if url.startswith(f"{self.base}/") and door is not Door.DESCRIPTOR_URL:
            return judge(url, door=Door.OWN, registry=self._trust)
        if not self._privacy_known:
            self._trust = dataclasses.replace(self._trust, private=await self._is_inside())
            self._privacy_known = True
        return judge(url, door=door, registry=self._trust)

    def own(self, target: str) -> Ruling:
        """Return the ruling on a path that mirrord made itself: it is the registry's."""
        return Ruling(verdict=Verdict.FOLLOW_WITH_CREDENTIAL, url=f"{self.base}{target}")

    def is_own(self, ruling: Ruling) -> bool:
        """Say whether a ruling's URL is the registry's own."""
        return self.is_at_home(ruling.url)

    def is_at_home(self, url: str) -> bool:
        """Say whether a URL that was asked is the registry's own."""
        return url.startswith(f"{self.base}/") or Origin.parse(url) == self._trust.origin

    def transport(self, ruling: Ruling) -> Transport:
        """Return the transport that reaches the URL of a ruling."""
        if self.is_own(ruling):
            return self._own
        if ruling.guarded not in self._foreigners:
            self._foreigners[ruling.guarded] = self._foreign(ruling.guarded)
        return self._foreigners[ruling.guarded]

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in (self._own, *self._foreigners.values()):
            await transport.aclose()

    async def _is_inside(self) -> bool:
        host = self._trust.origin.host
        literal = host_literal(host)
        if literal is not None:
            return is_inside(literal)
        # All of them: one private address slipped into a public name's answers must not open the way inside.
        addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in await self._resolver(host)]
        return bool(addresses) and all(is_inside(address) for address in addresses)
