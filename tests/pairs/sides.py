"""The two sides of a mirror, emulated or real: filled, mirrored to, and looked into without mirrord."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.ports.settings import RegistrySettings
from tests.fakes.images import Content
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import is_whole, put
from tests.integration.servers import HTTPServer
from tests.pairs.content import Shelf

WRITES = frozenset({"PUT", "POST", "PATCH", "DELETE"})


class Side(Protocol):
    """One registry of a pair. ``host`` is what stands in references, ``settings`` what stands in the configuration."""

    @property
    def host(self) -> str: ...

    @property
    def settings(self) -> RegistrySettings: ...

    @property
    def has_referrers_api(self) -> bool:
        """Whether it tells what is attached to an image; else the fallback tag does."""

    def fill(self, path: str, shelf: Shelf) -> None:
        """Put content into a repository, past mirrord, as clients do that know the registry."""

    def lacks(self, path: str, shelf: Shelf) -> list[str]:
        """Return what a repository does not hold of a shelf, byte for byte and under its tags."""

    def writes(self) -> list[str]:
        """Return the requests that changed something, or tried to, since `forget`."""

    def repositories(self) -> set[str]:
        """Return what repositories there are, empty ones too."""

    def pulls(self) -> int:
        """Return how many pulls were counted against a quota so far; 0 where nothing is counted."""

    def forget(self) -> None:
        """Count requests from here."""


@dataclass(frozen=True, slots=True)
class Emulated(Side):
    """An emulated registry under its public name."""

    registry: FakeRegistry
    known_as: str
    entry: RegistrySettings

    @property
    def host(self) -> str:
        return self.known_as

    @property
    def settings(self) -> RegistrySettings:
        return self.entry

    @property
    def has_referrers_api(self) -> bool:
        return self.registry.profile.referrers in {"api", "api-without-subject-header"}

    def fill(self, path: str, shelf: Shelf) -> None:
        tagged = shelf.tagged if self.has_referrers_api else {**shelf.tagged, **shelf.listed}
        for tag, content in tagged.items():
            put(self.registry, path, content, tag)
        for content in shelf.attached:
            put(self.registry, path, content)

    def lacks(self, path: str, shelf: Shelf) -> list[str]:
        tags = self.registry.store.tags(path)
        wrong = [
            f"{tag} is {tags.get(tag)}" for tag, content in shelf.tagged.items() if tags.get(tag) != content.digest
        ]
        for tag, content in {} if self.has_referrers_api else shelf.listed.items():
            index = self.registry.store.manifest(path, tag)
            wrong += unlisted(tag, content, index.raw if index is not None else b"{}")
        return wrong + [
            f"{content.digest} is not whole"
            for content in shelf.everything
            if not is_whole(self.registry, path, content.digest)
        ]

    def writes(self) -> list[str]:
        records = self.registry.traffic.records
        return [
            f"{r.method} {r.target.decode()}" for r in records if r.method in WRITES and r.kind not in {"token", "api"}
        ]

    def repositories(self) -> set[str]:
        return {*self.registry.store.repositories(), *self.registry.switches.created}

    def pulls(self) -> int:
        return self.registry.switches.pulled if self.registry.profile.rate.pulls is not None else 0

    def forget(self) -> None:
        self.registry.traffic.clear()


@dataclass(frozen=True, slots=True)
class Real(Side):
    """A docker-registry behind nginx with TLS and a password."""

    front: HTTPServer
    backend: HTTPServer
    entry: RegistrySettings

    @property
    def host(self) -> str:
        return self.front.address

    @property
    def settings(self) -> RegistrySettings:
        return self.entry

    @property
    def has_referrers_api(self) -> bool:
        return False

    def fill(self, path: str, shelf: Shelf) -> None:
        tagged = {**shelf.tagged, **shelf.listed}
        for content in (*shelf.everything, *shelf.listed.values()):
            for digest, raw in content.blobs.items():
                location = self.backend.send("POST", f"/v2/{path}/blobs/uploads/").headers["location"]
                target = location[location.index("/v2/") :]
                assert self.backend.send("PUT", f"{target}&digest={digest}", body=raw).status == 201
            for manifest in content.graph().manifests:
                self._put(path, str(manifest.descriptor.digest), manifest.raw, manifest.descriptor)
        for tag, content in tagged.items():
            self._put(path, tag, content.raw, content.descriptor)

    def lacks(self, path: str, shelf: Shelf) -> list[str]:
        wrong = []
        for tag, content in shelf.tagged.items():
            wrong += self._differs(path, tag, content.raw, content.descriptor)
        for tag, content in shelf.listed.items():
            headers = {"Accept": content.descriptor.media_type}
            wrong += unlisted(
                tag, content, self.backend.send("GET", f"/v2/{path}/manifests/{tag}", headers=headers).body
            )
        for content in shelf.everything:
            for manifest in content.manifests.values():
                wrong += self._differs(path, str(manifest.descriptor.digest), manifest.raw, manifest.descriptor)
            for digest in content.blobs:
                answer = self.backend.send("GET", f"/v2/{path}/blobs/{digest}")
                wrong += [] if Digest.of(answer.body) == digest else [f"blob {digest}: {answer.status}"]
        return wrong

    def writes(self) -> list[str]:
        return [f"{r.method} {r.path}" for r in self.front.requests() if r.method in WRITES]

    def repositories(self) -> set[str]:
        return set(json.loads(self.backend.send("GET", "/v2/_catalog").body)["repositories"])

    def pulls(self) -> int:
        return 0

    def forget(self) -> None:
        self.front.forget_requests()

    def _put(self, path: str, ref: str, raw: bytes, descriptor: Descriptor) -> None:
        headers = {"Content-Type": descriptor.media_type}
        answer = self.backend.send("PUT", f"/v2/{path}/manifests/{ref}", body=raw, headers=headers)
        assert answer.status == 201, answer.body

    def _differs(self, path: str, ref: str, raw: bytes, descriptor: Descriptor) -> list[str]:
        headers = {"Accept": descriptor.media_type}
        answer = self.backend.send("GET", f"/v2/{path}/manifests/{ref}", headers=headers)
        return [] if answer.body == raw else [f"{ref}: {answer.status}"]


def unlisted(tag: str, content: Content, raw: bytes) -> list[str]:
    """Return what the index under a fallback tag does not list of what it should; its order and fields are free."""
    entries = json.loads(raw).get("manifests", [])
    listed = {entry["digest"] for entry in entries}
    return [
        f"{tag} does not list {child.digest}" for child in content.index.children() if str(child.digest) not in listed
    ]
