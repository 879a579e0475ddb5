"""zot, emulated: htpasswd, the referrers API, and oddities of its own in listings, mounts and deletions.

Source: zot, pkg/api/authn.go, pkg/api/routes.go, pkg/api/session.go.
"""

from __future__ import annotations

from tests.fakes.profiles import Auth, Deletes, Manifests, Names, Profile, Rate, Refusal, TagList, Uploads

ZOT = Profile(
    name="zot",
    auth=Auth(scheme="basic", bare_refusals=True),
    tags=TagList(link="raw", unknown_last="gone"),
    uploads=Uploads(location="relative", range_header="stale", single_post="stored", mount_from="ignored"),
    manifests=Manifests(missing_content_code="BLOB_UNKNOWN", size_cap_bytes=4 * 1024 * 1024),
    deletes=Deletes(referenced=Refusal(status=405, code="DENIED", message="the manifest is referenced by an index")),
    referrers="api",
    api_version_header=False,
)
"""A zot with htpasswd and no extension. ``range_header`` is that of a version of 2025."""

LIMITED = Rate(
    pulls=1,
    window_s=1,
    headers=False,
    refusal=Refusal(status=429, headers=(("Content-Type", "text/plain"),), body=b"Too Many Requests\n"),
)
"""Its limiter, for ``Profile.rate``: an answer in plain text, without a hint."""

CONFLICT = Refusal(status=409, code="CONFLICT", message="several tags name this digest")
NAMES_ZOT = Names(registry="zot.test")
