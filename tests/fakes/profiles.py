"""Profiles: how an emulated registry differs from the specification, as data. A test may change any one switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tests.fakes.api import ApiFactory

LinkStyle = Literal["relative", "absolute", "raw", "empty-parameter", "wrong-path", "other-host"]
LocationStyle = Literal["relative", "absolute", "no-scheme", "http-downgrade", "other-host"]
ReferrersStyle = Literal["api", "api-without-subject-header", "subject-header-without-api", "wrong-type", "alias"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An error answer in the shape of the specification; ``body`` replaces that shape, ``headers`` are added."""

    status: int
    code: str = "UNSUPPORTED"
    message: str = "the operation is unsupported"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may do what, and how a client is told.

    ``repository_challenge``: what a 401 on a repository's path carries: its own scope, the challenge of ``/v2/``, no
    header, an empty one, a Basic one although the registry wants a bearer, or that only in answer to a credential
    ("flip"). ``bare_refusals`` are one error object each, in no list. ``granted`` are the actions that any
    token gets at most: fewer than asked is still a 200. ``refused_scopes`` are parts of a scope that make the whole
    token request fail with ``refused_scope_status``. ``expires_in`` stands in the token's JSON as it is, None leaves
    it out; ``life_s`` is how long a token truly lives, in seconds on the emulator's clock. ``expired``: with Basic, the
    passwords are tokens that the registry's own API issued, and this is the answer to one that has died.
    ``opaque_scope`` is a scope that grants everything, where it is asked for. Where ``post`` refuses, it may still take
    refresh tokens. With ``told_life_s`` tokens are JWTs, which tell a life of so many seconds.

    With ``push_creates`` a token for a push makes the repository, and a token for one that is not there grants nothing.
    ``delete_action`` is what a deletion needs; without ``catalog_scope`` the catalog needs a token of any scope.
    """

    scheme: Literal["none", "basic", "bearer"] = "none"
    user: str = "robot"
    password: str = field(default="correct horse", repr=False)
    anonymous_pull: bool = False
    realm: str = ""
    token_path: str = "/token"
    service: str = "registry.test"
    ping_scope: str = ""
    ping_status: int = 401
    repository_challenge: Literal["scope", "ping", "none", "empty", "basic", "flip"] = "scope"
    challenge_form: Literal["one", "two-headers", "one-header-of-two"] = "one"
    token_keys: tuple[str, ...] = ("token",)
    expires_in: object = 300
    issued_at_skew_s: float | None = None
    life_s: float = 300.0
    post: Refusal | None = None
    granted: frozenset[str] = frozenset({"pull", "push", "delete", "*"})
    refused_scopes: tuple[str, ...] = ()
    refused_scope_status: int = 400
    bare_refusals: bool = False
    push_creates: bool = False
    delete_action: Literal["delete", "push"] = "delete"
    catalog_scope: bool = True
    expired: Refusal | None = None
    opaque_scope: str = ""
    post_takes_refresh_tokens: bool = False
    told_life_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagList:
    """How tags are listed. ``page_entries`` caps a page whatever ``n`` says; ``refuse_n_above`` answers 400 instead.

    ``odd_items`` are put before the tags as they are (null, digests); ``extra`` are further keys of the answer.
    ``unknown_last`` "gone" is a 404 without a body.
    """

    ignore_n: bool = False
    order: Literal["sorted", "storage"] = "sorted"
    null_when_empty: bool = False
    always_null: bool = False
    page_entries: int | None = None
    refuse_n_above: int | None = None
    unknown_last: Literal["continue", "skip", "not-found", "gone"] = "continue"
    link: LinkStyle = "relative"
    odd_items: tuple[object, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """How blobs are taken. A Refusal under ``put_body`` or ``patch`` means that this way of sending is not taken.

    ``range_header``: true, always that of the first chunk, one too high, or absent. Where ``mount_from`` is ignored,
    a blob is mounted from wherever it is.
    """

    location: LocationStyle = "relative"
    put_body: Refusal | None = None
    patch: Refusal | None = None
    min_chunk_bytes: int | None = None
    max_chunk_bytes: int | None = None
    max_body_bytes: int | None = None
    content_range: Literal["checked", "ignored", "required"] = "checked"
    range_header: Literal["true", "stale", "off-by-one", "absent"] = "true"
    single_post: Literal["stored", "dropped"] | Refusal = "stored"
    status_needs_latest: bool = False
    mount: Literal["done", "upload"] | Refusal = "done"
    delete: Refusal | None = None
    mount_from: Literal["needed", "ignored"] = "needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blobs:
    """How blobs are read. ``redirect`` is the status that sends readers to the storage on another port.

    ``lying_range_at_end``: a range that starts at the end is a 416 which declares the blob's size as its length.
    ``gzip``: a proxy compresses what it sends, and says so.
    """

    redirect: int | None = None
    redirect_head: bool = False
    signature_life_s: float = 300.0
    ranges: bool = True
    lying_range_at_end: bool = False
    content_type: str = "application/octet-stream"
    gzip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """How manifests are read and put. ``immutable_tags`` is the answer to a PUT of a tag that exists.

    With ``projects`` it is the first part of a path that must exist beforehand, and all that is asked below one that
    does not is answered as ``unknown_repository`` says.
    ``unknown_is_told``: reading in a repository that was never created answers with ``unknown_repository`` too.
    """

    digest_header: Literal["present", "absent", "false"] = "present"
    strict_accept: bool = True
    content_type_suffix: str = ""
    head: Refusal | None = None
    check_content: bool = True
    missing_content_code: str = "MANIFEST_BLOB_UNKNOWN"
    size_cap_bytes: int | None = None
    size_cap: Refusal = Refusal(status=413, code="MANIFEST_INVALID", message="manifest too large")
    media_type_needed: Refusal | None = None
    immutable_tags: Refusal | None = None
    create_on_push: bool = True
    unknown_repository: Refusal = Refusal(status=404, code="NAME_UNKNOWN", message="repository not found")
    projects: bool = False
    unknown_is_told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletes:
    """How deletions are answered; None means as distribution v3 does. ``referenced`` refuses children of an index."""

    tag: Refusal | None = None
    manifest: Refusal | None = None
    manifest_with_tags: Refusal | None = None
    referenced: Refusal | None = None
    blob: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A quota of manifest GETs, on the emulator's clock. ``pulls`` None means no quota, and no headers."""

    pulls: int | None = None
    window_s: int = 21_600
    headers: bool = True
    retry_after: str | None = None
    refusal: Refusal = Refusal(status=429, code="TOOMANYREQUESTS", message="You have reached your pull rate limit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The public names under which an emulated registry is known: TLS for each. None: the registry's own name.

    Token service and API may be at one name. ``storage`` is another origin always: where a profile redirects, it needs
    a name.
    """

    registry: str
    tokens: str | None = None
    storage: str | None = None
    api: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A registry, as the sum of its switches. ``api`` makes what it serves beside the distribution API.

    ``referrers_unknown`` is what is said of the referrers of a digest that the repository does not hold.
    """

    name: str = "distribution-v3"
    auth: Auth = Auth()
    tags: TagList = TagList()
    uploads: Uploads = Uploads()
    blobs: Blobs = Blobs()
    manifests: Manifests = Manifests()
    referrers: ReferrersStyle | Refusal = "api"
    deletes: Deletes = Deletes()
    rate: Rate = Rate()
    catalog: Refusal | None = None
    api_version_header: bool = True
    api: ApiFactory | None = None
    referrers_unknown: Refusal | None = None


DISTRIBUTION_V3 = Profile()
"""distribution v3 with the referrers API on: what the specification says."""

DISTRIBUTION_V2 = Profile(
    name="distribution-v2",
    tags=TagList(ignore_n=True, order="storage", null_when_empty=True),
    uploads=Uploads(location="absolute", content_range="ignored", single_post="dropped", status_needs_latest=True),
    blobs=Blobs(lying_range_at_end=True),
    referrers=Refusal(
        status=404, headers=(("Content-Type", "text/plain; charset=utf-8"),), body=b"404 page not found\n"
    ),
    deletes=Deletes(tag=Refusal(status=400, code="DIGEST_INVALID", message="provided digest did not match")),
)
"""distribution 2.8.2, as measured."""

BASIC = Profile(name="basic", auth=Auth(scheme="basic"))
BEARER = Profile(name="bearer", auth=Auth(scheme="bearer"))
