"""Target templates: parsing, and the locations and tags that come out."""

from __future__ import annotations

import pytest

from mirrord.errors import InvalidReferenceError
from mirrord.oci.reference import LayoutDirectory, Location, Repository, Tag
from mirrord.planning.target import TargetTemplate

APP = Repository("ghcr.io", "acme/team/app")
ONE_SEGMENT = Repository("registry.internal:5000", "app")


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        pytest.param(
            "registry.internal:5000/mirror/nginx",
            APP,
            Repository("registry.internal:5000", "mirror/nginx"),
            id="fixed",
        ),
        pytest.param("mirror/nginx", APP, Repository("docker.io", "mirror/nginx"), id="Docker Hub"),
        pytest.param("nginx", APP, Repository("docker.io", "library/nginx"), id="Docker Hub, one segment"),
        pytest.param("[::1]:5000/x", APP, Repository("[::1]:5000", "x"), id="IPv6 target"),
        pytest.param("eu.example/m/{repository}", APP, Repository("eu.example", "m/acme/team/app"), id="repository"),
        pytest.param("eu.example/{repository}", APP, Repository("eu.example", "acme/team/app"), id="alone"),
        pytest.param("eu.example/{name}", APP, Repository("eu.example", "app"), id="name"),
        pytest.param("eu.example/{namespace}", APP, Repository("eu.example", "acme/team"), id="namespace"),
        pytest.param("eu.example/{registry}/x", APP, Repository("eu.example", "ghcr.io/x"), id="registry"),
        pytest.param("eu.example/a-{name}-b", APP, Repository("eu.example", "a-app-b"), id="within a segment"),
        pytest.param("{repository}", ONE_SEGMENT, Repository("docker.io", "library/app"), id="to Docker Hub"),
        pytest.param(
            "eu.example/{registry}/{repository}",
            ONE_SEGMENT,
            Repository("eu.example", "registry.internal_5000/app"),
            id="registry with a port",
        ),
        pytest.param(
            "eu.example/{registry}",
            Repository("[fe80::1]:5000", "app"),
            Repository("eu.example", "fe80_0000_0000_0000_0000_0000_0000_0001_5000"),
            id="registry with an IPv6 address and a port",
        ),
        pytest.param(
            "eu.example/{registry}",
            Repository("[::1]", "app"),
            Repository("eu.example", "0000_0000_0000_0000_0000_0000_0000_0001"),
            id="registry with an IPv6 address",
        ),
        pytest.param(
            "eu.example/{namespace}/x", ONE_SEGMENT, Repository("eu.example", "x"), id="leading namespace is empty"
        ),
        pytest.param(
            "eu.example/m/{namespace}/{name}",
            ONE_SEGMENT,
            Repository("eu.example", "m/app"),
            id="inner namespace is empty",
        ),
        pytest.param(
            "eu.example/m/{namespace}", ONE_SEGMENT, Repository("eu.example", "m"), id="last namespace is empty"
        ),
        pytest.param("oci:./airgap/prometheus", APP, LayoutDirectory("./airgap/prometheus"), id="directory"),
        pytest.param("oci:./a/{repository}", APP, LayoutDirectory("./a/acme/team/app"), id="directory by repository"),
        pytest.param("oci:/a/{namespace}/x/", ONE_SEGMENT, LayoutDirectory("/a/x"), id="absolute directory"),
        pytest.param("oci:/", APP, LayoutDirectory("/"), id="root directory"),
        pytest.param(
            "eu.example/{registry}/{repository}",
            LayoutDirectory("./airgap/app"),
            Repository("eu.example", "layout/app"),
            id="from a directory",
        ),
        pytest.param(
            "eu.example/{namespace}/{name}",
            LayoutDirectory("app"),
            Repository("eu.example", "app"),
            id="from a directory without parents",
        ),
        pytest.param(
            "eu.example/{registry}/x",
            LayoutDirectory("/Srv/UPPER"),
            Repository("eu.example", "layout/x"),
            id="from a directory whose name is not asked for",
        ),
    ],
)
def test_template_gives_the_location(text: str, source: Location, expected: Location) -> None:
    template = TargetTemplate.parse(text)

    assert template.location(source) == expected
    assert str(template) == template.text == text


def test_template_never_maps_two_registries_to_one() -> None:
    hosts = ["r.example:5000", "r.example-5000", "r.example", "r.example.5000", "[::1]:5000", "[::1]", "[::5000]"]
    template = TargetTemplate.parse("eu.example/{registry}/x")

    locations = {template.location(Repository(host, "x")) for host in hosts}

    assert len(locations) == len(hosts)


@pytest.mark.parametrize(
    ("text", "host", "placeholders"),
    [
        pytest.param("registry.internal:5000/a", "registry.internal:5000", set(), id="fixed"),
        pytest.param("{repository}", "docker.io", {"repository"}, id="Docker Hub"),
        pytest.param("EU.example/{registry}/{name}:{tag}", "eu.example", {"registry", "name", "tag"}, id="three"),
        pytest.param("oci:./a/{repository}:x", "oci:./a/{repository}", {"repository"}, id="directory"),
    ],
)
def test_template_knows_its_registry_and_placeholders(text: str, host: str, placeholders: set[str]) -> None:
    template = TargetTemplate.parse(text)

    assert template.host == host
    assert template.placeholders == frozenset(placeholders)


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        pytest.param("eu.example/x", "1.25", "1.25", id="same tag"),
        pytest.param("eu.example/x", None, None, id="no tag"),
        pytest.param("eu.example:5000/x", "1.25", "1.25", id="a port is no tag part"),
        pytest.param("eu.example/x:stable", "1.25", "stable", id="literal tag"),
        pytest.param("eu.example/x:stable", None, "stable", id="literal tag for no tag"),
        pytest.param("eu.example/x:hub-{tag}", "1.25", "hub-1.25", id="template"),
        pytest.param("eu.example/x:hub-{tag}", None, None, id="template for no tag"),
        pytest.param("eu.example/x:{name}-{tag}", "1.25", "app-1.25", id="name of the source"),
        pytest.param("eu.example/x:{registry}.{name}", None, "ghcr.io.app", id="source without its tag"),
        pytest.param("oci:./a/x:{tag}-x", "1.25", "1.25-x", id="directory"),
    ],
)
def test_template_gives_the_tag(text: str, tag: str | None, expected: str | None) -> None:
    given = Tag(tag) if tag else None

    result = TargetTemplate.parse(text).tag(given, APP)

    assert result == (Tag(expected) if expected else None)


def test_template_gives_the_tag_without_the_source_where_it_needs_none() -> None:
    assert TargetTemplate.parse("eu.example/x:hub-{tag}").tag(Tag("1")) == Tag("hub-1")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("eu.example/{source.__class__}", "{source.__class__}", id="attribute"),
        pytest.param("eu.example/{0}", "{0}", id="number"),
        pytest.param("eu.example/{}", "{}", id="empty"),
        pytest.param("eu.example/{{name}}", "{{name}", id="doubled brace"),
        pytest.param("eu.example/{repo}", "{repo}", id="unknown word"),
        pytest.param("eu.example/{name!r}", "{name!r}", id="conversion"),
        pytest.param("eu.example/{name:>9}", "{name:>9}", id="format"),
        pytest.param("eu.example/{name", "{", id="without an end"),
        pytest.param("eu.example/name}", "}", id="without a beginning"),
        pytest.param("eu.example:5000/{tagg}", "{tagg}", id="after a port"),
        pytest.param("eu.example/x:a/{repo}", "{repo}", id="after a colon in another segment"),
        pytest.param("oci:{repo}", "{repo}", id="directory"),
    ],
)
@pytest.mark.covers("E96")
def test_unknown_placeholder_is_refused_and_the_four_are_listed(text: str, shown: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TargetTemplate.parse(text)

    assert caught.value.code == "TEMPLATE_INVALID"
    assert f'("{shown}") is no placeholder' in caught.value.message
    assert caught.value.remedy == "placeholders are {registry} {repository} {namespace} {name}"


@pytest.mark.parametrize("text", ["eu.example/x:{digest}", "oci:./x:a-{digest}", "eu.example:5000/x:{tag}{0}"])
@pytest.mark.covers("E96")
def test_unknown_placeholder_in_the_tag_is_refused_and_the_five_are_listed(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TargetTemplate.parse(text)

    assert caught.value.code == "TEMPLATE_INVALID"
    assert caught.value.remedy == "placeholders are {registry} {repository} {namespace} {name} {tag}"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        pytest.param("eu.example/{tag}", "TEMPLATE_INVALID", "in the tag only", id="tag in the path"),
        pytest.param("oci:./x@{tag}", "TEMPLATE_INVALID", "in the tag only", id="tag in a directory"),
        pytest.param("{registry}.example/x", "TEMPLATE_INVALID", "registry of a target is fixed", id="host"),
        pytest.param("{name}:5000/x", "TEMPLATE_INVALID", "registry of a target is fixed", id="host with a port"),
        pytest.param("{registry}/{repository}", "TEMPLATE_INVALID", "begin with that", id="registry as host"),
        pytest.param("eu.example/x@sha256:" + "a" * 64, "TEMPLATE_INVALID", "has a digest", id="digest"),
        pytest.param("eu.example/x@sha256:{tag}", "TEMPLATE_INVALID", "has a digest", id="digest by placeholder"),
        pytest.param("oci:./x@sha256:" + "a" * 64, "TEMPLATE_INVALID", "has a digest", id="digest of a directory"),
        pytest.param("oci:./x@sha256:abc", "REFERENCE_INVALID", "digest", id="bad digest of a directory"),
        pytest.param("eu.example/Mirror/{name}", "REFERENCE_INVALID", "no repository name", id="upper case"),
        pytest.param("eu.example//{name}", "REFERENCE_INVALID", "no repository name", id="empty segment"),
        pytest.param("eu.example/../{name}", "REFERENCE_INVALID", "no repository name", id="dots"),
        pytest.param("https://eu.example/x", "REGISTRY_INVALID", "https://", id="scheme"),
        pytest.param("", "REFERENCE_INVALID", "empty", id="empty"),
        pytest.param("oci:", "REFERENCE_INVALID", "no directory", id="empty directory"),
        pytest.param("eu_x.example/{name}", "REGISTRY_INVALID", "is no registry", id="bad host"),
        pytest.param("eu.example/x:-{tag}", "REFERENCE_INVALID", "is no tag", id="bad tag"),
        pytest.param("eu.example/x:", "REFERENCE_INVALID", "is no tag", id="empty tag"),
    ],
)
@pytest.mark.covers("E96")
def test_invalid_template_is_refused_when_it_is_read(text: str, code: str, said: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TargetTemplate.parse(text)

    assert caught.value.code == code
    assert said in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("mirror:s3cret@eu.example/x", id="plain"),
        pytest.param("mirror:s3cret@eu.example/{name}:{tag}", id="template"),
        pytest.param("mirror:{s3cret}@eu.example/x", id="braces in the password"),
        pytest.param("mirror:s3cret@eu.example", id="no path"),
        pytest.param("https://mirror:s3cret@eu.example/x", id="with a scheme"),
        pytest.param("oci://mirror:s3cret@eu.example/x", id="with the scheme of directories"),
        pytest.param("oci://mirror:{s3cret}@eu.example/x", id="braces, with the scheme of directories"),
    ],
)
def test_password_in_a_target_is_refused_and_never_shown(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        TargetTemplate.parse(text)

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value)


@pytest.mark.parametrize(
    ("text", "source", "shown"),
    [
        pytest.param("eu.example/{namespace}", ONE_SEGMENT, '""', id="nothing is left"),
        pytest.param("eu.example/a-{namespace}", ONE_SEGMENT, '"a-"', id="half a segment is left"),
        pytest.param("oci:{namespace}", ONE_SEGMENT, "an empty path", id="no directory is left"),
        pytest.param(
            "eu.example/{repository}/{repository}", Repository("a.io", "x" * 150), "at most 255", id="too long"
        ),
        pytest.param("eu.example/{name}", LayoutDirectory("/srv/UPPER"), '"UPPER"', id="directory without a fit name"),
        pytest.param("eu.example/{repository}", LayoutDirectory("."), '"."', id="directory without a name"),
    ],
)
@pytest.mark.covers("E97")
def test_result_that_is_no_repository_is_refused(text: str, source: Location, shown: str) -> None:
    template = TargetTemplate.parse(text)

    with pytest.raises(InvalidReferenceError) as caught:
        template.location(source)

    assert caught.value.code == "TEMPLATE_RESULT_INVALID"
    assert shown in caught.value.message
    assert str(source) in caught.value.message


@pytest.mark.parametrize(
    ("text", "tag", "source", "shown"),
    [
        pytest.param("eu.example/x:hub-{tag}", "a" * 125, None, "is no tag", id="too long"),
        pytest.param("eu.example/x:{repository}-{tag}", "1", APP, '"acme/team/app-1"', id="slash"),
        pytest.param("eu.example/x:{namespace}-{tag}", "1", ONE_SEGMENT, '"-1"', id="empty namespace"),
        pytest.param("eu.example/x:{name}-{tag}", "1", None, '"{name}-1"', id="source not given"),
    ],
)
@pytest.mark.covers("E97")
def test_result_that_is_no_tag_is_refused(text: str, tag: str, source: Location | None, shown: str) -> None:
    template = TargetTemplate.parse(text)

    with pytest.raises(InvalidReferenceError) as caught:
        template.tag(Tag(tag), source)

    assert caught.value.code == "TEMPLATE_RESULT_INVALID"
    assert shown in caught.value.message


def test_templates_are_equal_by_text() -> None:
    text = "eu.example/{name}"

    assert {TargetTemplate.parse(text), TargetTemplate.parse(text)} == {TargetTemplate.parse(text)}
    assert repr(TargetTemplate.parse(text)) == "TargetTemplate(text='eu.example/{name}')"
