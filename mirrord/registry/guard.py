"""The connect-time guard: which addresses lie inside, and the socket factory that refuses to dial them.

A name is checked by nobody but the dialler: only the address that is really connected to cannot change between the
check and the use (DNS rebinding). The tables follow IANA's special-purpose address registries, written out because
Python's own answer differs between patch releases.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, SocketAddress]
"""What `socket.getaddrinfo` says of one address: family, type, protocol, canonical name, socket address."""

_INSIDE_V4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this host": dialled, it reaches the local machine
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and the inside of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # the platform service of Azure, a public address that only virtual machines reach
        "169.254.0.0/16",  # link-local, the metadata services of clouds among them
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = ipaddress.IPv6Network("2000::/3")  # everything else is local, reserved or a translation
_INSIDE_V6: Final = tuple(
    ipaddress.IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
)
_NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "224.0.0.0/3",
        "::/128",
        "fe80::/10",
        "fd00:ec2::/32",  # the metadata service of AWS
        "ff00::/8",
    )
)
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{0,16}|[0-9]{1,16}")
_MOST_PARTS: Final = 4
_V4_BITS: Final = 32
_BYTE: Final = 8


def is_inside(address: Address) -> bool:
    """Say whether an address is private, loopback, link-local, shared, unspecified, multicast or reserved.

    An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is judged by that.
    """
    address = _unwrapped(address)
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _INSIDE_V4)
    return address not in _GLOBAL_V6 or any(address in network for network in _INSIDE_V6)


def is_never_a_registry(address: Address) -> bool:
    """Say whether not even a private registry may send us there: metadata services, unspecified, multicast."""
    address = _unwrapped(address)
    return any(address.version == network.version and address in network for network in _NEVER)


def host_literal(host: str) -> Address | None:
    """Return the address that a host text stands for without any look-up, or None if it is a name.

    Besides the usual forms those are understood that resolvers accept: one to four parts, decimal, octal (``0177``)
    or hexadecimal (``0x7f``). ``localhost`` and names below it count as 127.0.0.1 (RFC 6761).
    """
    host = host.lower().removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return None
    parts = host.split(".")
    if len(parts) > _MOST_PARTS or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    return _from_parts(parts)


def guarded_socket_factory(*, allow_inside: bool) -> Callable[[AddressInfo], socket.socket]:
    """Return a factory for ``aiohttp.TCPConnector(socket_factory=..)``, which is called before each dial.

    Args:
        allow_inside: True for a registry that the user configured; False for hosts that a registry names.

    Raises:
        OSError: from the factory: the address may not be dialled (EACCES, with the reason as its text).
    """

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, target = info
        if not allow_inside:
            _refuse_inside(family, target)
        made = socket.socket(family, kind, protocol)
        made.settimeout(0)  # non-blocking, as event loops want it
        return made

    return make


def _refuse_inside(family: int, target: SocketAddress) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise OSError(errno.EACCES, "refused to dial: not an internet address")
    try:
        address = ipaddress.ip_address(str(target[0]))
    except ValueError:
        raise OSError(errno.EACCES, "refused to dial: the resolver gave no usable address") from None
    if is_inside(address):
        raise OSError(
            errno.EACCES, f"refused to dial {address}: a host that a registry names must not be on an inside network"
        )


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _MAPPED or address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address in _SIX_TO_FOUR:
            return ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address


def _from_parts(parts: list[str]) -> ipaddress.IPv4Address | None:
    """Put one to four numbers together as ``inet_aton`` does: the last one fills all the bytes that are left."""
    try:
        *leading, last = [_number(part) for part in parts]
    except ValueError:
        return None  # "089": an octal number without octal digits
    bits = _V4_BITS - _BYTE * len(leading)
    if last >> bits or any(number >> _BYTE for number in leading):
        return None
    for place, number in enumerate(leading, start=1):
        last |= number << (_V4_BITS - _BYTE * place)
    return ipaddress.IPv4Address(last)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") else int(part)
