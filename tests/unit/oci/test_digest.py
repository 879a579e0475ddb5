import hashlib

import pytest

from mirrord.errors import InvalidDigestError
from mirrord.oci.digest import Digest

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"sha256:{HEX}", id="sha256"),
        pytest.param(f"sha512:{HEX}{HEX}", id="E20:sha512"),
    ],
)
def test_digest_reads_and_writes_itself(text: str) -> None:
    digest = Digest.parse(text)

    assert str(digest) == text
    assert f"{digest.algorithm}:{digest.hex}" == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="E15:nothing"),
        pytest.param("sha256:", id="E15:no digits"),
        pytest.param("sha256", id="E15:no colon"),
        pytest.param(HEX, id="E15:no algorithm"),
        pytest.param(f"sha256:{HEX[1:]}", id="E15:63 digits"),
        pytest.param(f"sha256:{HEX}0", id="E15:65 digits"),
        pytest.param(f"sha256:{HEX.upper()}", id="E15:upper case"),
        pytest.param(f"SHA256:{HEX}", id="E15:upper case algorithm"),
        pytest.param(f"sha512:{HEX}", id="E15:sha512 with 64 digits"),
        pytest.param(f":{HEX}", id="E15:empty algorithm"),
        pytest.param(f"sha256:{HEX[2:]}zz", id="E15:no hex"),
        pytest.param(f"sha256:sha256:{HEX}", id="E15:twice"),
        pytest.param("sha256:../../../v2/other/blobs/" + HEX, id="E16:traversal"),
        pytest.param("sha256:" + "../" * 21 + "a", id="E16:traversal of 64 characters"),
        pytest.param(f"sha256:{HEX}?x", id="E17:query"),
        pytest.param(f"sha256:{HEX}#x", id="E17:fragment"),
        pytest.param(f"sha256:{HEX[3:]}%2f", id="E17:escape"),
        pytest.param(f"sha256:{HEX}\r\nX: y", id="E17:header"),
        pytest.param(f"sha256:{HEX}\n", id="E17:line end"),
        pytest.param(f" sha256:{HEX}", id="E17:space before"),
        pytest.param(f"sha256: {HEX[1:]}", id="E17:space inside"),
        pytest.param(f"sha256:{HEX[1:]}\uff11", id="E19:fullwidth digit"),
        pytest.param(f"sha256:{HEX[1:]}\u0661", id="E19:arabic digit"),
        pytest.param("sha256:" + "a" * 1_000_000, id="E15:a megabyte"),
    ],
)
def test_digest_refuses_what_is_none(text: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse(text)

    assert caught.value.code == "DIGEST_INVALID"
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"md5:{HEX[:32]}", id="E18:md5"),
        pytest.param(f"sha1:{HEX[:40]}", id="E18:sha1"),
        pytest.param(f"sha384:{HEX}{HEX[:32]}", id="E18:sha384"),
        pytest.param(f"foo+bar:{HEX}", id="E18:made up"),
        pytest.param("foo+bar:", id="E18:made up and empty"),
    ],
)
def test_digest_refuses_algorithms_it_cannot_verify(text: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        Digest.parse(text)

    assert caught.value.code == "DIGEST_ALGORITHM_UNSUPPORTED"


def test_digest_of_content_is_its_hash() -> None:
    assert str(Digest.of(b"content")) == f"sha256:{hashlib.sha256(b'content').hexdigest()}"
    assert str(Digest.of(b"content", "sha512")) == f"sha512:{hashlib.sha512(b'content').hexdigest()}"


def test_digest_has_a_short_form_for_people() -> None:
    assert Digest.of(b"").short == "e3b0c44298fc"


@pytest.mark.covers("E20")
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_verifier_tells_the_right_content_from_any_other(algorithm: str) -> None:
    expected = Digest.of(b"one two", algorithm)
    right, short, wrong = (expected.verifier() for _ in range(3))
    for piece in (b"one", b"", b" two"):
        right.update(piece)
    short.update(b"one")
    wrong.update(b"one three")

    assert right.matches()
    assert right.actual() == right.expected == expected
    assert not short.matches()
    assert not wrong.matches()
    assert wrong.actual() == Digest.of(b"one three", algorithm)
