"""distribution 2.8 and 3, and two registries of other makers that differ in known ways.

Source: distribution v2.8.2 as measured, v3.0.0 and main; reports on Artifactory and Nexus.
"""

from __future__ import annotations

from dataclasses import replace

from mirrord.oci.digest import Digest
from tests.fakes.profiles import DISTRIBUTION_V2, Auth, Manifests, Names, Profile, Refusal, TagList, Uploads

_NO_REFERRERS = DISTRIBUTION_V2.referrers

DISTRIBUTION = Profile(
    name="distribution",
    tags=TagList(page_entries=1000),
    uploads=Uploads(location="absolute", single_post="dropped"),
    manifests=Manifests(
        size_cap_bytes=4 * 1024 * 1024,
        size_cap=Refusal(status=400, code="MANIFEST_INVALID", message="http: request body too large"),
    ),
    referrers=_NO_REFERRERS,
)
"""distribution 3: pages of tags, checked chunks, deletion of a tag alone; no referrers API."""

DISTRIBUTION_3_0_0 = replace(DISTRIBUTION, name="distribution-3.0.0", tags=TagList(unknown_last="skip"))
"""The first release of 3, which loses a tag where the last one of a page vanishes."""

TOKENS = Auth(scheme="bearer", service="registry.test")

ARTIFACTORY = Profile(
    name="artifactory",
    auth=Auth(scheme="bearer", post=Refusal(status=401, code="UNAUTHORIZED")),
    tags=TagList(page_entries=10, link="wrong-path", odd_items=(str(Digest.of(b"an artifact")),)),
    uploads=Uploads(location="absolute", put_body=Refusal(status=405)),
    manifests=Manifests(head=Refusal(status=403, code="DENIED")),
    referrers=_NO_REFERRERS,
)
"""Old Artifactory: no POST for tokens, no blob in one PUT, no useful HEAD, and links of the wrong path."""

NEXUS = Profile(
    name="nexus",
    tags=TagList(page_entries=10, link="wrong-path", odd_items=(None,)),
    referrers=_NO_REFERRERS,
)
"""Nexus: links of an inner path, and null among the tags."""

NAMES_DISTRIBUTION = Names(registry="registry.test", tokens="tokens.registry.test", storage="s3.registry.test")
