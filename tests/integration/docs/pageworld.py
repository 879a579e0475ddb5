"""Where a page's commands find what the page presumes: registries on its very ports, in a network of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.integration.servers import DockerRegistry

BRING_UP = """\
import fcntl, socket, struct, sys
IFF_UP, SIOCSIFFLAGS = 0x1, 0x8914
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
print("up", flush=True)
sys.stdin.read()
"""
LISTENING = "0A"


class NoNamespaceError(Exception):
    """This user or machine may not make a network namespace."""


@contextmanager
def private_network() -> Iterator[tuple[str, ...]]:
    """Make a network with nothing but a loopback, whose ports are all free; yield what a command has put before it.

    Raises:
        NoNamespaceError: the kernel does not let us.
    """
    as_user = os.geteuid() != 0
    make = ["unshare", "--net", *(["--map-root-user"] if as_user else []), "--"]
    holder = subprocess.Popen(
        [*make, sys.executable, "-I", "-c", BRING_UP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    try:
        if holder.stdout.readline() != "up\n":
            raise NoNamespaceError(holder.communicate()[1].strip())
        enter = ["--user", "--preserve-credentials"] if as_user else []
        yield ("nsenter", f"--target={holder.pid}", *enter, "--net", "--")
    finally:
        holder.kill()
        holder.communicate()


class RegistryInside(DockerRegistry):
    """A docker-registry in a network of its own: only those who are in it can ask it."""

    def __init__(self, root: Path, *, port: int, prefix: Sequence[str]) -> None:
        super().__init__(root, port=port, access_log=False)
        self.process.command[:0] = prefix

    def _answers(self) -> bool:
        return listens(self.process.pid, self.port)


def listens(pid: int, port: int) -> bool:
    """Whether something listens on a loopback port in the network of a process."""
    wanted = f"0100007F:{port:04X}"
    sockets = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return any(fields[1] == wanted and fields[3] == LISTENING for fields in sockets)
