from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.commands import Finished, run_command, serving
from tests.fakes.faults import Respond
from tests.fakes.images import make_image
from tests.fakes.profiles import DISTRIBUTION_V3, Auth, Refusal, TagList
from tests.fakes.registries.google import GOOGLE, api_of
from tests.fakes.registry import FakeRegistry
from tests.fakes.stores import put

pytestmark = pytest.mark.usefixtures("bare")

IMAGE = make_image("app")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving(DISTRIBUTION_V3) as (found,):
        yield found


def tags(registry: FakeRegistry, *options: str) -> Finished:
    return run_command("tags", f"{registry.host}/app", "--plain-http", registry.host, *options)


def test_tags_without_filters_are_names_alone_one_a_line(registry: FakeRegistry) -> None:
    put(registry.store, "app", IMAGE, "1.0", "1.1-rc1", "latest")

    done = tags(registry)

    assert done == (0, "1.0\n1.1-rc1\nlatest\n", "")


def test_tags_with_filters_say_which_filter_took_or_refused_each(registry: FakeRegistry) -> None:
    put(registry.store, "app", IMAGE, "1.0", "1.1", "1.2-rc1", "latest")

    done = tags(registry, "--include", "1.*", "--exclude", "*-rc*", "--newest", "1")

    assert done.code == 0
    assert done.stdout.splitlines() == [
        'in   1.1      include "1.*"',
        "out  1.0      newest: 2nd of 1 by semver",
        'out  1.2-rc1  exclude "*-rc*"',
        "out  latest   not in include or semver",
        "1 of 4 tags taken",
    ]


def test_tags_that_are_named_but_not_there_are_not_taken(registry: FakeRegistry) -> None:
    put(registry.store, "app", IMAGE, "1.0")

    done = tags(registry, "--include", "nope", "--output", "json")

    told = json.loads(done.stdout)
    assert (told["taken"], told["listed"]) == (0, 1)
    assert told["tags"] == [{"tag": "1.0", "taken": False, "by": "not in include or semver", "digest": None}]


def test_tags_by_age_ask_the_images_for_their_time(registry: FakeRegistry) -> None:
    old = make_image("old", annotations={"org.opencontainers.image.created": "2001-01-01T00:00:00Z"})
    new = make_image("new", annotations={"org.opencontainers.image.created": "2100-01-01T00:00:00Z"})
    put(registry.store, "app", old, "a")
    put(registry.store, "app", new, "b")

    by_age = json.loads(tags(registry, "--max-age", "30d", "--output", "json").stdout)
    newest = json.loads(tags(registry, "--newest", "1", "--by", "created", "--output", "json").stdout)

    assert [tag["tag"] for tag in by_age["tags"] if tag["taken"]] == ["b"]
    assert [tag["tag"] for tag in newest["tags"] if tag["taken"]] == ["b"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--by", "name"], "give --newest N too", id="by-without-newest"),
        pytest.param(["--newest", "2", "--by", "age"], "none of semver, created, name", id="unknown-order"),
        pytest.param(["--newest", "0"], "newest", id="none-newest"),
        pytest.param(["--max-age", "90"], "no duration", id="age-without-unit"),
        pytest.param(["--include", "/(/"], "REGEX_INVALID", id="regular-expression"),
        pytest.param(["--include", "a b"], "PATTERN_INVALID", id="pattern"),
        pytest.param(["--semver", ">=one"], "SEMVER_INVALID", id="range"),
    ],
)
def test_tags_refuse_filters_that_cannot_be_read(registry: FakeRegistry, options: list[str], says: str) -> None:
    done = tags(registry, *options)

    assert done.code == 2
    assert says in done.stderr
    assert not registry.traffic.counts


@pytest.mark.parametrize("suffix", [":1.0", f"@{IMAGE.digest}"], ids=["tag", "digest"])
def test_tags_of_an_image_are_refused(suffix: str) -> None:
    done = run_command("tags", f"registry.test/app{suffix}")

    assert done.code == 2
    assert "names an image, not a repository" in done.stderr


def test_tags_of_a_repository_that_is_not_there_fail(registry: FakeRegistry) -> None:
    done = tags(registry, "--output", "json")

    assert done.code == 1
    assert json.loads(done.stdout)["error"]["code"] == "NOT_FOUND"


def test_tags_are_never_a_part_of_a_listing() -> None:
    with serving(replace(DISTRIBUTION_V3, tags=TagList(page_entries=2))) as (registry,):
        put(registry.store, "app", IMAGE, "a", "b", "c")
        registry.fault(Respond(403), kind="tags/list", nth=2, times=None)

        done = tags(registry)

        assert (done.code, done.stdout) == (1, "")
        assert "LISTING_INCOMPLETE" in done.stderr


def test_repositories_are_those_of_the_registry(registry: FakeRegistry) -> None:
    for repository in ("team/b", "team/a", "teams/c"):
        put(registry.store, repository, IMAGE, "1")

    done = run_command("repositories", registry.host, "--plain-http", registry.host)

    assert done.stdout.splitlines() == [f"{registry.host}/{path}" for path in ("team/a", "team/b", "teams/c")]


def test_repositories_of_a_path_are_those_below_it_and_itself(registry: FakeRegistry) -> None:
    for repository in ("team", "team/a", "teams/c"):
        put(registry.store, repository, IMAGE, "1")

    done = run_command("repositories", f"{registry.host}/team/", "--plain-http", registry.host, "--output", "json")

    told = json.loads(done.stdout)
    assert (told["registry"], told["path"]) == (registry.host, "team")
    assert told["repositories"] == ["team", "team/a"]


def test_repositories_that_are_none_are_told_on_stderr(registry: FakeRegistry) -> None:
    """Nothing at all could be taken for a command that did nothing; stdout stays what scripts read."""
    put(registry.store, "team/a", IMAGE, "1")

    done = run_command("repositories", f"{registry.host}/other", "--plain-http", registry.host)

    assert (done.code, done.stdout) == (0, "")
    assert done.stderr.startswith(f"no repositories: {registry.host}/other has none")


def test_repositories_of_a_project_of_google_are_listed_by_its_name(tmp_path: Path) -> None:
    """Google lists by project; the name of one is no beginning of a name that it would refuse."""
    with serving(replace(GOOGLE, auth=Auth())) as (registry,):
        put(registry.store, "acme/mirror/app", IMAGE, "1")
        api_of(registry).made.add("acme/mirror")
        config = tmp_path / "mirrord.yaml"
        settings = {registry.host: {"provider": "google", "plain_http": True}}
        config.write_text(json.dumps({"version": 1, "registries": settings, "rules": []}))

        done = run_command("repositories", f"{registry.host}/acme", "-c", str(config))

    assert done.stdout == f"{registry.host}/acme/mirror/app\n"


def test_repositories_of_a_registry_without_a_catalog_fail_with_a_reason() -> None:
    with serving(replace(DISTRIBUTION_V3, catalog=Refusal(status=404))) as (registry,):
        done = run_command("repositories", registry.host, "--plain-http", registry.host)

    assert done.code == 1
    assert "UNSUPPORTED" in done.stderr


@pytest.mark.parametrize(
    ("place", "says"),
    [
        pytest.param("acme", "is no registry", id="no-host"),
        pytest.param("ghcr.io/Acme", "is no repository name", id="upper-case"),
        pytest.param("https://ghcr.io", "is no registry", id="scheme"),
        pytest.param("", "is no registry", id="empty"),
    ],
)
def test_repositories_of_what_is_no_registry_are_refused(place: str, says: str) -> None:
    done = run_command("repositories", place)

    assert done.code == 2
    assert says in done.stderr


def test_repositories_of_docker_hub_are_refused_without_a_request() -> None:
    done = run_command("repositories", "docker.io")

    assert done.code == 1
    assert "Docker Hub has no catalog" in done.stderr
