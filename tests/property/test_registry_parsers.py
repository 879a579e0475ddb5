"""Whatever a registry sends: its parsers answer, or raise an error of ours, and never hang."""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mirrord.errors import AddressRefusedError, MirrordError
from mirrord.registry.challenge import choose, parse_challenges
from mirrord.registry.dockerconfig import DockerConfig
from mirrord.registry.errorbody import error_from_response
from mirrord.registry.errortext import read_error_body
from mirrord.registry.guard import Address, host_literal, is_inside
from mirrord.registry.links import content_range, next_link, upload_range
from mirrord.registry.origin import Door, Origin, RegistryTrust, Verdict, judge, resolve
from mirrord.registry.redact import redact_text, redact_url
from mirrord.registry.retry import LONGEST_HINT_S, retry_after_s

NOW = datetime(2025, 11, 24, tzinfo=UTC)
BASE = "https://registry.example.com/v2/app/tags/list?n=2"
TRUST = RegistryTrust(origin=Origin.parse(BASE))

# Texts that are mostly made of what the parsers look for.
headers = st.lists(
    st.one_of(
        st.sampled_from(
            ["Bearer", "Basic", " ", ",", "=", '"', "\\", "realm=", "<", ">", ";", "rel=next", "a", "/", "?"]
        ),
        st.text(max_size=8),
    ),
    max_size=40,
).map("".join)
URL_PARTS = """https: http: // / registry.example.com evil.test : 5000 @ . .. [ ] ::1 127.0.0.1 ? # \\ %2f x
169.254.169.254 0x7f localhost"""
urls = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(URL_PARTS.split()), max_size=10).map("".join))
PIECES = """a , = " \\ < > ; << a= a=" <a> <a>; /../ \\" [ { <script 9 . eyJ bearer password= https:// <title
retry-after:1 /var/ é 0 - bytes : bytes= retry-after </script x@"""
pieces = st.sampled_from([*PIECES.split(), " ", "\t", "\x00", "bearer "])


@given(st.lists(headers, max_size=4))
def test_challenges_parse_or_fail_as_ours(values: list[str]) -> None:
    try:
        challenge = choose(parse_challenges(values))
    except MirrordError:
        return

    assert challenge is None or challenge.realm is not None


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope"]), st.text(max_size=30), min_size=1))
def test_challenges_give_back_what_was_quoted(params: dict[str, str]) -> None:
    quoted = ", ".join('{}="{}"'.format(k, v.replace("\\", "\\\\").replace('"', '\\"')) for k, v in params.items())

    (challenge,) = parse_challenges([f"Bearer {quoted}"])

    assert challenge.params == params


@given(headers)
def test_next_link_parses_or_fails_as_ours(value: str) -> None:
    try:
        found = next_link([value], BASE)
    except MirrordError:
        return

    assert found is None or ":" in found


@given(urls)
def test_resolve_gives_a_url_whose_origin_is_stable(location: str) -> None:
    try:
        joined = resolve(BASE, location)
        origin = Origin.parse(joined)
    except AddressRefusedError:
        return

    assert Origin.parse(str(origin)) == origin
    assert resolve(BASE, joined) == joined


@pytest.mark.covers("C29", "C31")
@given(urls, st.sampled_from([door for door in Door if door is not Door.REALM]))
def test_judge_gives_the_credential_to_the_registrys_own_origin_alone(location: str, door: Door) -> None:
    ruling = judge(location, door=door, registry=TRUST)

    if ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL:
        assert Origin.parse(ruling.url) == TRUST.origin
    if ruling.verdict is Verdict.FOLLOW_WITHOUT and Origin.parse(ruling.url) != TRUST.origin:
        literal = host_literal(Origin.parse(ruling.url).host)
        assert ruling.guarded
        assert literal is None or not is_inside(literal)


@pytest.mark.covers("C29")
@given(urls)
def test_judge_gives_the_credential_to_no_realm_without_tls(location: str) -> None:
    ruling = judge(location, door=Door.REALM, registry=TRUST)

    assert ruling.verdict is Verdict.REFUSE or Origin.parse(ruling.url).scheme == "https"


@given(st.ip_addresses(v=4))
def test_addresses_hidden_in_six_are_judged_by_what_they_hide(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    hiding = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
    ]

    assert {is_inside(hidden) for hidden in hiding} == {is_inside(address)}


@given(st.ip_addresses(v=4))
def test_addresses_are_read_in_every_notation(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    octal = ".".join(f"0{part:o}" for part in address.packed)

    assert {host_literal(text) for text in (str(address), str(number), hex(number), f"0{number:o}", octal)} == {address}


@given(st.ip_addresses())
def test_the_guard_refuses_at_least_what_python_calls_private(address: Address) -> None:
    embedded = isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped or address.sixtofour)
    assume(not embedded)

    local = address.is_private or address.is_loopback or address.is_link_local
    if local or address.is_multicast or address.is_unspecified:
        assert is_inside(address)


@given(st.one_of(headers, st.text(alphabet="0123456789-/*= bytes", max_size=30)))
def test_ranges_parse_or_are_none(value: str) -> None:
    found = content_range(value)

    assert found is None or 0 <= found[0] <= found[1]
    assert (upload_range(value) or 0) >= 0


@given(st.text(max_size=40), st.text(max_size=60), st.sampled_from(["", "retry-after: ", "Retry-After=1"]))
def test_retry_hints_are_bounded(value: str, text: str, head: str) -> None:
    wait_s = retry_after_s({"Retry-After": value}, head + text, NOW)

    assert wait_s is None or 0 <= wait_s <= LONGEST_HINT_S


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["errors", "error", "code", "message", "detail", "details", "x"]), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


@pytest.mark.covers("E62")
@given(
    st.one_of(st.binary(max_size=200), json_values.map(lambda value: json.dumps(value).encode())),
    st.integers(min_value=100, max_value=999),
    st.sampled_from(["GET", "PUT", "DELETE", "PATCH", "POST", "HEAD"]),
)
def test_any_answer_becomes_one_error(body: bytes, status: int, method: str) -> None:
    error = error_from_response(
        host="h",
        method=method,
        path="/v2/a/manifests/b?c",
        status=status,
        headers={},
        body=body,
        what="try",
        now=NOW,
    )

    text = str(error)
    assert text.isprintable()
    assert len(text) < 800


@given(urls)
def test_redacted_urls_have_no_query_and_no_user(url: str) -> None:
    shown = redact_url(url)

    assert "?" not in shown.removesuffix("?[redacted]")
    assert shown.isprintable()


@given(
    st.text(alphabet="abcxyz/:.\\%", min_size=8, max_size=20),
    st.sampled_from(["https://", "//", ""]),
)
def test_redacted_urls_never_show_a_password(password: str, scheme: str) -> None:
    shown = redact_url(f"{scheme}user:{password}@host/path?{password}")

    assert password not in shown


@given(st.binary(max_size=200))
def test_docker_files_parse_or_fail_as_ours(raw: bytes) -> None:
    try:
        config = DockerConfig.parse(raw, "config.json")
        config.stored("registry.example.com")
        config.helpers_for("registry.example.com")
    except MirrordError:
        return


@pytest.mark.covers("E50", "E53", "E62")
@pytest.mark.timeout(20)
@given(st.lists(pieces, min_size=1, max_size=3).map("".join))
def test_parsers_survive_a_hundred_kilobytes_of_anything_repeated(unit: str) -> None:
    """A parser that backtracks or rescans would take minutes for one of these; all together take milliseconds."""
    for length in (60_000, 100_000):
        text = (unit * (length // len(unit) + 1))[:length]
        for parse in (
            lambda text: parse_challenges([text]),
            lambda text: next_link([f"<a>{text}"], BASE),
            lambda text: resolve(BASE, text),
            lambda text: judge(text, door=Door.LINK, registry=TRUST),
            lambda text: retry_after_s({"retry-after": text}, text, NOW),
            lambda text: read_error_body(text.encode()),
            redact_text,
            redact_url,
            content_range,
            upload_range,
            host_literal,
        ):
            try:
                parse(text)
            except MirrordError:
                continue
