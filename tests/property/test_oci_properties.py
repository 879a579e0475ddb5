"""Whatever a registry, a file or a user says, the parsers return a value or raise an error of mirrord."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirrord.errors import MirrordError, quote
from mirrord.oci.descriptor import Descriptor, parse_descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.jsontext import parse_object
from mirrord.oci.manifest import parse_manifest
from mirrord.oci.mediatype import ACCEPT, DOCKER_SCHEMA1
from mirrord.oci.platform import Platform
from mirrord.oci.reference import Reference, Repository, Tag, parse_host, parse_repository_path, split_host
from tests.fakes.images import descriptor_json, make_image, make_index

ANY_TEXT = st.text(st.characters(exclude_categories=[])) | st.text("ab.:/@-_[]0A%? \n\u0661", max_size=40)
DIGESTS = st.builds(Digest.of, st.binary(max_size=8), st.sampled_from(["sha256", "sha512"]))
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
PATHS = st.from_regex(r"[a-z0-9]{1,9}((\.|_|__|-{1,3})[a-z0-9]{1,9}){0,2}(/[a-z0-9]{1,9}){0,3}", fullmatch=True)
HOSTS = st.one_of(
    st.from_regex(r"[a-zA-Z0-9]{1,9}(\.[a-zA-Z0-9]{1,9}){1,3}(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.sampled_from(["localhost", "LOCALHOST:5000", "docker.io", "index.docker.io"]),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
LAYOUTS = st.from_regex(r"oci:(\.{0,2}/)?[a-zA-Z0-9 @._-]{1,9}(/[a-z@:]{0,5}[a-z])?/{0,2}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=8,
)
SOME_DIGEST = st.sampled_from(["", "sha256:", "sha256:" + "a" * 64, "sha512:" + "b" * 128, "md5:1", "sha256:../x"])
DESCRIPTORS = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.sampled_from([*ACCEPT, DOCKER_SCHEMA1, ""]) | JSON,
        "digest": SOME_DIGEST | JSON,
        "size": st.integers() | JSON,
        "urls": st.lists(st.text(max_size=3), max_size=3) | JSON,
        "annotations": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2) | JSON,
        "data": st.text(max_size=5) | JSON,
        "platform": st.dictionaries(st.sampled_from(["os", "architecture", "variant"]), st.text(max_size=5)) | JSON,
        "artifactType": JSON,
        "Digest": JSON,
    },
)
MANIFESTS = st.fixed_dictionaries(
    {"schemaVersion": st.just(2) | JSON},
    optional={
        "mediaType": st.sampled_from([*ACCEPT, DOCKER_SCHEMA1, ""]) | JSON,
        "config": DESCRIPTORS | JSON,
        "layers": st.lists(DESCRIPTORS, max_size=3) | JSON,
        "manifests": st.lists(DESCRIPTORS, max_size=3) | JSON,
        "subject": DESCRIPTORS | JSON,
        "annotations": JSON,
        "artifactType": JSON,
        "fsLayers": JSON,
    },
)


@contextlib.contextmanager
def refusals_are_fine() -> Iterator[None]:
    """Let errors of mirrord pass, if their text is fit to be shown."""
    try:
        yield
    except MirrordError as exc:
        check_message(str(exc))


def check_message(message: str) -> None:
    assert message.isprintable()
    assert len(message) < 1_000


@given(st.text(st.characters(exclude_categories=[])) | st.binary(), st.integers(0, 50))
def test_quoted_text_is_short_and_harmless(text: str | bytes, limit: int) -> None:
    shown = quote(text, limit)

    assert len(shown) <= limit + len("...")
    assert shown.isprintable()
    shown.encode()


@given(ANY_TEXT)
@example("sha256:" + "a" * 64 + "\n")
def test_digest_is_read_or_refused(text: str) -> None:
    with refusals_are_fine():
        assert str(Digest.parse(text)) == text


@given(DIGESTS)
def test_digest_reads_what_it_writes(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@given(st.lists(st.binary()), st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_verifier_agrees_with_the_digest_of_the_whole(pieces: list[bytes], other: bytes, algorithm: str) -> None:
    whole = b"".join(pieces)
    verifier = Digest.of(whole, algorithm).verifier()
    for piece in pieces:
        verifier.update(piece)

    assert verifier.matches()
    assert verifier.actual() == verifier.expected
    verifier.update(other)
    assert verifier.matches() is (not other)


@given(ANY_TEXT)
def test_tag_is_read_or_refused(text: str) -> None:
    with refusals_are_fine():
        assert str(Tag.parse(text)) == text


@given(ANY_TEXT | st.from_regex(r"[a-z0-9]{1,9}/[a-z0-9_]{1,9}(/v[0-9])?", fullmatch=True))
def test_platform_is_read_or_refused(text: str) -> None:
    with refusals_are_fine():
        platform = Platform.parse(text)
        assert Platform.parse(str(platform)) == platform
        assert platform.covers(platform)


@given(ANY_TEXT)
def test_host_is_read_or_refused(text: str) -> None:
    with refusals_are_fine():
        host = parse_host(text)
        assert parse_host(host) == host
    with refusals_are_fine():
        parse_repository_path(text)
    with refusals_are_fine():
        split_host(text)


@given(ANY_TEXT | LAYOUTS | ANY_TEXT.map("oci:{}".format))
@example("oci:a:b/")
@example("oci:a@sha256:b/")
@example("Foo/bar")
def test_reference_is_read_or_refused(text: str) -> None:
    with refusals_are_fine():
        reference = Reference.parse(text)
        assert Reference.parse(str(reference)) == reference
        assert reference.location.host


@given(HOSTS, PATHS, st.none() | TAGS, st.none() | DIGESTS)
def test_reference_reads_what_it_writes(host: str, path: str, tag: str | None, digest: Digest | None) -> None:
    written = f"{host}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = Reference.parse(written)

    assert isinstance(reference.location, Repository)
    assert reference.location.host == parse_host(host)
    assert reference.location.path.removeprefix("library/") == path.removeprefix("library/")
    assert (reference.tag, reference.digest) == (Tag(tag) if tag else None, digest)
    assert Reference.parse(str(reference)) == reference


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@"), min_size=6),
    st.sampled_from(["", "https://", "oci://"]),
    HOSTS,
    PATHS,
    st.sampled_from(["", ":tag", "@sha256:short", f"@{Digest.of(b'')}", "?query", "@"]),
)
def test_reference_never_shows_what_stands_before_the_sign(
    password: str, scheme: str, host: str, path: str, end: str
) -> None:
    with pytest.raises(MirrordError) as caught:
        Reference.parse(f"{scheme}user:(secret){password}@{host}/{path}{end}")

    assert "(secret)" not in str(caught.value)
    with pytest.raises(MirrordError) as caught:
        parse_host(f"{scheme}user:(secret){password}@{host}")
    assert "(secret)" not in str(caught.value)


@given(st.binary() | ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b'{"a":' + b"1" * 5000 + b"}")
@example(b'{"a":"\\ud800"}')
def test_json_is_read_or_refused(raw: bytes) -> None:
    with refusals_are_fine():
        parse_object(raw, "the manifest")


@given(st.text('[]{}",:\\ 1a', max_size=60), st.integers(0, 130))
def test_json_of_odd_structure_is_read_as_the_standard_library_does_or_refused(text: str, brackets: int) -> None:
    raw = ("[" * brackets + text).encode()
    with refusals_are_fine():
        assert parse_object(raw, "the manifest") == json.loads(raw)


@given(JSON.filter(lambda value: isinstance(value, dict)), st.booleans())
def test_json_reads_what_is_written(value: dict[str, object], ascii_only: bool) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False).encode()
    except ValueError:  # NaN, or half a character
        return

    assert parse_object(raw, "the manifest") == value


@given(DESCRIPTORS | JSON)
def test_descriptor_is_read_or_refused(value: object) -> None:
    with refusals_are_fine():
        descriptor = parse_descriptor(value, "layers[0]")
        assert descriptor.size >= 0
        assert hash(descriptor) == hash(parse_descriptor(value, "layers[0]"))


@given(MANIFESTS, st.sampled_from(["", *ACCEPT, "text/html"]))
def test_manifest_is_read_or_refused(fields: dict[str, object], media_type: str) -> None:
    raw = json.dumps(fields).encode()
    with refusals_are_fine():
        manifest = parse_manifest(raw, media_type=media_type)
        assert manifest.raw == raw
        assert manifest.descriptor.digest == Digest.of(raw)
        assert len({blob.digest for blob in manifest.blobs()}) == len(manifest.blobs())


@given(st.data(), st.sampled_from([make_image().raw, make_index(attestations=True).raw]))
def test_damaged_manifest_is_read_or_refused(data: st.DataObject, raw: bytes) -> None:
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 20)))
    damaged = raw[:start] + data.draw(st.binary(max_size=5)) + raw[end:]
    with refusals_are_fine():
        assert parse_manifest(damaged).raw == damaged


@given(st.sampled_from([*make_index(attestations=True).index.manifests, *make_image().manifest.layers]))
def test_descriptor_reads_what_is_written(descriptor: Descriptor) -> None:
    assert parse_descriptor(descriptor_json(descriptor), "layers[0]") == descriptor
