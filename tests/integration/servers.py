"""Real registries on loopback ports: Debian's docker-registry, and nginx before it with TLS and passwords."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import yaml

from tests.integration.processes import READY_S, Process, ProcessError, find_tool, free_port

LOOPBACK = "127.0.0.1"
# One access line in Apache's combined format, as docker-registry writes it to its standard output.
COMBINED = re.compile(r'^\S+ - \S+ \[[^\]]*\] "([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) (\d+) ')
SETTLE_QUERY = "settle="


class LoggedRequest(NamedTuple):
    """One request as the access log of a server has it; `path` keeps the query."""

    method: str
    path: str
    status: int

    @property
    def route(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]


class Credentials(NamedTuple):
    """A user and a password that a server of the bench accepts."""

    username: str
    password: str

    @property
    def header(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Answer(NamedTuple):
    """A whole HTTP response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Server(Protocol):
    """What tools need to know to talk to a registry of the bench."""

    @property
    def address(self) -> str:
        """host:port, as it stands in references."""

    @property
    def credentials(self) -> Credentials | None:
        """What it accepts; None when it asks for nothing."""

    @property
    def ca_file(self) -> Path | None:
        """The authority that signed its certificate; None when it speaks plain HTTP."""


class HTTPServer:
    """A process that serves HTTP on one port and counts requests in its access log."""

    process: Process

    def __init__(self, *, port: int, credentials: Credentials | None, ca_file: Path | None) -> None:
        self.port = port
        self.credentials = credentials
        self.ca_file = ca_file
        self._log_start = 0
        self._settled = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """host:port, as it stands in references."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'http' if self.ca_file is None else 'https'}://{self.address}"

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.process.start()
        self.process.wait_until(self._answers, what=f"answering on {self.address}")

    def stop(self) -> None:
        """End the process in good order."""
        self.process.stop()

    def kill(self) -> None:
        """End the process at once (SIGKILL); storage and port stay for `start()`."""
        self.process.kill()

    def restart(self) -> None:
        """Stop and start again, on the same port and storage."""
        self.stop()
        self.start()

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        authorise: bool = True,
    ) -> Answer:
        """Send one request on a connection of its own, with the accepted credentials unless told otherwise."""
        sent = dict(headers or {})
        if authorise and self.credentials is not None:
            sent.setdefault("Authorization", self.credentials.header)
        connection = self._connect()
        try:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def requests(self) -> list[LoggedRequest]:
        """Return every request since the start or the last `forget_requests()`, in order of their end."""
        self._settle()
        return [request for request, _ in self._entries()]

    def bytes_sent(self) -> int:
        """Return how many bytes of response bodies were sent in those requests."""
        self._settle()
        return sum(size_bytes for _, size_bytes in self._entries())

    def forget_requests(self) -> None:
        """Count from here."""
        self._settle()
        self._log_start = self._log_file().stat().st_size

    def _log_file(self) -> Path:
        raise NotImplementedError

    def _parse(self, line: str) -> tuple[LoggedRequest, int] | None:
        raise NotImplementedError

    def _connect(self) -> http.client.HTTPConnection:
        if self.ca_file is None:
            return http.client.HTTPConnection(LOOPBACK, self.port, timeout=READY_S)
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection(LOOPBACK, self.port, timeout=READY_S, context=context)

    def _answers(self) -> bool:
        try:
            self.send("GET", f"/v2/?{SETTLE_QUERY}0")
        except OSError:
            return False
        return True

    def _entries(self) -> list[tuple[LoggedRequest, int]]:
        entries = []
        with self._log_file().open("rb") as file:
            file.seek(self._log_start)
            for line in file.read().decode("utf-8", "replace").splitlines():
                entry = self._parse(line)
                if entry is not None and SETTLE_QUERY not in entry[0].path:
                    entries.append(entry)
        return entries

    def _settle(self) -> None:
        """Wait until the access log has caught up.

        A server writes the line of a long response after its last byte, so a client may ask for the log before it
        is whole. A request of our own, once it is in the log, stands behind all that ended before it; two of them, one
        after the other, since a busy server may end a response and log the next request first.
        """
        for _ in range(2 if self.process.alive else 0):
            self._settled += 1
            mark = f"{SETTLE_QUERY}{os.getpid()}-{self._settled}"
            self.send("GET", f"/v2/?{mark}")
            self.process.wait_until(lambda: mark in self._log_file().read_text("utf-8", "replace"), what="done logging")  # noqa: B023 - called at once


class DockerRegistry(HTTPServer):
    """One docker-registry (distribution) process with its storage in a directory.

    Args:
        root: Directory for configuration, logs and, beneath `storage/`, content.
        credentials: Asked for by htpasswd; None serves everyone.
        delete: Whether manifests and blobs may be deleted.
        read_only: Whether writes are refused, as in maintenance.
        descriptor_cache: Whether what is known of blobs is kept in memory, beyond the life of their files.
        relative_locations: Whether `Location` headers leave scheme and host out.
        access_log: Whether requests are logged, as `requests()` needs them; a log grows as long as it runs.
        port: The port to listen on; None takes a free one.
    """

    def __init__(
        self,
        root: Path,
        *,
        credentials: Credentials | None = None,
        delete: bool = True,
        read_only: bool = False,
        descriptor_cache: bool = False,
        relative_locations: bool = False,
        access_log: bool = True,
        port: int | None = None,
    ) -> None:
        super().__init__(port=port or free_port(), credentials=credentials, ca_file=None)
        self.root = root
        self.storage = root / "storage"
        self.storage.mkdir(parents=True, exist_ok=True)
        storage: dict[str, object] = {
            "filesystem": {"rootdirectory": str(self.storage)},
            "delete": {"enabled": delete},
            "maintenance": {"uploadpurging": {"enabled": False}, "readonly": {"enabled": read_only}},
        }
        if descriptor_cache:
            storage["cache"] = {"blobdescriptor": "inmemory"}
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": not access_log}},
            "storage": storage,
            "http": {
                "addr": self.address,
                # Upload sessions are signed with it: with a fixed one they outlive a restart.
                "secret": "the bench keeps this secret over restarts",
                "relativeurls": relative_locations,
            },
        }
        if credentials is not None:
            file = root / "htpasswd"
            write_htpasswd(file, credentials)
            config["auth"] = {"htpasswd": {"realm": "bench", "path": str(file)}}
        config_file = root / "config.yml"
        config_file.write_text(yaml.safe_dump(config))
        self.process = Process(
            [tool("docker-registry"), "serve", str(config_file)],
            log_dir=root,
            name="docker-registry",
            # OTEL_* and REGISTRY_* of the surroundings would override the configuration.
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(root)},
        )

    def blob_file(self, digest: str) -> Path:
        """Return the file that holds a blob or manifest, for tests that damage it."""
        algorithm, _, encoded = digest.partition(":")
        return self.storage / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"

    def _log_file(self) -> Path:
        return self.process.stdout_file

    def _parse(self, line: str) -> tuple[LoggedRequest, int] | None:
        match = COMBINED.match(line)
        if match is None:
            return None
        method, path, status, size_bytes = match.groups()
        return LoggedRequest(method, path, int(status)), int(size_bytes)


class TLSFront(HTTPServer):
    """An nginx that ends TLS and asks for a password, before a registry that does neither.

    Args:
        root: Directory for configuration, logs and temporary files.
        backend: The registry that requests are forwarded to.
        certificate_file: Certificate chain in PEM form.
        key_file: Its private key in PEM form.
        ca_file: The authority that signed it.
        credentials: Asked for by nginx itself; None lets everyone in.
        forwarded_proto: Whether the registry is told that the client spoke https. Without it the registry answers
            with `Location: http://...`, a common mistake of operators.
        limit_bodies: Whether nginx keeps its default limit of 1 MiB for request bodies.
        compress: Whether nginx compresses every answer for those who accept it.
    """

    def __init__(
        self,
        root: Path,
        *,
        backend: DockerRegistry,
        certificate_file: Path,
        key_file: Path,
        ca_file: Path,
        credentials: Credentials | None = None,
        forwarded_proto: bool = True,
        limit_bodies: bool = False,
        compress: bool = False,
    ) -> None:
        super().__init__(port=free_port(), credentials=credentials, ca_file=ca_file)
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        auth = ""
        if credentials is not None:
            write_htpasswd(root / "htpasswd", credentials)
            auth = f'auth_basic "bench"; auth_basic_user_file {root}/htpasswd;'
        # Workers of a master that runs as root would become `nobody`, who cannot read the directories of tests.
        user = "user root;" if os.geteuid() == 0 else ""
        temporary = "\n".join(
            f"  {name}_temp_path {root}/tmp-{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config_file = root / "nginx.conf"
        config_file.write_text(f"""\
{user}
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 512; }}
http {{
{temporary}
  log_format bench escape=json '{{"method":"$request_method","path":"$request_uri","status":$status,'
    '"sent":$body_bytes_sent,"upstream":"$upstream_addr"}}';
  access_log {root}/access.log bench;
  server {{
    listen {self.address} ssl;
    ssl_certificate {certificate_file};
    ssl_certificate_key {key_file};
    {"" if limit_bodies else "client_max_body_size 0;"}
    {"gzip on; gzip_types *; gzip_proxied any; gzip_min_length 0;" if compress else ""}
    location / {{
      {auth}
      proxy_pass {backend.url};
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header Authorization "";
      {"proxy_set_header X-Forwarded-Proto $scheme;" if forwarded_proto else ""}
    }}
  }}
}}
""")
        (root / "access.log").touch()
        self.process = Process(
            [tool("nginx"), "-e", str(root / "error.log"), "-p", str(root), "-c", str(config_file)],
            log_dir=root,
            name="nginx",
        )

    def forwarded(self) -> list[LoggedRequest]:
        """Return the requests that reached the registry behind, without those that nginx refused itself."""
        self._settle()
        with self._log_file().open("rb") as file:
            file.seek(self._log_start)
            lines = [json.loads(line) for line in file.read().splitlines()]
        return [
            LoggedRequest(line["method"], line["path"], line["status"])
            for line in lines
            if line["upstream"] and SETTLE_QUERY not in line["path"]
        ]

    def _log_file(self) -> Path:
        return self.root / "access.log"

    def _parse(self, line: str) -> tuple[LoggedRequest, int] | None:
        entry = json.loads(line)
        return LoggedRequest(entry["method"], entry["path"], entry["status"]), entry["sent"]


def write_htpasswd(file: Path, credentials: Credentials) -> None:
    """Write a password file with one bcrypt entry, at the lowest cost: every request pays it."""
    done = subprocess.run(
        [tool("htpasswd"), "-i", "-n", "-B", "-C", "4", credentials.username],
        input=credentials.password,
        capture_output=True,
        text=True,
        check=True,
        timeout=READY_S,
    )
    file.write_text(done.stdout)


def tool(name: str) -> str:
    """Return the path of a system tool.

    Raises:
        ProcessError: It is not installed; fixtures have asked `require_tool` before.
    """
    path = find_tool(name)
    if path is None:
        raise ProcessError(f"{name} is not installed")
    return path
