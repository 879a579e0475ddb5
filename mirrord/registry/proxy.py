"""Which proxy a request goes through: none, one that is set for the registry, or the environment's."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from mirrord.errors import UsageError
from mirrord.ports.settings import ENVIRONMENT_PROXY
from mirrord.registry.origin import DEFAULT_PORTS

ProxyChoice = Callable[[str], str | None]


def choose_proxy(setting: str | None, environment: Mapping[str, str]) -> ProxyChoice:
    """Return a function from a request's URL to the proxy's URL, or None for a direct connection.

    Args:
        setting: the registry's ``proxy``: None, a URL, or "environment" for HTTPS_PROXY, HTTP_PROXY and NO_PROXY
            (host suffixes, addresses, networks in CIDR form, ``*``), in either case.
        environment: the process's environment.

    Raises:
        UsageError: the proxy is no http or https URL (PROXY_INVALID); its text is not shown, it may hold a password.
    """
    if setting is None:
        return lambda _url: None
    if setting != ENVIRONMENT_PROXY:
        checked = _check(setting, "the registry's proxy")
        return lambda _url: checked
    proxies = {scheme: _variable(environment, f"{scheme}_proxy") for scheme in ("http", "https")}
    for scheme, proxy in proxies.items():
        if proxy:
            _check(proxy, f"{scheme.upper()}_PROXY")
    exceptions = [entry.strip() for entry in _variable(environment, "no_proxy").split(",") if entry.strip()]

    def choose(url: str) -> str | None:
        parts = urlsplit(url)
        proxy = proxies.get(parts.scheme)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        return proxy if proxy and not _is_excepted(parts.hostname or "", port, exceptions) else None

    return choose


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper()) or ""


def _check(proxy: str, what: str) -> str:
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"{what} is no proxy URL", code="PROXY_INVALID", remedy="write http://[user:password@]host:port"
        )
    return proxy


def _is_excepted(host: str, port: int, exceptions: list[str]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    return any(_matches(host, port, address, entry) for entry in exceptions)


def _matches(host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, entry: str) -> bool:
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, colon, entry_port = entry.rpartition(":")
    if colon and entry_port.isdecimal() and name.count(":") == 0:
        if entry_port != str(port):
            return False
        entry = name
    suffix = entry.lower().lstrip("*").lstrip(".")
    return host == suffix or host.endswith(f".{suffix}")
