"""What the switches of a profile do: before the registry answers, and to the answer that it gave."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

from mirrord.demo.registry.asgi import Answer, Request, Scope, json_answer
from mirrord.demo.registry.routes import Route, RouteKind
from mirrord.demo.registry.store import Store
from mirrord.errors import InvalidDigestError
from mirrord.oci.digest import Digest
from mirrord.oci.mediatype import ACCEPT, INDEXES
from tests.fakes.profiles import Profile, Refusal
from tests.fakes.storage import Storage
from tests.fakes.tokens import EmulatorClock, refusal_answer
from tests.fakes.wire import with_headers


@dataclass(slots=True, kw_only=True)
class Switches:
    """The behaviour of one emulated registry. ``host`` and ``storage_url`` are known once it listens.

    ``pulls`` are those that count against the quota now, ``pulled`` is how many were let through in all.
    """

    profile: Profile
    store: Store
    storage: Storage
    clock: EmulatorClock
    scheme: str = "http"
    host: str = ""
    storage_url: str = ""
    created: set[str] = field(default_factory=set)
    pulls: list[float] = field(default_factory=list)
    short_chunks: set[str] = field(default_factory=set)
    first_ranges: dict[str, str] = field(default_factory=dict)
    pulled: int = 0

    def before(self, scope: Scope, request: Request, route: Route) -> Answer | None:
        """Return the answer that a switch gives in place of the registry, or None; the scope may be changed."""
        found: Refusal | Answer | None = None
        strict = self.profile.manifests.projects or self.profile.manifests.unknown_is_told
        if strict and route.repository and self._unknown(route.repository):
            found = self.profile.manifests.unknown_repository
        elif route.kind is RouteKind.CATALOG:
            found = self.profile.catalog
        elif route.kind is RouteKind.TAGS:
            found = self._list_tags(request, route)
        elif route.kind is RouteKind.REFERRERS:
            found = self._refer(route)
        elif route.kind is RouteKind.MANIFEST:
            found = self._manifest(scope, request, route)
        elif route.kind is RouteKind.BLOB:
            found = self._blob(scope, request, route)
        elif route.kind is RouteKind.UPLOAD:
            found = self._upload(scope, request, route)
        return refusal_answer(found) if isinstance(found, Refusal) else found

    def after(self, request: Request, route: Route, answer: Answer) -> Answer:
        """Return what becomes of the registry's answer."""
        if route.kind is RouteKind.MANIFEST:
            answer = self._after_manifest(request, answer)
        elif route.kind is RouteKind.BLOB:
            answer = self._after_blob(request, answer)
        elif route.kind is RouteKind.UPLOAD:
            answer = self._after_upload(request, route, answer)
        version = "registry/2.0" if self.profile.api_version_header else None
        return with_headers(answer, docker_distribution_api_version=version)

    # Listing

    def _list_tags(self, request: Request, route: Route) -> Refusal | Answer | None:
        switch = self.profile.tags
        if not self.store.knows(route.repository):
            return None
        tags = list(self.store.tags(route.repository))
        if switch.order == "sorted":
            tags.sort()
        else:
            tags.sort(key=lambda tag: Digest.of(tag.encode()).hex)
        n_text = None if switch.ignore_n else request.query("n")
        n = int(n_text) if n_text is not None and n_text.isdigit() else None
        if n_text is not None and n is None:
            return None
        if n is not None and switch.refuse_n_above is not None and n > switch.refuse_n_above:
            return Refusal(status=400, code="PAGINATION_NUMBER_INVALID", message="invalid number of results requested")
        last = None if switch.ignore_n else request.query("last")
        if last and last not in tags and switch.unknown_last == "not-found":
            return Refusal(status=404, code="NAME_UNKNOWN", message="last not found")
        if last and last not in tags and switch.unknown_last == "gone":
            return Answer(status=404)
        rest = _rest(tags, last, skip=switch.unknown_last == "skip")
        sizes = [size for size in (n, switch.page_entries) if size is not None]
        size = min(sizes) if sizes and not switch.ignore_n else len(rest)
        page = rest[:size]
        more = 0 < size < len(rest)
        null = switch.always_null or (switch.null_when_empty and not tags)
        body = {"name": route.repository, "tags": None if null else [*switch.odd_items, *page], **switch.extra}
        return json_answer(body, headers=[("Link", self._link(request, page[-1], size))] if more else [])

    def _link(self, request: Request, last: str, n: int) -> str:
        path, query = request.path, urlencode({"last": last, "n": n})
        target = {
            "relative": f"{path}?{query}",
            "absolute": f"{self.scheme}://{self.host}{path}?{query}",
            "raw": f"{path}?n={n}&last={last}",
            "empty-parameter": f"{path}?{query}&orderby=",
            "wrong-path": f"/artifactory/api/docker{path}?{query}",
            "other-host": f"{self.scheme}://other.test{path}?{query}",
        }[self.profile.tags.link]
        return f'<{target}>; rel="next"'

    def _refer(self, route: Route) -> Refusal | Answer | None:
        style = self.profile.referrers
        if isinstance(style, Refusal):
            return style
        if style in {"subject-header-without-api", "alias"}:
            return Refusal(status=404, code="NOT_FOUND", message="page not found")
        if style == "wrong-type":
            return json_answer({"schemaVersion": 2, "manifests": []})
        unknown = route.reference not in {str(digest) for digest in self.store.manifests(route.repository)}
        return self.profile.referrers_unknown if unknown else None

    # Manifests

    def _manifest(self, scope: Scope, request: Request, route: Route) -> Refusal | Answer | None:
        switch = self.profile.manifests
        if request.method == "HEAD" and switch.head is not None:
            return switch.head
        if request.method in {"GET", "HEAD"} and not switch.strict_accept:
            replace_header(scope, "accept", ", ".join(ACCEPT))
        if self.profile.referrers == "alias" and request.method in {"GET", "HEAD"}:
            self._alias(scope, route)
        if request.method == "GET" and self.profile.rate.pulls is not None:
            return self._pull()
        if request.method == "DELETE":
            return self._delete(route)
        return self._put(request, route) if request.method == "PUT" else None

    def _put(self, request: Request, route: Route) -> Refusal | None:
        switch = self.profile.manifests
        if self._unknown(route.repository):
            return switch.unknown_repository
        length = int(request.header("Content-Length") or 0)
        if switch.size_cap_bytes is not None and length > switch.size_cap_bytes:
            return switch.size_cap
        exists = self.store.manifest(route.repository, route.reference) is not None
        return switch.immutable_tags if exists else None

    def _alias(self, scope: Scope, route: Route) -> None:
        """Let the tag of a referrers index that is not there resolve to the subject itself."""
        algorithm, dash, rest = route.reference.partition("-")
        is_index = dash and "." not in rest  # cosign's tags are tags like any other
        if algorithm == "sha256" and is_index and route.reference not in self.store.tags(route.repository):
            scope["path"] = f"/v2/{route.repository}/manifests/sha256:{rest}"

    def _pull(self) -> Refusal | None:
        rate = self.profile.rate
        assert rate.pulls is not None
        self._forget_pulls()
        if len(self.pulls) < rate.pulls:
            self.pulls.append(self.clock.now_s)
            self.pulled += 1
            return None
        headers = (*rate.refusal.headers, *self._rate_headers())
        if rate.retry_after is not None:
            headers = (*headers, ("Retry-After", rate.retry_after))
        refusal = rate.refusal
        return Refusal(
            status=refusal.status, code=refusal.code, message=refusal.message, headers=headers, body=refusal.body
        )

    def _forget_pulls(self) -> None:
        self.pulls = [at for at in self.pulls if at > self.clock.now_s - self.profile.rate.window_s]

    def _rate_headers(self) -> tuple[tuple[str, str], ...]:
        rate = self.profile.rate
        if rate.pulls is None or not rate.headers:
            return ()
        self._forget_pulls()
        window = f"w={rate.window_s}"
        left = rate.pulls - len(self.pulls)
        return (("RateLimit-Limit", f"{rate.pulls};{window}"), ("RateLimit-Remaining", f"{left};{window}"))

    def _delete(self, route: Route) -> Refusal | None:
        switch = self.profile.deletes
        if ":" not in route.reference:
            return switch.tag
        if switch.manifest is not None:
            return switch.manifest
        digest = Digest.parse(route.reference)
        if switch.manifest_with_tags is not None and digest in self.store.tags(route.repository).values():
            return switch.manifest_with_tags
        if switch.referenced is not None:
            indexes = [
                found for found in self.store.manifests(route.repository).values() if found.media_type in INDEXES
            ]
            if any(str(digest) in found.raw.decode("utf-8", "replace") for found in indexes):
                return switch.referenced
        return None

    def _after_manifest(self, request: Request, answer: Answer) -> Answer:
        switch = self.profile.manifests
        reading = request.method in {"GET", "HEAD"} and answer.status == 200
        if switch.digest_header == "absent":
            answer = with_headers(answer, docker_content_digest=None)
        elif switch.digest_header == "false" and answer.header("Docker-Content-Digest") is not None:
            answer = with_headers(answer, docker_content_digest=str(Digest.of(b"something else")))
        if reading and switch.content_type_suffix:
            content_type = (answer.header("Content-Type") or "") + switch.content_type_suffix
            answer = with_headers(answer, content_type=content_type)
        if reading:
            rate = self._rate_headers()
            answer = Answer(status=answer.status, headers=(*answer.headers, *rate), body=answer.body)
        if answer.status == 400 and switch.missing_content_code != "MANIFEST_BLOB_UNKNOWN":
            body = answer.body.replace(b"MANIFEST_BLOB_UNKNOWN", switch.missing_content_code.encode())
            answer = with_headers(Answer(status=400, headers=answer.headers, body=body), content_length=None)
        if self.profile.referrers not in {"api", "subject-header-without-api"}:
            answer = with_headers(answer, oci_subject=None)
        return answer

    # Blobs

    def _blob(self, scope: Scope, request: Request, route: Route) -> Refusal | Answer | None:
        switch = self.profile.blobs
        if request.method == "DELETE":
            return self.profile.deletes.blob
        content = self._content(route)
        if content is None:
            return None
        if switch.redirect is not None and (request.method == "GET" or switch.redirect_head):
            target = self.storage.sign(request.method, route.repository, Digest.parse(route.reference))
            return Answer(status=switch.redirect, headers=(("Location", f"{self.storage_url}{target}"),))
        if not switch.ranges:
            replace_header(scope, "range", None)
        return None

    def _content(self, route: Route) -> bytes | None:
        try:
            return self.store.blob(route.repository, Digest.parse(route.reference))
        except InvalidDigestError:
            return None

    def _after_blob(self, request: Request, answer: Answer) -> Answer:
        switch = self.profile.blobs
        if answer.status in {200, 206} and request.method in {"GET", "HEAD"}:
            answer = with_headers(answer, content_type=switch.content_type)
            if switch.gzip and request.method == "GET":
                packed = Answer(status=200, headers=answer.headers, body=gzip.compress(answer.body, mtime=0))
                answer = with_headers(packed, content_encoding="gzip", content_length=None)
            if not switch.ranges:
                answer = with_headers(answer, accept_ranges=None)
        return answer

    # Uploads

    def _upload(self, scope: Scope, request: Request, route: Route) -> Refusal | Answer | None:
        switch = self.profile.uploads
        length = int(request.header("Content-Length") or 0)
        has_body = length > 0 or request.header("Transfer-Encoding") is not None
        if switch.max_body_bytes is not None and length > switch.max_body_bytes:
            html = b"<html><head><title>413 Request Entity Too Large</title></head></html>"
            return Answer(status=413, headers=(("Content-Type", "text/html"),), body=html)
        if request.method == "POST":
            return self._start(scope, request, route)
        if request.method == "PATCH":
            return self._chunk(scope, request, route, length)
        if request.method == "PUT":
            found = switch.put_body if has_body and route.reference not in self.first_ranges else None
        elif request.method == "DELETE":
            found = switch.delete
        else:
            found = self._check_status(request, route)
        return found

    def _check_status(self, request: Request, route: Route) -> Refusal | None:
        upload = self.store.upload(route.repository, route.reference)
        stale = upload is not None and request.query("_state") != upload.state
        if self.profile.uploads.status_needs_latest and stale:
            return Refusal(status=404, code="BLOB_UPLOAD_INVALID", message="blob upload invalid")
        return None

    def _start(self, scope: Scope, request: Request, route: Route) -> Refusal | Answer | None:
        switch = self.profile.uploads
        if self._unknown(route.repository):
            return self.profile.manifests.unknown_repository
        if request.query("mount") is not None and switch.mount != "done":
            if isinstance(switch.mount, Refusal):
                return switch.mount
            drop_query(scope, "mount", "from")
        if (wanted := request.query("mount")) is not None and switch.mount_from == "ignored":
            digest = Digest.parse(wanted)
            holders = [name for name in self.store.repositories() if digest in self.store.blobs(name)]
            drop_query(scope, "from")
            scope["query_string"] += f"&from={holders[0] if holders else route.repository}".encode()
        if request.query("digest") is not None and switch.single_post != "stored":
            if isinstance(switch.single_post, Refusal):
                return switch.single_post
            drop_query(scope, "digest")
        return None

    def _chunk(self, scope: Scope, request: Request, route: Route, length: int) -> Refusal | None:
        switch = self.profile.uploads
        if switch.patch is not None:
            return switch.patch
        if switch.max_chunk_bytes is not None and length > switch.max_chunk_bytes:
            limit = f"chunk too large: at most {switch.max_chunk_bytes / 2**20:.2f}MiB"
            return Refusal(status=416, code="BLOB_UPLOAD_INVALID", message=limit)
        if switch.min_chunk_bytes is not None:
            if route.reference in self.short_chunks:
                return Refusal(status=416, code="BLOB_UPLOAD_INVALID", message="chunk too small")
            if length < switch.min_chunk_bytes:
                self.short_chunks.add(route.reference)
        if switch.content_range == "required" and request.header("Content-Range") is None:
            return Refusal(status=416, code="RANGE_INVALID", message="Content-Range missing")
        if switch.content_range == "ignored":
            replace_header(scope, "content-range", None)
        return None

    def _after_upload(self, request: Request, route: Route, answer: Answer) -> Answer:
        switch = self.profile.uploads
        location = answer.header("Location")
        if location is not None:
            answer = with_headers(answer, location=self._location(location))
        if request.method == "POST" and answer.status == 202 and switch.min_chunk_bytes is not None:
            answer = with_headers(answer, oci_chunk_min_length=str(switch.min_chunk_bytes))
        stored = answer.header("Range")
        if stored is not None and request.method in {"PATCH", "GET"}:
            if request.method == "PATCH":
                self.first_ranges.setdefault(route.reference, stored)
            first = self.first_ranges.get(route.reference, stored)
            end = int(stored.partition("-")[2])
            shown = {"true": stored, "stale": first, "off-by-one": f"bytes=0-{end + 1}", "absent": None}
            answer = with_headers(answer, range=shown[switch.range_header])
        return answer

    def _location(self, location: str) -> str:
        return {
            "relative": location,
            "absolute": f"{self.scheme}://{self.host}{location}",
            "no-scheme": f"//{self.host}{location}",
            "http-downgrade": f"http://{self.host}{location}",
            "other-host": f"{self.storage_url}{location}",
        }[self.profile.uploads.location]

    def _unknown(self, repository: str) -> bool:
        """Say whether the repository must be created first and has not been."""
        if self.profile.manifests.create_on_push:
            return False
        if self.profile.manifests.projects:
            return repository.partition("/")[0] not in self.projects()
        return repository not in self.created and repository not in self.store.repositories()

    def projects(self) -> set[str]:
        """Return the first parts of paths that exist: made by somebody, or by what they hold."""
        return {name.partition("/")[0] for name in (*self.created, *self.store.repositories())}


def replace_header(scope: Scope, name: str, value: str | None) -> None:
    """Replace a header of the request that is passed on, or remove it."""
    key = name.encode("latin-1")
    kept = [pair for pair in scope["headers"] if pair[0].lower() != key]
    scope["headers"] = kept if value is None else [*kept, (key, value.encode("latin-1"))]


def drop_query(scope: Scope, *names: str) -> None:
    """Remove parameters from the query that is passed on."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    scope["query_string"] = urlencode([pair for pair in pairs if pair[0] not in names], quote_via=quote).encode()


def _rest(tags: list[str], last: str | None, *, skip: bool) -> list[str]:
    """Return the tags after ``last``; where it is gone, distribution 3.0.0 loses the tag in its place (``skip``)."""
    if not last:
        return tags
    if last in tags:
        return tags[tags.index(last) + 1 :]
    rest = [tag for tag in tags if tag > last]
    return rest[1:] if skip else rest
