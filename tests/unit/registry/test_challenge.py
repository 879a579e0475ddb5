"""The WWW-Authenticate parser, and the choice of a scheme."""

from __future__ import annotations

import pytest

from mirrord.errors import ProtocolViolationError
from mirrord.registry.challenge import BasicChallenge, BearerChallenge, choose, parse_challenges

Parsed = list[tuple[str, dict[str, str]]]

CASES: list[tuple[str, list[str], Parsed]] = [
    ("nothing", [], []),
    ("an-empty-line", ["", " , ,"], []),
    (
        "docker-hub",
        ['Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'],
        [
            (
                "bearer",
                {
                    "realm": "https://auth.docker.io/token",
                    "service": "registry.docker.io",
                    "scope": "repository:a/b:pull,push",
                },
            )
        ],
    ),
    (
        "two-in-one-line",
        ['Negotiate, Basic realm="a, b"'],
        [("negotiate", {}), ("basic", {"realm": "a, b"})],
    ),
    (
        "two-lines",
        ["Negotiate", 'Bearer realm="https://r/t"'],
        [("negotiate", {}), ("bearer", {"realm": "https://r/t"})],
    ),
    ("escapes", [r'Basic realm="a \"quoted\" \\ realm"'], [("basic", {"realm": r'a "quoted" \ realm'})]),
    ("unquoted", ["Bearer realm=https://r/t?x,service=s"], [("bearer", {"realm": "https://r/t?x", "service": "s"})]),
    (
        "blanks-around-equals",
        ['Bearer realm = "https://r/t" , service= s'],
        [("bearer", {"realm": "https://r/t", "service": "s"})],
    ),
    ("no-commas", ['Bearer realm="https://r/t" service="s"'], [("bearer", {"realm": "https://r/t", "service": "s"})]),
    ("upper-case", ['BEARER Realm="https://r/t"'], [("bearer", {"realm": "https://r/t"})]),
    (
        "unbalanced-quote",
        ['Bearer service="s",realm="https://r/t'],
        [("bearer", {"service": "s", "realm": "https://r/t"})],
    ),
    ("ends-in-a-backslash", ['Bearer realm="https://r/t\\'], [("bearer", {"realm": "https://r/t"})]),
    ("first-of-two-counts", ['Bearer realm="https://a/",realm="https://b/"'], [("bearer", {"realm": "https://a/"})]),
    ("parameters-without-scheme", ['realm="https://a/", Basic'], [("basic", {})]),
    ("stray-quotes", ['"" = Basic realm="x""'], [("basic", {"realm": "x"})]),
    ("empty-value", ['Bearer realm="",service='], [("bearer", {"realm": "", "service": ""})]),
    ("error-of-rfc-6750", ['Bearer error="invalid_token"'], [("bearer", {"error": "invalid_token"})]),
]


@pytest.mark.covers("E53")
@pytest.mark.parametrize(("lines", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_challenges_are_read_with_tolerance(lines: list[str], expected: Parsed) -> None:
    assert [(challenge.scheme, dict(challenge.params)) for challenge in parse_challenges(lines)] == expected


@pytest.mark.parametrize(
    ("line", "blob"),
    [
        ("Negotiate YIIB/+8=", "YIIB/+8="),
        ("Negotiate abc==, Basic", "abc=="),
        ("Negotiate", ""),
        ('Basic realm="x"', ""),
    ],
)
def test_challenges_keep_a_blob_in_place_of_parameters(line: str, blob: str) -> None:
    assert parse_challenges([line])[0].token68 == blob


@pytest.mark.covers("E52")
def test_challenges_longer_than_64_kib_are_refused_before_parsing() -> None:
    half = 'Bearer realm="' + "a" * 33_000

    with pytest.raises(ProtocolViolationError, match=r"AUTH_CHALLENGE_INVALID.*at most 65536"):
        parse_challenges([half, half])


def test_challenges_of_64_kib_are_read_up_to_the_32nd() -> None:
    assert len(parse_challenges(["a," * 32 * 1024])) == 32


@pytest.mark.covers("E53")
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['Basic realm="x"', 'Bearer realm="https://r/t"'], BearerChallenge(realm="https://r/t")),
        (['Negotiate, Basic realm="x"'], BasicChallenge(realm="x")),
        (["Basic"], BasicChallenge()),
        (["Negotiate", "NTLM"], None),
        ([], None),
        (['Bearer error="invalid_token"'], None),
        (['Bearer error="x"', 'Basic realm="y"'], BasicChallenge(realm="y")),
        (['Bearer realm=""', 'Bearer realm="https://r/t"'], BearerChallenge(realm="https://r/t")),
        (['Bearer realm=""', "Basic"], BasicChallenge()),
        (
            ['Bearer realm="https://r/t",service="s",scope="aws",error="insufficient_scope"'],
            BearerChallenge(realm="https://r/t", service="s", scope="aws", error="insufficient_scope"),
        ),
    ],
    ids=[
        "bearer-before-basic",
        "basic-beside-negotiate",
        "basic-alone",
        "only-unsupported",
        "none",
        "bearer-without-realm",
        "basic-beside-bearer-without-realm",
        "second-bearer-usable",
        "basic-beside-empty-realm",
        "all-parameters",
    ],
)
def test_choose_takes_the_best_supported_scheme(
    lines: list[str], expected: BearerChallenge | BasicChallenge | None
) -> None:
    assert choose(parse_challenges(lines)) == expected


@pytest.mark.covers("E52")
def test_choose_refuses_an_empty_realm() -> None:
    with pytest.raises(ProtocolViolationError, match=r"AUTH_CHALLENGE_INVALID.*realm of its challenge is empty"):
        choose(parse_challenges(['Bearer realm="",service="s"']))
