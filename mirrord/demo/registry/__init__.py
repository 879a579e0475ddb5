"""A small OCI registry in memory: spec behaviour, no faults, as a plain ASGI application.

It behaves as distribution v3 does, with the referrers API on. Source: distribution-spec v1.1.1 spec.md.
"""

from mirrord.demo.registry.app import BasicUser, RegistryApp
from mirrord.demo.registry.store import Store, StoredManifest
from mirrord.demo.registry.traffic import RequestRecord, Traffic

__all__ = ["BasicUser", "RegistryApp", "RequestRecord", "Store", "StoredManifest", "Traffic"]
