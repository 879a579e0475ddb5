"""The files that the container image is made of agree with the project, and with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mirrord
from tests.deploy.image.building import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("requirements.lock", "requirements-build.lock")
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+?)(?: ; .*)?(?: \\)?$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def pins(name: str) -> dict[str, str]:
    """Return the versions that a file of requirements names."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return {match[1]: match[2] for line in lines if (match := PINNED.match(line))}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_versions_and_hashes_and_no_place_to_fetch_them_from(lock: str) -> None:
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    hashed = [number for number, line in enumerate(lines) if PINNED.match(line) and HASH.match(lines[number + 1])]

    assert [line for line in lines if not PINNED.match(line) and not HASH.match(line)] == []
    assert len(hashed) == len(pins(lock)) > 0


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_agrees_with_the_constraints(lock: str) -> None:
    """`make hashes` writes the locks anew after a change of constraints.txt."""
    known = pins("constraints.txt")

    assert {name: known.get(name) for name in pins(lock)} == pins(lock)


def test_lock_has_every_dependency_of_the_project_and_of_its_extras_in_a_version_it_takes() -> None:
    wanted = list(PROJECT["project"]["dependencies"])
    for requirements in PROJECT["project"]["optional-dependencies"].values():
        wanted += requirements
    locked = pins("requirements.lock")

    missing = []
    for requirement in map(Requirement, wanted):
        version = locked.get(str(canonicalize_name(requirement.name)))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            missing.append(str(requirement))
    assert missing == []


def test_lock_of_the_build_has_what_builds_the_project() -> None:
    locked = pins("requirements-build.lock")

    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(locked[requirement.name])


def test_lock_has_nothing_that_only_development_needs() -> None:
    assert not {"pytest", "mypy", "ruff", "hatchling", "moto", "playwright"} & set(pins("requirements.lock"))


def test_image_takes_extras_that_the_project_has() -> None:
    extras = re.findall(r'^ARG EXTRAS="(.*)"$', DOCKERFILE, re.MULTILINE)[0].split()

    assert extras
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])


def test_everything_that_the_image_copies_is_sent_to_the_build() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        copied |= set(line.split()[:-1])

    assert copied == sent
    assert [path for path in sent if not (ROOT / path).exists()] == []


def test_dockerfile_names_no_place_of_packages_and_no_machine() -> None:
    assert re.findall(r"(?i)find-links|index-url|pip\.conf|/opt/wheels|--network", DOCKERFILE) == []
    assert "<<" not in DOCKERFILE  # buildah 1.28 knows no heredocs


@pytest.mark.integration
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert hadolint(DOCKERFILE) == ""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("planted", "code"),
    [
        pytest.param("FROM debian\n", "DL3006", id="no-tag"),
        pytest.param("FROM debian:12\nRUN sudo id\n", "DL3004", id="sudo"),
        pytest.param("FROM debian:12\nCMD mirrord sync\n", "DL3025", id="shell-form"),
        pytest.param("FROM debian:12\nWORKDIR opt\n", "DL3000", id="relative"),
        pytest.param("FROM debian:12\nRUN echo $unquoted\n", "SC2086", id="unquoted"),
    ],
)
def test_hadolint_finds_what_is_wrong(planted: str, code: str) -> None:
    assert code in hadolint(planted)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("there", "started"),
    [
        (["docker", "podman", "buildah"], "docker build"),
        (["podman", "buildah"], "podman build --format docker"),
        (["buildah"], "buildah build --format docker"),
    ],
    ids=["docker", "podman", "buildah"],
)
def test_make_image_builds_with_what_is_there(there: list[str], started: str, tmp_path: Path) -> None:
    for name in there:
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / name).chmod(0o755)

    done = image_script(tmp_path, IMAGE="registry.test/mirrord:mine", IMAGE_ARGS="--build-arg EXTRAS=aws")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{started} ")
    assert f"--build-arg VERSION={mirrord.__version__} " in done.stdout
    assert re.search(r"--build-arg CREATED=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", done.stdout)
    assert done.stdout.endswith("--tag registry.test/mirrord:mine --build-arg EXTRAS=aws .\n")


@pytest.mark.integration
def test_make_image_says_what_it_needs(tmp_path: Path) -> None:
    done = image_script(tmp_path)

    assert done.returncode == 3
    assert done.stderr == "docker, podman or buildah is needed to build an image, and none is on PATH\n"


def image_script(programs: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run what `make image` runs, with the builders of a directory alone."""
    for name in ("bash", "sed", "git", "date", "dirname"):
        found = shutil.which(name)
        if found is not None:
            (programs / name).symlink_to(found)
    command = ["bash", str(ROOT / "scripts/image.sh")]
    return subprocess.run(command, env={"PATH": str(programs), **env}, capture_output=True, text=True, check=False)


def hadolint(text: str) -> str:
    """Return what the linter says of a Dockerfile."""
    program = Path(sys.executable).with_name("hadolint")
    command = [str(program), "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout
