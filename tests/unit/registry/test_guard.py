"""The connect-time guard."""

from __future__ import annotations

import errno
import ipaddress
import socket

import anyio
import pytest

from mirrord.registry.guard import (
    AddressInfo,
    guarded_socket_factory,
    host_literal,
    is_inside,
    is_never_a_registry,
)

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "2001::1",
    "4000::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:a00:1::",
    "2002:a9fe:a9fe::1",
]
OUTSIDE = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.167.1.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.covers("A5", "A9", "A20", "C31")
@pytest.mark.parametrize("address", INSIDE)
def test_addresses_of_inside_networks_are_inside(address: str) -> None:
    assert is_inside(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_addresses_of_the_internet_are_outside(address: str) -> None:
    assert not is_inside(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("address", "never"),
    [
        ("169.254.169.254", True),
        ("0.0.0.0", True),
        ("::ffff:169.254.169.254", True),
        ("fe80::1", True),
        ("fd00:ec2::254", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("fd12::1", False),
        ("8.8.8.8", False),
    ],
)
def test_metadata_and_unspecified_addresses_are_never_a_registry(address: str, never: bool) -> None:
    assert is_never_a_registry(ipaddress.ip_address(address)) is never


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.0.0.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("10.1.515", "10.1.2.3"),
        ("0", "0.0.0.0"),
        ("0x", "0.0.0.0"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("Registry.LocalHost", "127.0.0.1"),
    ],
)
def test_host_literal_reads_what_resolvers_read(host: str, address: str) -> None:
    assert host_literal(host) == ipaddress.ip_address(address)


@pytest.mark.parametrize(
    "host",
    [
        "registry.example.com",
        "localhost.example.com",
        "1.2.3.4.5",
        "1.2.3.256",
        "256.1.1.1",
        "4294967296",
        "089.0.0.1",
        "1..2",
        "-1",
        "1_0",
        "",
        "[::1",
        "[:::]",
        "a:b",
        "9" * 5000,
    ],
)
def test_host_literal_takes_anything_else_for_a_name(host: str) -> None:
    expected = ipaddress.IPv6Address("::1") if host == "[::1" else None

    assert host_literal(host) == expected


def information(address: str, family: int = socket.AF_INET) -> AddressInfo:
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))


@pytest.mark.covers("A20", "C31")
@pytest.mark.parametrize(
    ("address", "family"),
    [("10.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("fe80::1%eth0", socket.AF_INET6)],
)
def test_guarded_sockets_refuse_inside_addresses_with_a_reason(address: str, family: int) -> None:
    make = guarded_socket_factory(allow_inside=False)

    with pytest.raises(PermissionError, match="refused to dial") as caught:
        make(information(address, family))

    assert caught.value.errno == errno.EACCES


@pytest.mark.parametrize(
    "info",
    [
        (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("/run/docker.sock", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("registry.example.com", 443)),
    ],
    ids=["unix", "name"],
)
def test_guarded_sockets_refuse_what_is_no_internet_address(info: AddressInfo) -> None:
    with pytest.raises(OSError, match="refused to dial"):
        guarded_socket_factory(allow_inside=False)(info)


@pytest.mark.parametrize(("address", "allow_inside"), [("8.8.8.8", False), ("127.0.0.1", True)])
def test_guarded_sockets_are_made_for_allowed_addresses(address: str, allow_inside: bool) -> None:
    with guarded_socket_factory(allow_inside=allow_inside)(information(address)) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert made.gettimeout() == 0


@pytest.mark.anyio
@pytest.mark.covers("A20")
async def test_guard_stands_in_the_way_of_a_real_dial() -> None:
    """The name is resolved by aiohttp; the guard sees the address that is dialled and surfaces as its own reason."""
    import aiohttp

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    connector = aiohttp.TCPConnector(socket_factory=guarded_socket_factory(allow_inside=False))
    async with listener, aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match="refused to dial"):
            await session.get(f"http://localhost:{port}/")
