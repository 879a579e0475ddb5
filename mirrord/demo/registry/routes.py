"""Which route of /v2/ a path names.

Source: distribution-spec v1.1.1 spec.md, "Endpoints". A path with an illegal name is no route, as in distribution.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl

from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import parse_repository_path

_REPOSITORY_ROUTE = re.compile(
    r"/v2/(?P<repository>.+)/"
    r"(?P<kind>tags/(?=list$)|blobs/uploads/|manifests/(?=.)|blobs/(?=.)|referrers/(?=.))"
    r"(?P<reference>[^/]*)"
)


class RouteKind(StrEnum):
    """The routes, by what they serve."""

    PING = "ping"
    CATALOG = "catalog"
    TAGS = "tags/list"
    MANIFEST = "manifest"
    BLOB = "blob"
    UPLOAD = "upload"
    REFERRERS = "referrers"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route. ``reference`` is a tag, a digest or an upload session's id, unchecked; empty where there is none."""

    kind: RouteKind
    repository: str = ""
    reference: str = ""


OTHER = Route(kind=RouteKind.OTHER)
_KINDS = {
    "tags/": RouteKind.TAGS,
    "blobs/uploads/": RouteKind.UPLOAD,
    "manifests/": RouteKind.MANIFEST,
    "blobs/": RouteKind.BLOB,
    "referrers/": RouteKind.REFERRERS,
}


def parse_route(path: str) -> Route:
    """Return the route of a decoded path; one of the kind OTHER if it is none of the specification's."""
    if path == "/v2/":
        return Route(kind=RouteKind.PING)
    if path == "/v2/_catalog":
        return Route(kind=RouteKind.CATALOG)
    match = _REPOSITORY_ROUTE.fullmatch(path)
    if match is None:
        return OTHER
    try:
        repository = parse_repository_path(match["repository"])
    except InvalidReferenceError:
        return OTHER
    kind = _KINDS[match["kind"]]
    return Route(kind=kind, repository=repository, reference="" if kind is RouteKind.TAGS else match["reference"])


def request_class(method: str, route: Route, query_string: bytes = b"") -> str:
    """Return the name under which a request is counted.

    ``ping``, ``catalog``, ``tags/list``, ``referrers`` and ``other`` stand alone; ``mount`` is a POST that asks for
    one; all else is a route and a method: ``manifest HEAD``, ``blob GET``, ``upload PATCH``.
    """
    if route.kind in {RouteKind.MANIFEST, RouteKind.BLOB, RouteKind.UPLOAD}:
        if method == "POST" and any(name == "mount" for name, _ in parse_qsl(query_string.decode("latin-1"))):
            return "mount"
        return f"{route.kind.value} {method}"
    return route.kind.value
