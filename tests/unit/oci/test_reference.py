import pytest

from mirrord.errors import InvalidReferenceError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import (
    LayoutDirectory,
    Location,
    Reference,
    Repository,
    Tag,
    looks_like_host,
    parse_host,
    parse_repository_path,
    shown,
    split_host,
)

DIGEST = Digest.of(b"")
SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "location", "tag", "digest"),
    [
        pytest.param("nginx", Repository("docker.io", "library/nginx"), None, None, id="E111:short name"),
        pytest.param("nginx:1.27", Repository("docker.io", "library/nginx"), "1.27", None, id="short name and tag"),
        pytest.param("grafana/loki", Repository("docker.io", "grafana/loki"), None, None, id="hub path"),
        pytest.param("docker.io/nginx", Repository("docker.io", "library/nginx"), None, None, id="hub named"),
        pytest.param("index.docker.io/nginx", Repository("docker.io", "library/nginx"), None, None, id="hub alias"),
        pytest.param("registry-1.docker.io/a/b:c", Repository("docker.io", "a/b"), "c", None, id="hub api"),
        pytest.param("localhost/x", Repository("localhost", "x"), None, None, id="localhost"),
        pytest.param("localhost:5000/x", Repository("localhost:5000", "x"), None, None, id="port"),
        pytest.param("localhost:5000/x:y", Repository("localhost:5000", "x"), "y", None, id="port and tag"),
        pytest.param("registry:5000/a/b/c", Repository("registry:5000", "a/b/c"), None, None, id="name and port"),
        pytest.param("GHCR.io/acme/app", Repository("ghcr.io", "acme/app"), None, None, id="host in capitals"),
        pytest.param("192.0.2.1/x", Repository("192.0.2.1", "x"), None, None, id="IPv4"),
        pytest.param("[::1]/x", Repository("[::1]", "x"), None, None, id="IPv6"),
        pytest.param("[2001:DB8:0::1]:5000/x:y", Repository("[2001:db8::1]:5000", "x"), "y", None, id="IPv6 and port"),
        pytest.param(f"ghcr.io/a@{DIGEST}", Repository("ghcr.io", "a"), None, DIGEST, id="digest"),
        pytest.param(f"ghcr.io/a:b@{DIGEST}", Repository("ghcr.io", "a"), "b", DIGEST, id="E89:tag with digest"),
        pytest.param(
            "ghcr.io/a.b_c__d--e/f:_G.h-I", Repository("ghcr.io", "a.b_c__d--e/f"), "_G.h-I", None, id="marks"
        ),
        pytest.param(
            "docker.io/library/a.b:5000", Repository("docker.io", "library/a.b"), "5000", None, id="tag, no port"
        ),
        pytest.param("oci:dir", LayoutDirectory("dir"), None, None, id="layout"),
        pytest.param("oci:./a/b:1.0", LayoutDirectory("./a/b"), "1.0", None, id="layout and tag"),
        pytest.param("oci:/srv/A b/", LayoutDirectory("/srv/A b"), None, None, id="layout and slash"),
        pytest.param("oci:/", LayoutDirectory("/"), None, None, id="layout at the root"),
        pytest.param(f"oci:a:b@{DIGEST}", LayoutDirectory("a"), "b", DIGEST, id="layout, tag and digest"),
        pytest.param(f"oci:a@{DIGEST}", LayoutDirectory("a"), None, DIGEST, id="layout and digest"),
        pytest.param("oci:a@b/c", LayoutDirectory("a@b/c"), None, None, id="layout with a sign"),
        pytest.param("oci:a@b", LayoutDirectory("a@b"), None, None, id="layout with a sign in its name"),
    ],
)
def test_reference_reads_location_tag_and_digest(
    text: str, location: Location, tag: str | None, digest: Digest | None
) -> None:
    reference = Reference.parse(text)

    assert reference == Reference(location, Tag(tag) if tag else None, digest)
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        pytest.param("", "REFERENCE_INVALID", "empty", id="E111:empty"),
        pytest.param("image:", "REFERENCE_INVALID", '"" is no tag', id="E111:no tag after the colon"),
        pytest.param(":tag", "REFERENCE_INVALID", "names no repository", id="E111:no image"),
        pytest.param("ghcr.io/", "REFERENCE_INVALID", "names no repository", id="E111:no path"),
        pytest.param("ghcr.io", "REFERENCE_INVALID", "ghcr.io/NAME", id="registry alone"),
        pytest.param("localhost:5000", "REFERENCE_INVALID", "localhost:5000/NAME", id="registry and port alone"),
        pytest.param("a@b@c", "REFERENCE_INVALID", "character 4", id="E111:two signs"),
        pytest.param("image@sha256:short", "REFERENCE_INVALID", "after character 6", id="E111:short digest"),
        pytest.param("image@", "REFERENCE_INVALID", "after character 6", id="E111:empty digest"),
        pytest.param("nginx@latest", "REFERENCE_INVALID", '"latest" is no digest', id="E111:tag after the sign"),
        pytest.param("a" * 4096, "REFERENCE_INVALID", "4096 characters", id="E111:4 KB"),
        pytest.param("nginx:-dash", "REFERENCE_INVALID", "is no tag", id="E111:bad tag"),
        pytest.param("a b", "REFERENCE_INVALID", 'character 2 (" ")', id="space"),
        pytest.param("nginx\n", "REFERENCE_INVALID", 'character 6 ("\\n")', id="line end"),
        pytest.param("ghcr.io/a?b", "REFERENCE_INVALID", 'character 10 ("?")', id="query"),
        pytest.param("ghcr.io/a%2fb", "REFERENCE_INVALID", 'character 10 ("%")', id="escape"),
        pytest.param("ghcr.io/\ud800", "REFERENCE_INVALID", "character 9", id="half a character"),
        pytest.param("Nginx", "REFERENCE_INVALID", "lower-case", id="E89:upper case"),
        pytest.param("Foo/bar", "REFERENCE_INVALID", "lower-case", id="E89:upper case first segment"),
        pytest.param("ghcr.io/a//b", "REFERENCE_INVALID", "segments", id="E89:double slash"),
        pytest.param("/a", "REFERENCE_INVALID", "segments", id="E89:leading slash"),
        pytest.param("ghcr.io/" + "a" * 300, "REFERENCE_INVALID", "at most 255", id="E89:300 characters"),
        pytest.param("a" * 250, "REFERENCE_INVALID", "at most 255", id="E89:too long with library"),
        pytest.param("ghcr.io/a/../b", "REFERENCE_INVALID", "segments", id="traversal"),
        pytest.param("https://ghcr.io/a", "REGISTRY_INVALID", 'leave out "https://"', id="E87:https"),
        pytest.param("FTP://ghcr.io/a", "REGISTRY_INVALID", 'leave out "FTP://"', id="E87:ftp"),
        pytest.param("docker://nginx", "REGISTRY_INVALID", 'leave out "docker://"', id="E87:docker"),
        pytest.param("host.example:70000/a", "REGISTRY_INVALID", "host[:port]", id="E87:port 70000"),
        pytest.param("host.example:/a", "REGISTRY_INVALID", "host[:port]", id="E87:no port"),
        pytest.param("::1:5000/a", "REGISTRY_INVALID", "brackets", id="E87:IPv6 without brackets"),
        pytest.param("[::1/a:b", "REGISTRY_INVALID", "brackets", id="E87:bracket not closed"),
        pytest.param("h\u00f6st.example/a", "REGISTRY_INVALID", 'character 2 ("\u00f6")', id="E87:unicode host"),
        pytest.param("host.example./a", "REGISTRY_INVALID", "trailing dot", id="E87:trailing dot"),
        pytest.param("host.example?x/a", "REGISTRY_INVALID", 'character 13 ("?")', id="E87:query"),
        pytest.param("user@ghcr.io/a", "REGISTRY_INVALID", "leave out user", id="E87:user"),
        pytest.param("oci:", "REFERENCE_INVALID", "names no directory", id="layout without path"),
        pytest.param("oci::tag", "REFERENCE_INVALID", "names no directory", id="layout of a tag"),
        pytest.param("oci:a:b:c", "REFERENCE_INVALID", "is no tag", id="layout with two tags"),
        pytest.param("oci:a:b/", "REFERENCE_INVALID", "begins a tag", id="layout name with a colon"),
        pytest.param("oci:a@sha256:b", "REFERENCE_INVALID", "is no digest", id="layout with a bad digest"),
        pytest.param("oci:a\x00b", "REFERENCE_INVALID", "no path", id="layout with nul"),
        pytest.param("oci:a\x1b[0m", "REFERENCE_INVALID", "no path", id="layout with ansi"),
        pytest.param("oci:" + "a" * 5000, "REFERENCE_INVALID", "no path", id="layout of 5 KB"),
        pytest.param("oci://ghcr.io/a", "REFERENCE_INVALID", 'leave out "oci://"', id="layout as url"),
    ],
)
def test_reference_refuses_and_says_where(text: str, code: str, said: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)

    assert caught.value.code == code
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


@pytest.mark.covers("E87")
@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET}@ghcr.io/a",
        f"https://user:{SECRET}@ghcr.io/a@{DIGEST}",
        f"user:{SECRET}@ghcr.io/a",
        f"user:{SECRET}@ghcr.io:5000/a:b",
        f"user:{SECRET}@ghcr.io",
        f"user:{SECRET}@ghcr.io/a@{DIGEST}",
        f"user:{SECRET}@ghcr.io/a@sha256:short",
        f"user:p@{SECRET}@ghcr.io/a",
        f"user:{SECRET}@p@ghcr.io/a",
        f"user:{SECRET}@sha256:p@ghcr.io/a",
        f"user:{SECRET} p@ghcr.io/a",
        f"user:p/{SECRET}@ghcr.io/a",
        f"user:{SECRET}%@ghcr.io/a@sha256:short",
        f"us er:{SECRET}@ghcr.io/a" + "a" * 2000,
        f"{SECRET}@ghcr.io/a",
        f"oci://user:{SECRET}@ghcr.io/a",
        f"oci:user:{SECRET}@ghcr.io:1",
    ],
)
def test_reference_never_shows_a_password(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)
    error: BaseException | None = caught.value

    while error is not None:
        assert SECRET not in str(error)
        assert SECRET not in repr(error)
        error = error.__cause__
    with pytest.raises(InvalidReferenceError) as caught:
        Repository.parse(text)
    assert SECRET not in str(caught.value)


def test_reference_never_shows_a_character_of_a_password() -> None:
    with pytest.raises(InvalidReferenceError, match="character 6 is not allowed"):
        Reference.parse("user:!@ghcr.io/a")


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        pytest.param("ghcr.io/a:b", "ghcr.io/a:b", id="plain"),
        pytest.param(f"ghcr.io/a@{DIGEST}", f"ghcr.io/a@{DIGEST}", id="digest"),
        pytest.param("user:secret@ghcr.io", "***@ghcr.io", id="user"),
        pytest.param("user:secret@ghcr.io/a@sha512:1", "***@ghcr.io/a@sha512:1", id="user and digest"),
        pytest.param("a\x1b", "a\\x1b", id="control character"),
    ],
)
def test_shown_leaves_out_user_and_password(text: str, shown_as: str) -> None:
    assert shown(text) == shown_as


def test_reference_is_pinned_to_a_digest() -> None:
    pinned = Reference.parse("ghcr.io/a:b").pinned(DIGEST)

    assert str(pinned) == f"ghcr.io/a:b@{DIGEST}"


@pytest.mark.parametrize("name", ["a", "_", "1.2.3", "A-b_C.d", "a" * 128])
def test_tag_takes_what_the_grammar_takes(name: str) -> None:
    assert str(Tag.parse(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="E45:empty"),
        pytest.param("../x", id="E45:traversal"),
        pytest.param("a b", id="E45:space"),
        pytest.param("a" * 129, id="E45:129 characters"),
        pytest.param("a\r\n", id="E45:line end"),
        pytest.param("a\n", id="E45:one line end"),
        pytest.param("a\x00", id="E45:nul"),
        pytest.param("\U0001f600", id="E45:emoji"),
        pytest.param("-dash", id="E45:dash"),
        pytest.param(".dot", id="E45:dot"),
        pytest.param("a" * 10_000_000, id="E47:10 MB"),
    ],
)
def test_tag_refuses_what_is_none(name: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        Tag.parse(name)

    assert caught.value.code == "TAG_INVALID"
    assert len(str(caught.value)) < 400


def test_repository_is_a_reference_without_tag_and_digest() -> None:
    repository = Repository.parse("ghcr.io/acme/team/app")

    assert repository == Repository("ghcr.io", "acme/team/app")
    assert (repository.namespace, repository.name) == ("acme/team", "app")
    assert str(repository) == "ghcr.io/acme/team/app"


def test_repository_of_one_segment_has_no_namespace() -> None:
    assert Repository("ghcr.io", "app").namespace == ""
    assert Repository("ghcr.io", "app").name == "app"


@pytest.mark.parametrize("text", ["ghcr.io/a:b", f"ghcr.io/a@{DIGEST}", "oci:dir"])
def test_repository_refuses_anything_more_or_else(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="not a plain repository"):
        Repository.parse(text)


def test_layout_directory_goes_by_its_path() -> None:
    directory = LayoutDirectory("./a")

    assert directory.host == str(directory) == "oci:./a"


@pytest.mark.parametrize(
    ("text", "host"),
    [
        pytest.param("GHCR.IO", "ghcr.io", id="case"),
        pytest.param("registry", "registry", id="no dot"),
        pytest.param("a.b:443", "a.b:443", id="port"),
        pytest.param("a.b:0443", "a.b:443", id="port with zero"),
        pytest.param("registry.hub.docker.com", "docker.io", id="hub"),
        pytest.param("index.docker.io:443", "docker.io", id="hub with its port"),
        pytest.param("docker.io:5000", "docker.io:5000", id="hub's name with another port"),
        pytest.param("[0:0:0:0:0:0:0:1]", "[::1]", id="IPv6"),
        pytest.param("a" * 63 + ".b", "a" * 63 + ".b", id="long label"),
        pytest.param(".".join(["a" * 60] * 4), ".".join(["a" * 60] * 4), id="long name"),
    ],
)
def test_host_is_normalised(text: str, host: str) -> None:
    assert parse_host(text) == host
    assert parse_host(host) == host


@pytest.mark.covers("E87")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://ghcr.io",
        "user:secret@ghcr.io",
        "ghcr.io/path",
        "ghcr.io?query",
        "ghcr.io#fragment",
        "ghcr.io.",
        "ghcr..io",
        "-ghcr.io",
        "my_registry",
        "ghcr.io:",
        "ghcr.io:0",
        "ghcr.io:65536",
        "ghcr.io:+80",
        "ghcr.io:80:80",
        "ghcr.io:\u0661",
        "::1",
        "[::1",
        "[::1]5000",
        "[::1]:port",
        "[]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]:5000",
        "[1.2.3.4]",
        "g\u0456thub.com",
        "ghcr.io\n",
        " ghcr.io",
        "a" * 64 + ".b",
        "a." * 126 + "aa",
        "a" * 1_000_000,
    ],
)
def test_host_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_host(text)

    assert caught.value.code == "REGISTRY_INVALID"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["a", "a/b", "a1/b-c/d__e", "a" * 255])
def test_repository_path_takes_what_the_grammar_takes(path: str) -> None:
    assert parse_repository_path(path) == path


@pytest.mark.parametrize("path", ["", "/", "a/", "a//b", "A", "a___b", "a..b", "-a", "a-", "a\n", "a" * 256])
def test_repository_path_refuses_what_is_none(path: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse_repository_path(path)

    assert caught.value.code == "REFERENCE_INVALID"


@pytest.mark.parametrize(
    ("segment", "host"),
    [("ghcr.io", True), ("a:1", True), ("localhost", True), ("Localhost", True), ("acme", False), ("Acme", False)],
)
def test_first_segment_is_a_host_by_its_look(segment: str, *, host: bool) -> None:
    assert looks_like_host(segment) is host


@pytest.mark.parametrize(
    ("text", "host", "rest"),
    [
        pytest.param("ghcr.io/acme/*", "ghcr.io", "acme/*", id="pattern"),
        pytest.param("acme/**", "docker.io", "acme/**", id="hub pattern"),
        pytest.param("nginx", "docker.io", "nginx", id="hub name"),
        pytest.param("docker.io/*", "docker.io", "*", id="hub named"),
    ],
)
def test_split_host_leaves_the_rest_as_it_is(text: str, host: str, rest: str) -> None:
    assert split_host(text) == (host, rest)
