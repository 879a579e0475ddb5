from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrord.oci.digest import Digest
from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.images import make_artifact, make_image, make_index
from tests.fakes.profiles import DISTRIBUTION_V2, DISTRIBUTION_V3
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

IMAGE = make_image("app", layers=3)
INDEX = make_index("app")
SIGNATURE = make_artifact("signature", subject=IMAGE.descriptor)


@pytest.fixture
def registries() -> Iterator[tuple[FakeRegistry, FakeRegistry]]:
    with serving(DISTRIBUTION_V3, DISTRIBUTION_V2) as (source, target):
        yield source, target


def copy(source: str, target: str, *options: str) -> Finished:
    hosts = {name.partition("/")[0] for name in (source, target) if not name.startswith("oci:")}
    plain = [argument for host in sorted(hosts) for argument in ("--plain-http", host)]
    return run_command("copy", source, target, *plain, *options)


@pytest.mark.covers("C2")
def test_copy_takes_the_image_byte_for_byte_under_the_tag_of_the_source(
    registries: tuple[FakeRegistry, FakeRegistry],
) -> None:
    source, target = registries
    put(source.store, "team/app", INDEX, "1.0")

    done = copy(f"{source.host}/team/app:1.0", f"{target.host}/mirror/app")

    assert done.code == 0
    assert target.store.tags("mirror/app") == {"1.0": INDEX.digest}
    assert {digest: found.raw for digest, found in target.store.manifests("mirror/app").items()} == {
        digest: manifest.raw for digest, manifest in INDEX.manifests.items()
    }
    assert "1 image: 1 copied" in done.stdout


def test_copy_of_what_is_there_does_nothing(registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = registries
    put(source.store, "team/app", INDEX, "1.0")
    copy(f"{source.host}/team/app:1.0", f"{target.host}/mirror/app")
    target.traffic.clear()

    done = copy(f"{source.host}/team/app:1.0", f"{target.host}/mirror/app")

    assert done.code == 0
    assert "nothing to do" in done.stdout
    assert not [record for record in target.traffic.records if record.method in {"PUT", "POST", "PATCH"}]


@pytest.mark.parametrize(
    ("named", "target_tag", "expected"),
    [
        pytest.param("", "", {"latest": IMAGE.digest}, id="without-tag-it-is-latest"),
        pytest.param("", ":stable", {"stable": IMAGE.digest}, id="another-tag"),
        pytest.param(f"@{IMAGE.digest}", "", {}, id="by-digest"),
        pytest.param(f"@{IMAGE.digest}", ":pinned", {"pinned": IMAGE.digest}, id="by-digest-to-a-tag"),
        pytest.param(f":gone@{IMAGE.digest}", "", {"gone": IMAGE.digest}, id="the-digest-decides"),
    ],
)
def test_copy_names_the_image_as_asked(
    registries: tuple[FakeRegistry, FakeRegistry], named: str, target_tag: str, expected: dict[str, Digest]
) -> None:
    source, target = registries
    put(source.store, "app", IMAGE, "latest")

    done = copy(f"{source.host}/app{named}", f"{target.host}/app{target_tag}")

    assert done.code == 0
    assert target.store.tags("app") == expected
    assert IMAGE.digest in target.store.manifests("app")


def test_copy_brings_what_is_attached(registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = registries
    put(source.store, "app", IMAGE, "1")
    put(source.store, "app", SIGNATURE)

    copy(f"{source.host}/app:1", f"{target.host}/app")

    assert SIGNATURE.digest in target.store.manifests("app")


def test_copy_leaves_attachments_behind_when_told(registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = registries
    put(source.store, "app", IMAGE, "1")
    put(source.store, "app", SIGNATURE)

    done = copy(f"{source.host}/app:1", f"{target.host}/app", "--no-referrers")

    assert done.code == 0
    assert list(target.store.manifests("app")) == [IMAGE.digest]


def test_copy_takes_wanted_platforms_alone(registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = registries
    put(source.store, "app", INDEX, "1")

    done = copy(f"{source.host}/app:1", f"{target.host}/app", "--platform", "linux/arm64")

    wanted = next(child.digest for child in INDEX.root.children() if str(child.platform) == "linux/arm64")
    assert done.code == 0
    assert [digest for digest in INDEX.manifests if digest in target.store.manifests("app")] == [wanted]


def test_copy_writes_and_reads_layout_directories(bare: Path) -> None:
    with serving(DISTRIBUTION_V3) as (registry,):
        put(registry.store, "app", INDEX, "1")
        there = copy(f"{registry.host}/app:1", "oci:./there")
        back = copy("oci:./there:1", f"{registry.host}/back")

        assert (there.code, back.code) == (0, 0)
        assert registry.store.tags("back") == {"1": INDEX.digest}
        assert (bare / "there" / "blobs" / "sha256" / INDEX.digest.hex).read_bytes() == INDEX.raw


def test_copy_of_a_missing_image_fails_with_its_code(registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = registries

    done = copy(f"{source.host}/app:nope", f"{target.host}/app", "--output", "json")

    (image,) = json.loads(done.stdout)["rules"][0]["images"]
    assert done.code == 1
    assert image["problem"]["code"] == "NOT_FOUND"
    assert "log in with docker" in image["problem"]["remedy"]
    assert not target.store.repositories()


def test_copy_never_speaks_of_rules(registries: tuple[FakeRegistry, FakeRegistry], bare: Path) -> None:
    """Who copies one image has no file with rules: neither what failed nor a warning sends to one."""
    source, target = registries
    put(source.store, "app", INDEX, "1")

    missing = copy(f"{source.host}/app:nope", f"{target.host}/app")
    nowhere = copy("oci:./nothing:1", f"{target.host}/app")
    partly = copy(
        f"{source.host}/app:1", f"{target.host}/app", "--platform", "linux/arm64", "--platform", "linux/s390x"
    )

    assert (missing.code, nowhere.code, partly.code) == (1, 1, 0)
    assert "does not offer linux/s390x" in partly.stdout
    assert "mirrord tags oci:./nothing" in nowhere.stdout
    for done in (missing, nowhere, partly):
        assert "rule" not in done.stdout + done.stderr, done.stdout


def test_copy_without_tls_names_the_option_for_it(registries: tuple[FakeRegistry, FakeRegistry]) -> None:
    source, target = registries

    done = run_command("copy", f"{source.host}/app:1", f"{target.host}/app")

    assert done.code == 3
    assert "PLAIN_HTTP_NOT_ALLOWED" in done.stdout
    assert f"--plain-http {source.host}" in done.stdout


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        pytest.param("image:", '"image:"', id="E111:empty-tag"),
        pytest.param(":tag", '":tag"', id="E111:no-path"),
        pytest.param("a@b@c", 'a second "@"', id="E111:two-digests"),
        pytest.param("image@sha256:short", "after character 6", id="E111:short-digest"),
        pytest.param("a" * 4096, "at most 1024", id="E111:too-long"),
        pytest.param("", "empty", id="E111:empty"),
        pytest.param("https://ghcr.io/a/b", 'leave out "https://"', id="scheme"),
        pytest.param("user:secret@ghcr.io/a", "leave out user and password", id="password"),
    ],
)
@pytest.mark.parametrize("place", ["source", "target"])
def test_copy_refuses_what_is_no_reference(reference: str, says: str, place: str) -> None:
    arguments = [reference, "oci:./x"] if place == "source" else ["oci:./x", reference]

    done = run_command("copy", *arguments)

    assert done.code == 2
    assert "_INVALID" in done.stderr
    assert "secret" not in done.stderr
    if place == "source":
        assert says in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--platform", "arm64"], "PLATFORM_INVALID", id="platform"),
        pytest.param(["--plain-http", "http://x"], "REGISTRY_INVALID", id="host"),
        pytest.param(["--password", "x"], "secrets are not taken from the command line", id="E112:password"),
    ],
)
def test_copy_refuses_options_that_cannot_be_read(options: list[str], says: str) -> None:
    done = run_command("copy", "oci:./a:1", "oci:./b", *options)

    assert done.code == 2
    assert says in done.stderr
