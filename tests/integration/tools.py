"""Tools of other makers that tests use as builders, clients and witnesses: skopeo and buildah."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.servers import Server, tool

TOOL_S = 60.0


class ToolError(Exception):
    """A tool ended with a failure; the message carries what it wrote."""


class Skopeo:
    """skopeo, with the flags that a server of the bench needs.

    Args:
        work_dir: Directory for certificates and temporary files.
    """

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._program = tool("skopeo")

    def run(self, *arguments: str) -> str:
        """Run skopeo and return its standard output.

        Raises:
            ToolError: It ended with a failure.
        """
        return self._run(*arguments).decode()

    def push(self, layout: Path, server: Server, name: str, *, docker_format: bool = False) -> str:
        """Push all of an OCI layout to `name` (repository:tag) and return the digest of its root.

        Args:
            layout: Directory of an OCI image layout with one root.
            server: Where to push.
            name: Repository and tag.
            docker_format: Whether manifests become Docker's schema 2 and manifest lists.
        """
        form = ["--format", "v2s2"] if docker_format else []
        self.run("copy", "--all", *form, *self._flags(server, "dest-"), f"oci:{layout}", reference(server, name))
        return self.digest(server, name)

    def copy(self, source: Server, source_name: str, target: Server, target_name: str) -> None:
        """Copy an image with all its platforms from one server to another."""
        flags = [*self._flags(source, "src-"), *self._flags(target, "dest-")]
        self.run("copy", "--all", *flags, reference(source, source_name), reference(target, target_name))

    def pull(self, server: Server, name: str, layout: Path) -> None:
        """Pull an image with all its platforms into an OCI layout; skopeo checks every digest on the way."""
        self.run("copy", "--all", *self._flags(server, "src-"), reference(server, name), f"oci:{layout}")

    def digest(self, server: Server, name: str) -> str:
        """Return the digest behind a tag, hashed by skopeo from the manifest that the server sends."""
        return self._manifest_digest(self.manifest(server, name))

    def manifest(self, server: Server, name: str) -> bytes:
        """Return the raw bytes of the manifest or index behind a tag or digest."""
        return self._run("inspect", "--raw", *self._flags(server, ""), reference(server, name))

    def tags(self, server: Server, repository: str) -> list[str]:
        """Return the tags of a repository, sorted."""
        listing = json.loads(self.run("list-tags", *self._flags(server, ""), reference(server, repository)))
        return sorted(listing["Tags"])

    def _run(self, *arguments: str) -> bytes:
        command = [self._program, "--insecure-policy", "--tmpdir", str(self._work_dir), *arguments]
        return run_tool(command, home=self._work_dir)

    def _manifest_digest(self, manifest: bytes) -> str:
        file = self._work_dir / "manifest.json"
        file.write_bytes(manifest)
        return self.run("manifest-digest", str(file)).strip()

    def _flags(self, server: Server, prefix: str) -> list[str]:
        flags = []
        if server.ca_file is None:
            flags.append(f"--{prefix}tls-verify=false")
        else:
            flags.append(f"--{prefix}cert-dir={self._certificates(server.ca_file)}")
        if server.credentials is None:
            flags.append(f"--{prefix}no-creds")
        else:
            flags.append(f"--{prefix}creds={server.credentials.username}:{server.credentials.password}")
        return flags

    def _certificates(self, ca_file: Path) -> Path:
        directory = self._work_dir / "certificates"
        directory.mkdir(exist_ok=True)
        # skopeo takes authorities from files that end in .crt, and nothing else.
        shutil.copyfile(ca_file, directory / "ca.crt")
        return directory


class Buildah:
    """buildah, building images from scratch in a store of its own, without any kernel feature.

    Args:
        work_dir: Directory for the image store.
    """

    def __init__(self, work_dir: Path) -> None:
        self._work_dir = work_dir
        self._program = tool("buildah")
        self._built: set[str] = set()

    def run(self, *arguments: str) -> str:
        """Run buildah and return its standard output.

        Raises:
            ToolError: It ended with a failure.
        """
        store = ["--root", str(self._work_dir / "root"), "--runroot", str(self._work_dir / "run")]
        # No helper such as fuse-overlayfs, no mount: vfs works in every container.
        return run_tool([self._program, *store, "--storage-driver", "vfs", *arguments], home=self._work_dir).decode()

    def build(
        self,
        name: str,
        *,
        base: str = "scratch",
        files: Mapping[str, Path] | None = None,
        texts: Mapping[str, str] | None = None,
        architecture: str | None = None,
        entrypoint: Sequence[str] = (),
    ) -> str:
        """Commit an image with one layer upon `base` to the store; once only for each name.

        Args:
            name: What the store calls it.
            base: An image of the store, or `scratch`.
            files: Path in the image to a file outside.
            texts: Path in the image to the content of a file.
            architecture: Stated in the config; None keeps that of the base.
            entrypoint: Program and arguments.

        Returns:
            The name.
        """
        if name in self._built:
            return name
        container = self.run("from", "--quiet", base).strip()
        for inside, outside in (files or {}).items():
            self.run("copy", "--quiet", container, str(outside), inside)
        for inside, text in (texts or {}).items():
            written = self._work_dir / "text"
            written.write_text(text)
            self.run("copy", "--quiet", container, str(written), inside)
        config = ["--entrypoint", json.dumps(list(entrypoint))] if entrypoint else []
        config += ["--arch", architecture] if architecture else []
        self.run("config", *config, container)
        self.run("commit", "--quiet", "--rm", container, name)
        self._built.add(name)
        return name

    def save(self, name: str, layout: Path) -> None:
        """Write an image of the store as an OCI image layout."""
        self.run("push", "--quiet", name, f"oci:{layout}:latest")

    def save_index(self, name: str, images: Sequence[str], layout: Path) -> None:
        """Write an index over images of the store, with all of them, as an OCI image layout."""
        self.run("manifest", "create", name)
        for image in images:
            self.run("manifest", "add", name, f"containers-storage:{image}")
        self.run("manifest", "push", "--quiet", "--all", "--format", "oci", name, f"oci:{layout}:latest")

    def run_image(self, server: Server, name: str, *command: str) -> str:
        """Pull an image from a server over plain HTTP, run a command in it and return what it printed."""
        container = self.run("from", "--quiet", "--tls-verify=false", reference(server, name)).strip()
        try:
            return self.run("run", "--isolation", "chroot", container, "--", *command)
        finally:
            self.run("rm", container)


def reference(server: Server, name: str) -> str:
    """Return `name` at a server in the form that skopeo and buildah take."""
    return f"docker://{server.address}/{name}"


def run_tool(command: Sequence[str], *, home: Path, timeout_s: float = TOOL_S) -> bytes:
    """Run a command with a home of its own, where no credential of the user is found; return its standard output.

    Raises:
        ToolError: It ended with a failure.
    """
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    env |= dict.fromkeys(("HOME", "TMPDIR", "XDG_RUNTIME_DIR"), str(home))
    done = subprocess.run(command, env=env, capture_output=True, check=False, timeout=timeout_s)
    if done.returncode != 0:
        written = done.stderr.decode("utf-8", "replace").strip()
        raise ToolError(f"{Path(command[0]).name} ended with {done.returncode}:\n{written}")
    return done.stdout
