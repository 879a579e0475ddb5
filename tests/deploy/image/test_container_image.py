"""The container image, built as its users build it and run as an engine runs it: read-only, as user 65532."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from packaging.utils import canonicalize_name

import mirrord
from tests.conftest import IN_CI
from tests.deploy.image.building import (
    ROOT,
    Builder,
    Image,
    arguments_of,
    compressed_sizes,
    fetch_wheels,
    make_base,
    make_uv,
    uv,
)
from tests.deploy.image.confined import USER, Container, stop
from tests.integration.conftest import RequireTool
from tests.integration.processes import free_port
from tests.integration.scenes import noise, push_image, tag_digest
from tests.integration.servers import DockerRegistry, TLSFront

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

NAME = "localhost/mirrord:test"
REVISION = "0123456789abcdef0123456789abcdef01234567"
CREATED = "2026-11-25T12:00:00Z"
MB = 1_000_000
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
BASE, UV = arguments_of(DOCKERFILE)["BASE"], arguments_of(DOCKERFILE)["UV"]
TOKEN = "a-token-of-the-tests"
LABEL = "org.opencontainers.image."

Contain = Callable[..., Container]


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Iterator[Builder]:
    require_tool("buildah", "mmdebstrap", "unshare", "setpriv")
    if os.geteuid() != 0:
        (pytest.fail if IN_CI else pytest.skip)("only root makes a base image and builds upon it here")
    if not Path(uv()).exists():
        (pytest.fail if IN_CI else pytest.skip)("there is no uv beside the Python of the tests, as it builds the image")
    made = Builder(tmp_path_factory.mktemp("image"))
    make_base(made, BASE)
    make_uv(made, UV)
    fetch_wheels(made, BASE, made.directory)
    yield made
    made.clear()


@pytest.fixture(scope="module")
def image(builder: Builder) -> Image:
    facts = {"VERSION": mirrord.__version__, "REVISION": REVISION, "CREATED": CREATED}
    builder.build(NAME, *(f"--build-arg={name}={value}" for name, value in facts.items()))
    return builder.open(NAME)


@pytest.fixture
def contain(image: Image, tmp_path: Path) -> Iterator[Contain]:
    """Give a container with a configuration of two registries; the state is a volume unless told otherwise."""

    def make(config: str = "", *, token: bool = True, volume: bool = True, user: int = USER) -> Container:
        etc, state = tmp_path / "etc", tmp_path / "state"
        (etc / "token").mkdir(parents=True)
        if config:
            (etc / "mirrord.yaml").write_text(config, "utf-8")
        if token:
            (etc / "token" / "token").write_text(TOKEN, "utf-8")
        state.mkdir(mode=0o700)
        os.chown(state, user, user)
        return Container(image, etc, state if volume else None, tmp_path, user=user)

    before = snapshot(image.root)
    yield make
    assert snapshot(image.root) == before, "something was written outside /tmp and /var/lib/mirrord"


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory, require_tool: RequireTool) -> Iterator[list[DockerRegistry]]:
    """A registry with an image of two tags, and an empty one."""
    require_tool("docker-registry")
    directory = tmp_path_factory.mktemp("registries")
    with DockerRegistry(directory / "source") as source, DockerRegistry(directory / "target") as target:
        for number in (1, 2):
            push_image(source, "shop/web", f"1.{number}", [noise(number, 20_000)])
        yield [source, target]


def rules(registries: list[DockerRegistry], target: str) -> str:
    """Return a configuration that mirrors from one registry to a repository of the other."""
    source, other = registries
    rule = {"name": "web", "source": f"{source.address}/shop/web", "targets": [f"{other.address}/{target}"]}
    plain = {server.address: {"plain_http": True} for server in registries}
    return json.dumps({"version": 1, "registries": plain, "rules": [rule]})


def snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    """Return size, mode and time of every file of an image."""
    found = {}
    for directory, _, names in os.walk(root):
        for name in (*names, "."):
            path = f"{directory}/{name}"
            status = os.lstat(path)
            found[path] = (status.st_size, status.st_mode, status.st_mtime_ns)
    return found


def files(image: Image) -> list[str]:
    """Return the paths of everything in an image."""
    return [path.removeprefix(str(image.root)) for path in snapshot(image.root)]


# What the image says of itself


def test_image_runs_the_service_as_a_user_without_rights_and_is_asked_how_it_is(image: Image) -> None:
    config = image.config["config"]

    assert image.command == ["mirrord", "sync"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "mirrord", "healthcheck"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert not config.get("Volumes")


def test_image_says_what_it_was_made_of(image: Image) -> None:
    labels = image.config["config"]["Labels"]

    assert labels[f"{LABEL}title"] == "mirrord"
    assert labels[f"{LABEL}version"] == mirrord.__version__
    assert labels[f"{LABEL}revision"] == REVISION
    assert labels[f"{LABEL}created"] == CREATED
    assert labels[f"{LABEL}licenses"] == "Apache-2.0"
    assert labels[f"{LABEL}source"] == "https://github.com/mirrord/mirrord"
    assert labels[f"{LABEL}base.name"] == BASE


def test_image_has_only_variables_that_are_no_secret(image: Image) -> None:
    assert {name: value for name, value in image.env.items() if name.startswith(("MIRRORD_", "DOCKER_"))} == {
        "MIRRORD_CONFIG": "/etc/mirrord/mirrord.yaml",
        "MIRRORD_STATE": "sqlite:///var/lib/mirrord/state.db",
        "MIRRORD_LISTEN": ":8080",
        "MIRRORD_API_TOKEN_FILE": "/etc/mirrord/token/token",
        "DOCKER_CONFIG": "/etc/mirrord/docker",
    }
    assert set(image.env) - {name for name in image.env if name.startswith(("MIRRORD_", "DOCKER_"))} == {
        *("HOME", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    }


# What is in it


def test_image_has_the_versions_of_the_lock_and_those_alone(image: Image) -> None:
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    there: dict[str, str] = {}
    for path in files(image):
        if match := re.fullmatch(r"/opt/mirrord/lib/[^/]+/site-packages/([^/]+)-([^/-]+)\.dist-info/METADATA", path):
            there[str(canonicalize_name(match[1]))] = match[2]

    assert there.pop("mirrord") == mirrord.__version__
    assert {name: locked.get(name) for name in there} == there
    assert {"boto3", "google-auth", "aiohttp", "uvloop"} <= set(there)


def test_image_has_no_installer_no_compiler_no_tests_and_nothing_of_the_build(image: Image) -> None:
    unwanted = re.compile(
        r"/(pip[0-9.]*|uv|uvx|gcc|cc|g\+\+|make|cargo|hatchling)$|^/opt/mirrord/(\.|CACHEDIR|bin/(?!mirrord$|python[0-9.]*$|\.$))."
        r"|/(pip|ensurepip)(-[^/]*)?/|\.pyx$|^/src|^/dist|/opt/mirrord/lib/.*/__pycache__|^/root/.cache/.|/uv\.toml$"
        r"|/site-packages/(tests|mirrord/tests)/"
    )

    assert [path for path in files(image) if unwanted.search(path)] == []


def test_image_has_the_page_the_licence_the_dashboards_and_authorities_of_certificates(image: Image) -> None:
    there = files(image)

    for wanted in (
        r"/mirrord/web/page/index\.html$",
        r"/mirrord-[^/]*\.dist-info/licenses/LICENSE$",
        r"^/opt/mirrord/share/mirrord/grafana/dashboards/mirrord\.json$",
        r"^/etc/ssl/certs/ca-certificates\.crt$",
    ):
        assert [path for path in there if re.search(wanted, path)], wanted


def test_user_of_the_image_may_write_to_the_state_and_temporary_files_alone(image: Image) -> None:
    writable = set()
    for path, (_, mode, _) in snapshot(image.root).items():
        owner = Path(path).lstat()
        if stat.S_ISLNK(mode) or not (USER in {owner.st_uid, owner.st_gid} or mode & stat.S_IWOTH):
            continue
        writable.add(path.removeprefix(str(image.root)).removesuffix("/."))

    assert "/var/lib/mirrord" in writable
    assert {path for path in writable if not path.startswith("/dev/")} <= {
        *("/var/lib/mirrord", "/tmp", "/var/tmp", "/run/lock")
    }


def test_nothing_in_the_image_makes_a_process_somebody_else(image: Image) -> None:
    raised = [path for path, (_, mode, _) in snapshot(image.root).items() if stat.S_ISREG(mode) and mode & 0o6000]

    assert raised == []


def test_image_stays_below_its_budget(image: Image, builder: Builder, tmp_path: Path) -> None:
    """All of it as it is pulled, and what stands upon the base as it is unpacked."""
    sizes = compressed_sizes(builder, image, tmp_path / "pushed")
    base = builder.open(BASE)  # a copy that is there already
    unpacked = sum(size for size, mode, _ in snapshot(image.root).values() if stat.S_ISREG(mode))
    above = unpacked - sum(size for size, mode, _ in snapshot(base.root).values() if stat.S_ISREG(mode))

    assert sum(sizes) < 100 * MB, sizes
    assert above < 140 * MB


def test_nothing_in_the_image_depends_on_the_time_of_the_build(image: Image) -> None:
    """The base apart: bytecode is told by hashes of its source, and never compared with its time."""
    here = [path for path in files(image) if path.startswith("/opt/mirrord/")]
    bytecode = [path for path in here if path.endswith(".pyc")]
    flags = {(image.root / path[1:]).read_bytes()[4:8] for path in bytecode}

    assert len(bytecode) > 1000
    assert flags == {b"\1\0\0\0"}
    assert [path for path in here if path.endswith("/uv_cache.json")] == []


# What it does


def test_image_tells_its_version(contain: Contain) -> None:
    done = contain().run("version", "--output", "json")

    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["version"] == mirrord.__version__
    assert "not installed" not in done.stdout


@pytest.mark.parametrize("command", ["version", "config validate", "sync --once", "healthcheck", "sync"])
def test_command_loads_nothing_that_has_to_be_compiled_first(
    command: str, contain: Contain, registries: list[DockerRegistry]
) -> None:
    """The standard library of the official images has no bytecode, and a read-only container cannot write any."""
    container = contain(rules(registries, "mirror/bytecode"))
    container.env = {"PYTHONVERBOSE": "1", "MIRRORD_LISTEN": f"127.0.0.1:{free_port()}"}
    process = container.start(*command.split())
    if command == "sync":
        process.wait_until(lambda: "service_started" in process.tail(5000), what="started", timeout_s=60)
        stop(process, signal.SIGTERM)
    process.wait(60)

    said = process.stderr_file.read_text("utf-8")
    assert said.count("code object from '/opt/mirrord/bytecode/") > 100
    assert re.findall(r"code object from (/\S+\.py)$", said, re.MULTILINE) == []


def test_first_start_without_anything_says_what_to_mount(contain: Contain) -> None:
    done = contain(token=False).run()

    assert done.code == 2
    assert "/etc/mirrord/mirrord.yaml: the file cannot be read: No such file" in done.stderr
    assert "in a container: mount it there" in done.stderr


def test_start_without_a_token_says_which_file_is_to_hold_one(
    contain: Contain, registries: list[DockerRegistry]
) -> None:
    done = contain(rules(registries, "no/token"), token=False).run()

    assert done.code == 3
    assert "the file /etc/mirrord/token/token (MIRRORD_API_TOKEN_FILE) cannot be read" in done.stderr
    assert "openssl rand -hex 32" in done.stderr


def test_file_that_the_user_may_not_read_is_told_with_the_user(contain: Contain) -> None:
    container = contain('{"version": 1, "rules": []}')
    (container.etc / "mirrord.yaml").chmod(0o600)

    done = container.run("config", "validate")

    assert done.code == 2
    assert "Permission denied; let user 65532 read it" in done.stderr


def test_single_run_mirrors_from_a_read_only_container(contain: Contain, registries: list[DockerRegistry]) -> None:
    source, target = registries
    container = contain(rules(registries, "mirror/once"))

    checked = container.run("config", "validate")
    done = container.run("sync", "--once")

    assert checked.code == 0, checked.stderr
    assert done.code == 0, done.stderr
    assert [tag_digest(target, "mirror/once", tag) for tag in ("1.1", "1.2")] == [
        tag_digest(source, "shop/web", tag) for tag in ("1.1", "1.2")
    ]


def test_single_run_of_any_user_needs_no_volume_where_it_shall_remember_nothing(
    contain: Contain, registries: list[DockerRegistry]
) -> None:
    container = contain(rules(registries, "mirror/nobody"), token=False, volume=False, user=1234)
    container.env = {"MIRRORD_STATE": ""}

    done = container.run("sync", "--once")

    assert done.code == 0, done.stderr
    assert tag_digest(registries[1], "mirror/nobody", "1.2") is not None


def test_service_in_a_container_gets_well_mirrors_and_ends_when_it_is_stopped(
    contain: Contain, registries: list[DockerRegistry]
) -> None:
    hourly = {**json.loads(rules(registries, "mirror/service")), "defaults": {"schedule": "1h"}}
    container = contain(json.dumps(hourly))
    container.env = {"MIRRORD_LISTEN": f"0.0.0.0:{free_port()}"}
    target = registries[1]

    process = container.start()
    process.wait_until(lambda: container.run("healthcheck", "--ready").code == 0, what="ready", timeout_s=60)
    process.wait_until(lambda: tag_digest(target, "mirror/service", "1.2") is not None, what="done", timeout_s=60)
    status = container.run("status")
    code = stop(process, signal.SIGTERM)
    after = container.run("healthcheck")

    assert status.code == 0, status.stderr
    assert code == 143, process.tail()
    assert after.code == 1
    assert (container.state or Path()).joinpath("state.db").stat().st_uid == USER


def test_authorities_of_a_mounted_file_are_trusted_beside_those_of_the_system(
    image: Image, contain: Contain, registries: list[DockerRegistry], tmp_path: Path, require_tool: RequireTool
) -> None:
    """SSL_CERT_FILE takes the place of the system's bundle alone; the directory of hashed names stays."""
    require_tool("nginx")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "front.pem", tmp_path / "front.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    hashed = [path for path in files(image) if re.fullmatch(r"/etc/ssl/certs/[0-9a-f]{8}\.\d+", path)]

    container = contain()
    ca_file = container.etc / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    front = TLSFront(
        tmp_path / "front", backend=registries[0], certificate_file=certificate, key_file=key, ca_file=ca_file
    )
    with front:
        container.env = {"MIRRORD_CONFIG": ""}
        refused = container.run("tags", f"{front.address}/shop/web")
        container.env = {"MIRRORD_CONFIG": "", "SSL_CERT_FILE": "/etc/mirrord/ca.pem"}
        done = container.run("tags", f"{front.address}/shop/web")

    assert refused.code != 0
    assert "certificate" in refused.stderr
    assert done.code == 0, done.stderr
    assert "1.1" in done.stdout
    assert len(hashed) > 100
