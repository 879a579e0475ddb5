"""URLs as registries give them: taken apart strictly, joined byte for byte, compared by origin, and judged.

Every URL goes through `judge` before it is asked for, at the door that it came in by. Who may see a credential is
decided here and nowhere else. The rules were learned from leaks in other software, rows A1 to A21 of
docs/reference/reliability.md.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from mirrord.errors import AddressRefusedError, quote
from mirrord.registry.domains import same_owner
from mirrord.registry.guard import host_literal, is_inside, is_never_a_registry

LONGEST_URL: Final = 64 * 1024
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_HIGHEST_PORT: Final = 65535
_SHOWN: Final = 60
_UNUSABLE: Final = re.compile(r"[^\x21-\x7e]|\\")
_PARTS: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(?:#.*)?")
_LONGEST_HOST: Final = 253
_LONGEST_PORT: Final = 5
_HOST: Final = re.compile(r"[a-z0-9_-]++(?:\.[a-z0-9_-]++)*+")
_HOST_WITHOUT_SCHEME: Final = re.compile(r"(?!https?:)(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}/")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what a credential belongs to. Host in lower case, IPv6 without brackets."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Return the origin of an absolute http or https URL.

        Raises:
            AddressRefusedError: it has another scheme, a user, no usable host, characters that no URL has, or more
                than 64 KiB.
        """
        scheme, authority, _ = _split(url)
        return cls.of(scheme, authority)

    @classmethod
    def of(cls, scheme: str, authority: str) -> Origin:
        """Return the origin of a scheme in lower case and ``host[:port]``.

        Raises:
            AddressRefusedError: the scheme is another one, or the rest has a user or no usable host.
        """
        if scheme not in DEFAULT_PORTS:
            raise AddressRefusedError(f'the scheme "{quote(scheme, _SHOWN)}" is neither http nor https')
        if "@" in authority:
            raise AddressRefusedError("a URL with a user is never followed")
        host, port_text = _split_port(authority.lower())
        return cls(scheme, _normal_host(host), _port(port_text) if port_text else DEFAULT_PORTS[scheme])

    @property
    def authority(self) -> str:
        """The host with its port, as a URL has it; the default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def resolve(base_url: str, location: str) -> str:
    """Return the absolute URL that a header's URL means, seen from the URL that was asked.

    RFC 3986 section 5.2, with path and query kept byte for byte (dot segments of the path are resolved) and the
    fragment dropped. A host without scheme (``host:5000/v2/..``) gets the scheme of ``base_url``. The result is
    still to be judged.

    Raises:
        AddressRefusedError: empty, longer than 64 KiB, or with backslashes, blanks, control or non-ASCII characters.
    """
    location = location.strip(" \t")
    if not location:
        raise AddressRefusedError("the URL is empty")
    base_scheme, base_authority, base_rest = _split(base_url)
    _check(location)
    if _HOST_WITHOUT_SCHEME.match(location) or location.lower().startswith(f"{base_authority.lower()}/"):
        location = f"//{location}"
    match = _PARTS.fullmatch(location)
    assert match is not None, "the pattern matches every text that passed the check"
    scheme, authority, path, query = match[1], match[2], match[3], match[4] or ""
    if scheme is not None and authority is None:
        return location  # "file:..", "javascript:..": nothing to join; no door lets it pass
    if authority is None:
        base_path, _, base_query = base_rest.partition("?")
        if not path:
            path, query = base_path, query or (f"?{base_query}" if base_query else "")
        elif not path.startswith("/"):
            path = f"{base_path.rpartition('/')[0]}/{path}"
    return f"{(scheme or base_scheme).lower()}://{authority or base_authority}{_without_dots(path)}{query}"


class Door(Enum):
    """Where a URL came from. The value is the code of a refusal."""

    OWN = "ADDRESS_REFUSED"
    """mirrord made the URL itself, from the registry's configured address."""
    REALM = "AUTH_REALM_UNTRUSTED"
    """A challenge named it as token service, or a token service redirected there."""
    REDIRECT = "REDIRECT_REFUSED"
    """A blob, manifest or listing is said to be there."""
    UPLOAD_LOCATION = "UPLOAD_LOCATION_UNTRUSTED"
    """The Location of an upload session."""
    LINK = "LINK_UNTRUSTED"
    """The next page of a listing."""
    DESCRIPTOR_URL = "FOREIGN_URL_REFUSED"
    """The ``urls`` of a descriptor: words of whoever made the image, not of the registry."""


class Verdict(Enum):
    """What may be done with a URL."""

    FOLLOW_WITH_CREDENTIAL = auto()
    FOLLOW_WITHOUT = auto()
    REFUSE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict on one URL.

    Attributes:
        verdict: what may be done.
        url: what to ask for: the URL that was judged, or its repaired form. It may be signed, hence not in the repr.
        code: the error code of a refusal, else empty.
        reason: why it is refused, in words without the URL; else empty.
        guarded: the connection must be made through `guard.guarded_socket_factory(allow_inside=False)`.
    """

    verdict: Verdict
    url: str = field(repr=False)
    code: str = ""
    reason: str = ""
    guarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryTrust:
    """What the user's configuration says of a registry, as far as it decides whom to trust.

    Attributes:
        origin: where the registry itself is asked.
        plain_http: the user chose to speak to it without TLS.
        auth_hosts: further hosts (``host`` or ``host:port``) that may see its credential as token services.
        private: its configured address is a private or loopback one, so it may send us to others of that kind.
    """

    origin: Origin
    plain_http: bool = False
    auth_hosts: frozenset[str] = frozenset()
    private: bool = False


def judge(url: str, *, door: Door, registry: RegistryTrust) -> Ruling:
    """Decide whether an absolute URL may be asked for, and whether the registry's credential may go along.

    Pure: names are not looked up. Where a name leads is checked by the guard when it is dialled.
    """
    try:
        target = Origin.parse(url)
    except AddressRefusedError as exc:
        return _refuse(url, door, exc.message)
    if target == registry.origin:
        own = Verdict.FOLLOW_WITHOUT if door is Door.DESCRIPTOR_URL else Verdict.FOLLOW_WITH_CREDENTIAL
        return Ruling(verdict=own, url=url)
    match door:
        case Door.OWN | Door.LINK:
            return _refuse(url, door, "it leads away from the registry")
        case Door.REALM:
            return _judge_realm(url, target, registry)
        case Door.UPLOAD_LOCATION:
            return _judge_upload(url, target, registry)
        case _:
            plain_allowed = registry.plain_http and door is Door.REDIRECT
            return _judge_content(url, target, registry, door, plain_allowed=plain_allowed)


def _judge_realm(url: str, target: Origin, registry: RegistryTrust) -> Ruling:
    door, verdict = Door.REALM, Verdict.FOLLOW_WITH_CREDENTIAL
    if target.scheme == "http" and not registry.plain_http:
        return _refuse(url, door, "it would send the credential without TLS")
    if any(_is_listed(entry, target) for entry in registry.auth_hosts):
        return Ruling(verdict=verdict, url=url)
    if target.host == registry.origin.host:
        return _refuse(url, door, "it is another port or scheme of the registry's host, and not listed in auth_hosts")
    if _leads_inside(target, registry):
        return _refuse(url, door, "it is an address on an inside network, and not listed in auth_hosts")
    standard = (target.scheme, target.port) == ("https", DEFAULT_PORTS["https"])
    if standard and same_owner(target.host, registry.origin.host):
        return Ruling(verdict=verdict, url=url, guarded=not registry.private)
    return _refuse(url, door, "its host does not certainly belong to the registry, and is not listed in auth_hosts")


def _judge_upload(url: str, target: Origin, registry: RegistryTrust) -> Ruling:
    """Uploads may go to an object store that the registry names, over TLS and without the credential."""
    mended = _repaired(url, target, registry.origin)
    if mended is not None:
        return Ruling(verdict=Verdict.FOLLOW_WITH_CREDENTIAL, url=mended)
    if target.host == registry.origin.host:
        return _refuse(url, Door.UPLOAD_LOCATION, "it is another port or scheme of the registry's host")
    return _judge_content(url, target, registry, Door.UPLOAD_LOCATION, plain_allowed=False)


def _judge_content(url: str, target: Origin, registry: RegistryTrust, door: Door, *, plain_allowed: bool) -> Ruling:
    """Content may come from and go to another host: its digest proves it, and the credential stays here."""
    if target.scheme == "http" and not plain_allowed:
        return _refuse(url, door, "it would go on without TLS")
    never_inside = door is Door.DESCRIPTOR_URL
    if _leads_inside(target, registry, never=never_inside):
        return _refuse(url, door, "it is an address on an inside network")
    return Ruling(verdict=Verdict.FOLLOW_WITHOUT, url=url, guarded=never_inside or not registry.private)


def _refuse(url: str, door: Door, reason: str) -> Ruling:
    return Ruling(verdict=Verdict.REFUSE, url=url, code=door.value, reason=reason)


def _is_listed(entry: str, target: Origin) -> bool:
    try:
        return Origin.of(target.scheme, entry) == target
    except AddressRefusedError:
        return False


def _leads_inside(target: Origin, registry: RegistryTrust, *, never: bool = False) -> bool:
    """Say whether the host is, without any look-up, an address that this registry must not send us to."""
    literal = host_literal(target.host)
    if literal is None:
        return False
    in_disguise = target.host[:1].isdigit() and str(literal) != target.host  # 2130706433, 0x7f.1, 0177.0.0.1
    return in_disguise or is_never_a_registry(literal) or (is_inside(literal) and (never or not registry.private))


def _repaired(url: str, target: Origin, origin: Origin) -> str | None:
    """Return a plain-http URL with the https ``origin`` in place of its own, if the scheme is all that differs.

    Registries behind a proxy that ends TLS often name themselves so.
    """
    ports = {origin.port, DEFAULT_PORTS["http"]} if origin.port == DEFAULT_PORTS["https"] else {origin.port}
    if (target.scheme, origin.scheme) == ("http", "https") and target.host == origin.host and target.port in ports:
        return f"{origin}{_split(url)[2]}"
    return None


def _split(url: str) -> tuple[str, str, str]:
    """Return (scheme in lower case, authority, path and query) of an absolute URL."""
    _check(url)
    match = _PARTS.fullmatch(url)
    assert match is not None, "the pattern matches every text that passed the check"
    if match[1] is None:
        raise AddressRefusedError("the URL has no scheme")
    return match[1].lower(), match[2] or "", f"{match[3]}{match[4] or ''}"


def _check(url: str) -> None:
    if len(url) > LONGEST_URL:
        raise AddressRefusedError(f"the URL has {len(url)} characters; at most {LONGEST_URL} are followed")
    bad = _UNUSABLE.search(url)
    if bad:
        raise AddressRefusedError(f'the URL has the character "{quote(ascii(bad[0])[1:-1])}", which no URL has')


def _split_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, closed, rest = authority.partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise AddressRefusedError("the host of the URL is malformed")
        return f"{host}]", rest[1:]
    host, _, port = authority.partition(":")
    return host, port


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > _LONGEST_PORT or not 0 < int(text) <= _HIGHEST_PORT:
        raise AddressRefusedError("the port is no number from 1 to 65535")
    return int(text)


def _normal_host(host: str) -> str:
    if host.startswith("["):
        try:
            address = ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise AddressRefusedError("the host of the URL is no IPv6 address")
        return address.compressed
    host = host.removesuffix(".")
    if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
        raise AddressRefusedError("the URL has no usable host" if host else "the URL has no host")
    return host


def _without_dots(path: str) -> str:
    """Resolve the segments ``.`` and ``..`` (RFC 3986 section 5.2.4); a path without any stays as it is."""
    segments = path.split("/")
    if "." not in segments and ".." not in segments:
        return path
    kept: list[str] = []
    for segment in segments[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
