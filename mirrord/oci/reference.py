"""References: which registry, repository, tag and digest a text names.

Grammar: distribution-spec v1.1.1 spec.md "Pulling manifests" (names and tags), the reference grammar of the
distribution project for hosts and for Docker Hub's short names.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from mirrord.errors import InvalidDigestError, InvalidReferenceError, quote
from mirrord.oci.digest import Digest

DOCKER_HUB = "docker.io"
LAYOUT_SCHEME = "oci:"
_DOCKER_HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_LONGEST_REFERENCE = 1024
_LONGEST_LAYOUT = 4096
_LONGEST_REPOSITORY = 255
_LONGEST_HOST = 253
_HIGHEST_PORT = 65535
_GRAMMAR = "[host[:port]/]path[:tag][@digest]"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PATH_SEGMENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_SEGMENT}(?:/{_PATH_SEGMENT})*")
_HOST_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*")
_PORT = re.compile(r"[0-9]{1,5}")
_NOT_IN_REFERENCES = re.compile(r"[^A-Za-z0-9_.:/@+\[\]-]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DIGEST_FOLLOWS = re.compile(r"@(?=sha(?:256|512):)")


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A tag: 1 to 128 letters, digits, ``_``, ``.`` and ``-``, not beginning with ``.`` or ``-``."""

    name: str

    @classmethod
    def parse(cls, text: str) -> Tag:
        """Return ``text`` as a tag.

        Raises:
            InvalidReferenceError: ``text`` does not follow the grammar (TAG_INVALID).
        """
        if not _TAG.fullmatch(text):
            raise InvalidReferenceError(
                f'"{quote(text)}" is no tag; a tag has 1 to 128 letters, digits, "_", "." and "-", '
                'and does not begin with "." or "-"',
                code="TAG_INVALID",
            )
        return cls(text)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository of a registry. ``host`` is normalised (``docker.io``, ``registry.internal:5000``)."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Return the repository that ``text`` names; it must have neither tag nor digest.

        Raises:
            InvalidReferenceError: the text is no repository.
        """
        reference = Reference.parse(text)
        if not isinstance(reference.location, Repository) or reference.tag or reference.digest:
            raise InvalidReferenceError(f'"{shown(text)}" is not a plain repository; leave out tag and digest')
        return reference.location

    @property
    def namespace(self) -> str:
        """The path without its last segment; empty for a path of one segment."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The last segment of the path."""
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


@dataclass(frozen=True, slots=True, order=True)
class LayoutDirectory:
    """An OCI image layout directory; ``path`` is as the user wrote it."""

    path: str

    @property
    def host(self) -> str:
        """The name under which limits and reports know this directory."""
        return f"{LAYOUT_SCHEME}{self.path}"

    def __str__(self) -> str:
        return f"{LAYOUT_SCHEME}{self.path}"


Location = Repository | LayoutDirectory


@dataclass(frozen=True, slots=True)
class Reference:
    """A location, with a tag, a digest, both or neither. With both, the digest decides."""

    location: Location
    tag: Tag | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return what ``text`` refers to: ``[host[:port]/]path[:tag][@digest]`` or ``oci:DIRECTORY[:tag]``.

        A missing host means Docker Hub, and a Docker Hub path of one segment gets ``library/``. What can only be meant
        as a registry alone, ``localhost:5000``, is refused: as a name at Docker Hub it would be a surprise.

        Raises:
            InvalidReferenceError: the text does not follow the grammar, or the host is none (REGISTRY_INVALID); the
                message says where, and never shows what stands in the place of a user and password.
        """
        if text.startswith(LAYOUT_SCHEME):
            return _parse_layout(text)
        _check_text(text)
        rest, at, digest_text = text.partition("@")
        digest = _digest(digest_text, text) if at else None
        head, slash, last = rest.rpartition("/")
        name, colon, tag_text = last.partition(":")
        if not slash and ("." in name or name.lower() == "localhost"):
            raise InvalidReferenceError(f'"{shown(text)}" names a registry and no repository; write {rest}/NAME')
        tag = _tag(tag_text, text) if colon else None
        host, path = _split_host(f"{head}{slash}{name}", text)
        return cls(Repository(host, path), tag, digest)

    def pinned(self, digest: Digest) -> Reference:
        """Return the same reference with ``digest``."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.location}{tag}{digest}"


def parse_host(text: str) -> str:
    """Return a registry host in its normal form: lower case, Docker Hub's aliases as ``docker.io``.

    Raises:
        InvalidReferenceError: not ``host[:port]`` (REGISTRY_INVALID): a scheme, user, path or query is refused.
    """
    if not text.isascii() or len(text) > _LONGEST_HOST + len(":65535"):
        raise _bad_host(text)
    name, port = _split_port(text.lower(), text)
    if name.startswith("["):
        try:
            address = ipaddress.IPv6Address(name[1:-1])
        except ValueError:
            raise _bad_host(text) from None
        if address.scope_id is not None:
            raise _bad_host(text)
        name = f"[{address.compressed}]"
    elif not _HOST_NAME.fullmatch(name) or len(name) > _LONGEST_HOST:
        raise _bad_host(text)
    if name in _DOCKER_HUB_ALIASES and port in (None, 443):
        return DOCKER_HUB
    return name if port is None else f"{name}:{port}"


def parse_repository_path(text: str) -> str:
    """Return ``text`` if it is the path of a repository.

    Raises:
        InvalidReferenceError: it is none.
    """
    if len(text) > _LONGEST_REPOSITORY or not _PATH.fullmatch(text):
        raise InvalidReferenceError(
            f'"{shown(text)}" is no repository name; lower-case letters and digits, with ".", "_" or "-" '
            f'between them, segments separated by "/", at most {_LONGEST_REPOSITORY} characters'
        )
    return text


def looks_like_host(segment: str) -> bool:
    """Say whether the first segment of a reference is a registry rather than part of a Docker Hub path."""
    return "." in segment or ":" in segment or segment.lower() == "localhost"


def split_host(text: str) -> tuple[str, str]:
    """Return (host, rest) of a reference or pattern of one; a missing host means Docker Hub.

    ``rest`` is returned unchecked, so that patterns such as ``ghcr.io/acme/*`` can be split too.

    Raises:
        InvalidReferenceError: the host is not valid.
    """
    first, slash, rest = text.partition("/")
    if slash and looks_like_host(first):
        return parse_host(first), rest
    return DOCKER_HUB, text


def shown(text: str) -> str:
    """Return a reference as a message may show it: what could be ``user:password@`` becomes ``***@``."""
    place = len(text)
    while (place := text.rfind("@", 0, place)) >= 0:
        if not _DIGEST_FOLLOWS.match(text, place):
            return f"***{quote(text[place:])}"
    return quote(text)


def _split_host(rest: str, text: str) -> tuple[str, str]:
    host, path = split_host(rest)
    if not path:
        raise InvalidReferenceError(f'"{shown(text)}" names no repository; expected {_GRAMMAR}')
    parse_repository_path(path)
    if host == DOCKER_HUB and "/" not in path:
        path = parse_repository_path(f"library/{path}")
    return host, path


def _split_port(host: str, text: str) -> tuple[str, int | None]:
    if host.startswith("["):
        name, bracket, rest = host.partition("]")
        name, (before, colon, port) = name + bracket, rest.partition(":")
        if not bracket or before:
            raise _bad_host(text)
    else:
        name, colon, port = host.partition(":")
    if not colon:
        return name, None
    if not _PORT.fullmatch(port) or not 0 < int(port) <= _HIGHEST_PORT:
        raise _bad_host(text)
    return name, int(port)


def _digest(digest_text: str, text: str) -> Digest:
    if "/" in digest_text:
        raise InvalidReferenceError(
            f'"{shown(text)}": leave out user and password',
            remedy="give the registry a credential in the configuration",
            code="REGISTRY_INVALID",
        )
    try:
        return Digest.parse(digest_text)
    except InvalidDigestError as exc:
        place = len(text) - len(digest_text)
        raise InvalidReferenceError(f'"{shown(text)}": after character {place}: {exc.message}') from None


def _tag(tag_text: str, text: str) -> Tag:
    try:
        return Tag.parse(tag_text)
    except InvalidReferenceError as exc:
        raise InvalidReferenceError(f'"{shown(text)}": {exc.message}') from None


def _parse_layout(text: str) -> Reference:
    rest = text.removeprefix(LAYOUT_SCHEME)
    if rest.startswith("//"):
        raise InvalidReferenceError(
            f'"{shown(text)}": leave out "oci://" for a registry; a layout directory is oci:PATH[:tag]'
        )
    if not rest.isprintable() or len(text) > _LONGEST_LAYOUT:
        raise InvalidReferenceError(f'"{quote(text)}" is no path of a directory')
    digest = None
    before, at, after = rest.rpartition("@")
    if at and ":" in after and "/" not in after:
        digest, rest = _digest(after, text), before
    head, slash, last = rest.rpartition("/")
    name, colon, tag_text = last.partition(":")
    tag = _tag(tag_text, text) if colon else None
    path = f"{head}{slash}{name}"
    if not path:
        raise InvalidReferenceError(f'"{shown(text)}" names no directory; expected oci:PATH[:tag]')
    path = path.rstrip("/") or "/"
    if ":" in path.rpartition("/")[2]:
        raise InvalidReferenceError(f'"{shown(text)}": the last part of the path has a ":", which begins a tag')
    return Reference(LayoutDirectory(path), tag, digest)


def _check_text(text: str) -> None:
    if not text:
        raise InvalidReferenceError(f"a reference is empty; expected {_GRAMMAR}")
    if len(text) > _LONGEST_REFERENCE:
        raise InvalidReferenceError(f"a reference has {len(text)} characters; at most {_LONGEST_REFERENCE} are allowed")
    scheme = _SCHEME.match(text)
    if scheme:
        raise InvalidReferenceError(
            f'"{scheme[0]}{shown(text[scheme.end() :])}": leave out "{scheme[0]}"; a reference is {_GRAMMAR}',
            code="REGISTRY_INVALID",
        )
    bad = _NOT_IN_REFERENCES.search(text)
    if bad:
        host, slash, _ = text.partition("/")
        in_host = slash and bad.start() < len(host) and looks_like_host(host)
        which = f"character {bad.start() + 1}"
        if "@" not in text[bad.start() :]:  # else it may be a character of a password
            which += f' ("{quote(bad[0])}")'
        raise InvalidReferenceError(
            f'"{shown(text)}": {which} is not allowed in a reference',
            code="REGISTRY_INVALID" if in_host else None,
        )
    first, second = text.find("@"), text.rfind("@")
    if first != second:
        raise InvalidReferenceError(f'"{shown(text)}": character {second + 1} is a second "@"; one digest at most')


def _bad_host(text: str) -> InvalidReferenceError:
    return InvalidReferenceError(
        f'"{shown(text)}" is no registry; expected host[:port] without scheme, user, path or trailing dot, '
        "an IPv6 address in brackets",
        code="REGISTRY_INVALID",
    )
