"""What the handbook tells people to copy works as it stands: nginx before a registry, and the gate of a pipeline."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import scenes
from tests.integration.command import Finished, Mirrord
from tests.integration.conftest import Certificate, RequireTool, RunMirrord
from tests.integration.daemon import Daemon
from tests.integration.processes import Process, free_port
from tests.integration.scenes import noise
from tests.integration.servers import Credentials, DockerRegistry, tool, write_htpasswd

HOW_TO = Path(__file__).parents[2] / "docs/how-to"
USER = Credentials("mirror", "correct horse: battery")
LARGE = 3 * 1024 * 1024
"""More than nginx takes by default, in bytes."""


def shown(page: str, language: str, beginning: str) -> str:
    """Return the one block of a page that begins so."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", (HOW_TO / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [str(block) for block in blocks if block.startswith(beginning)]
    return found


@pytest.fixture
def front(tmp_path: Path, target: DockerRegistry, certificate: Certificate, require_tool: RequireTool) -> Iterator[str]:
    """The nginx of the page before the registry `target`; yields its address. Only ports and paths are changed."""
    require_tool("nginx", "htpasswd")
    root = tmp_path / "nginx"
    root.mkdir()
    write_htpasswd(root / "registry.htpasswd", USER)
    port = free_port()
    text = shown("use-a-private-registry.md", "nginx", "upstream registry {")
    for here, there in (
        ("127.0.0.1:5000", target.address),
        ("listen 5443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/registry.pem", str(certificate.certificate_file)),
        ("/etc/nginx/registry.key", str(certificate.key_file)),
        ("/etc/nginx/registry.htpasswd", str(root / "registry.htpasswd")),
    ):
        assert here in text
        text = text.replace(here, there)
    temporary = "".join(
        f"{name}_temp_path {root}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (root / "nginx.conf").write_text(
        f"{user} daemon off; pid {root}/pid; error_log {root}/error.log; events {{}}\n"
        f"http {{ access_log {root}/access.log; {temporary}\n{text} }}\n"
    )
    command = [tool("nginx"), "-e", str(root / "error.log"), "-p", str(root), "-c", str(root / "nginx.conf")]
    with Process(command, log_dir=root, name="nginx") as process:
        process.wait_until((root / "pid").exists, what="answering")
        yield f"127.0.0.1:{port}"


def private_config(tmp_path: Path, source: DockerRegistry, front: str, ca_file: Path, password: str) -> Path:
    (tmp_path / "pw").write_text(password)
    entries = {
        source.address: {"plain_http": True},
        front: {"username": USER.username, "password": {"file": "pw"}, "tls": {"ca_file": str(ca_file)}},
    }
    rule = {"name": "app", "source": f"{source.address}/team/app", "targets": [f"{front}/mirror/app"]}
    return scenes.write_config(tmp_path, [rule], entries)


def test_nginx_of_the_page_lets_large_layers_through_and_a_second_run_finds_them(
    source: DockerRegistry, front: str, certificate: Certificate, run_mirrord: RunMirrord, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, LARGE)])
    config = private_config(tmp_path, source, front, certificate.ca_file, USER.password)
    first = run_mirrord("sync", "--once", "-c", str(config))
    second = run_mirrord("sync", "--once", "-c", str(config))

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert "1 image: 1 copied" in first.stdout
    assert "nothing to do" in second.stdout


def test_nginx_of_the_page_refuses_a_wrong_password(
    source: DockerRegistry, front: str, certificate: Certificate, run_mirrord: RunMirrord, tmp_path: Path
) -> None:
    scenes.push_image(source, "team/app", "1", [noise(1, 5000)])
    config = private_config(tmp_path, source, front, certificate.ca_file, "wrong")
    done = run_mirrord("sync", "--once", "-c", str(config))

    assert done.code == 1
    assert "AUTH_REJECTED" in done.stdout


def test_gate_of_the_page_passes_when_every_target_serves_the_tag_and_fails_else(
    source: DockerRegistry, target: DockerRegistry, mirrord: Mirrord, require_tool: RequireTool, tmp_path: Path
) -> None:
    require_tool("curl")
    scenes.push_image(source, "team/web", "1.2.0", [noise(1, 5000)])
    entries = {registry.address: {"plain_http": True} for registry in (source, target)}
    rule = {"name": "web", "source": f"{source.address}/team/web", "targets": [f"{target.address}/mirror/web"]}
    gate = tmp_path / "gate.sh"
    gate.write_text(shown("gate-a-release.md", "sh", "#!/bin/sh\n# gate.sh").replace("sleep 2", "sleep 0.1"))
    with Daemon(mirrord, scenes.write_config(tmp_path, [rule], entries)) as daemon:
        missing = ask(gate, daemon, "1.3.0")
        scenes.push_image(source, "team/web", "1.3.0", [noise(2, 5000)])
        there = ask(gate, daemon, "1.3.0")
        scenes.push_image(source, "team/web", "1.4.0", [noise(3, 5000)])
        target.stop()
        down = ask(gate, daemon, "1.4.0")

    assert (missing.code, there.code, down.code) == (1, 0, 1)
    assert there.stdout.startswith(f"in_sync {target.address}/mirror/web:1.3.0 ")
    assert down.stdout.startswith(f"failed {target.address}/mirror/web:1.4.0 ")


def ask(gate: Path, daemon: Daemon, tag: str) -> Finished:
    """Run the gate for a tag of the rule `web`."""
    env = {
        "PATH": os.environ["PATH"],
        "MIRRORD_URL": daemon.url.rstrip("/"),
        "MIRRORD_API_TOKEN_FILE": str(daemon.token_file),
    }
    done = subprocess.run(
        ["/bin/sh", str(gate), "web", tag], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    return Finished(done.returncode, done.stdout, done.stderr)
