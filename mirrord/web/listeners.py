"""Sockets that listen, on one address or on all of the machine."""

from __future__ import annotations

import errno
import socket
import sys

import anyio

from mirrord.errors import StartupError

_BACKLOG = 512
_DEAD_MS = 60_000
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on


async def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen: one for each address of a name, or one for all addresses if ``host`` is empty.

    Raises:
        StartupError: the address is taken, is none of this machine, or may not be used (LISTEN_FAILED).
    """
    found: list[socket.socket] = []
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        for family, address in await _addresses(host, port):
            wanted = found[0].getsockname()[1] if found else port
            try:
                found.append(_listen(family, address, wanted, is_dual=not host))
            except OSError as exc:
                # One usable address of a name is enough, but where another program has one of them, clients of the
                # name would come to that program, and bring it their token.
                if not found or exc.errno == errno.EADDRINUSE:
                    raise
    except OSError as exc:
        for listener in found:
            listener.close()
        raise StartupError(
            f"{shown} cannot be listened on: {exc.strerror or exc}",
            code="LISTEN_FAILED",
            remedy="end what uses the address, or set MIRRORD_LISTEN to another one, 127.0.0.1:8081 for instance",
        ) from exc
    return found


def address_of(listener: socket.socket) -> str:
    """Return the address of the page on this machine: ``http://127.0.0.1:8080/``."""
    host, port = listener.getsockname()[:2]
    if host in _WILDCARDS:
        host = "::1" if _is_ipv6_alone(listener) else "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _is_ipv6_alone(listener: socket.socket) -> bool:
    return listener.family == socket.AF_INET6 and bool(listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


async def _addresses(host: str, port: int) -> list[tuple[int, str]]:
    if not host:
        return [(socket.AF_INET6, "::")] if socket.has_dualstack_ipv6() else [(socket.AF_INET, "0.0.0.0")]  # noqa: S104
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(family, str(address[0])) for family, _, _, _, address in found]


def _listen(family: int, address: str, port: int, *, is_dual: bool) -> socket.socket:
    """Return a listening socket.

    It names its protocol, and so do the connections that it accepts: asyncio sets TCP_NODELAY on such sockets alone,
    and without it each answer waits 40 ms for a delayed acknowledgement. Peers that take nothing, or are gone, are
    found out by the kernel.
    """
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_MS)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_dual else 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.settimeout(0)
    except BaseException:
        listener.close()
        raise
    return listener
