"""Runs an image as a container engine would confine it: as process 1, read-only, without capabilities.

Namespaces of the kernel do it, by util-linux; no engine is needed. The network is that of the machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.image.building import Image
from tests.integration.command import Finished
from tests.integration.processes import Process
from tests.integration.servers import tool

USER = 65532
RUN_S = 50.0
# $1 root of the image, $2 and $3 directories for /etc/mirrord and /var/lib/mirrord, $4 the user; then the command.
CONFINE = """
set -e
root=$1 etc=$2 state=$3 user=$4
shift 4
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for device in null urandom; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$etc" "$root/etc/mirrord"
mount -o remount,bind,ro "$root/etc/mirrord"
[ -z "$state" ] || mount --bind "$state" "$root/var/lib/mirrord"
mount -o remount,bind,ro "$root"
cd /
exec setpriv --no-new-privs --bounding-set=-all,+setuid,+setgid,+sys_chroot \
    chroot --userspec="$user:$user" --groups= "$root" "$@"
"""


@dataclass
class Container:
    """An image, what is mounted into it, and how it is run.

    Attributes:
        image: the image.
        etc: shown as /etc/mirrord.
        state: shown as /var/lib/mirrord; None: there is no volume.
        logs: where output of processes that stay goes.
        env: variables beside those of the image.
        user: whose the processes are.
    """

    image: Image
    etc: Path
    state: Path | None
    logs: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: int = USER

    def run(self, *arguments: str) -> Finished:
        """Run the entry point with arguments to its end; without any, with those that are its default."""
        done = subprocess.run(
            self._command(arguments),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=RUN_S,
        )
        return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str) -> Process:
        """Start the entry point as process 1 of a container."""
        process = Process(self._command(arguments), log_dir=self.logs, name="container", env=self._environment())
        process.start()
        return process

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        entry = self.image.config["config"]["Entrypoint"]
        command = [*entry, *arguments] if arguments else self.image.command
        spaces = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
        places = [str(self.image.root), str(self.etc), str(self.state or ""), str(self.user)]
        return [tool("unshare"), *spaces, "--", tool("sh"), "-c", CONFINE, "confine", *places, *command]

    def _environment(self) -> dict[str, str]:
        return {**self.image.env, **self.env}


def process_one(process: Process) -> int:
    """Return the id, outside, of what is process 1 inside."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()[0])


def stop(process: Process, number: signal.Signals) -> int:
    """Send a signal as an engine does to stop a container; return its exit status."""
    os.kill(process_one(process), number)
    return process.wait(30)
