"""The URL-provenance matrix: every door against every class of target, one verdict each.

Read a row from left to right: what a registry may name as token realm, redirect, upload Location, next page, and
what a descriptor may name among its urls. ``cred`` follows with the registry's credential, ``anon`` without it,
``guard`` without it and through the connect-time guard, ``fix`` with the credential after mending the scheme,
``no`` refuses.
"""

from __future__ import annotations

import pytest

from mirrord.registry.origin import Door, Origin, RegistryTrust, Ruling, Verdict, judge

DOORS = (Door.REALM, Door.REDIRECT, Door.UPLOAD_LOCATION, Door.LINK, Door.DESCRIPTOR_URL)

PUBLIC = RegistryTrust(origin=Origin.parse("https://registry.example.com:5000"), auth_hosts=frozenset({"login.test"}))

# target                                                            realm   redirect upload link    urls
PUBLIC_MATRIX = """
same-host-and-port       https://registry.example.com:5000/x          cred    cred    cred    cred    anon
trailing-dot             https://registry.example.com.:5000/x         cred    cred    cred    cred    anon
upper-case               HTTPS://Registry.Example.COM:5000/x          cred    cred    cred    cred    anon
same-host-other-port     https://registry.example.com:5001/x          no      guard   no      no      guard
same-host-default-port   https://registry.example.com/x               no      guard   no      no      guard
same-host-plain-http     http://registry.example.com:5000/x           no      no      fix     no      no
sibling                  https://auth.example.com/x                   cred*   guard   guard   no      guard
sibling-other-port       https://auth.example.com:8443/x              no      guard   guard   no      guard
sibling-plain-http       http://auth.example.com/x                    no      no      no      no      no
listed                   https://login.test/x                         cred    guard   guard   no      guard
listed-other-port        https://login.test:8443/x                    no      guard   guard   no      guard
listed-plain-http        http://login.test/x                          no      no      no      no      no
other-domain             https://cdn.test/x                           no      guard   guard   no      guard
other-domain-plain-http  http://cdn.test/x                            no      no      no      no      no
name-ends-in-ours        https://registry.example.com.evil.test/x     no      guard   guard   no      guard
name-begins-with-ours    https://registry.example.company/x           no      guard   guard   no      guard
public-address           https://8.8.8.8/x                            no      guard   guard   no      guard
loopback-v4              https://127.0.0.1/x                          no      no      no      no      no
loopback-v6              https://[::1]/x                              no      no      no      no      no
localhost                https://localhost/x                          no      no      no      no      no
unspecified-v4           https://0.0.0.0:9000/x                       no      no      no      no      no
unspecified-v6           https://[::]/x                               no      no      no      no      no
metadata                 https://169.254.169.254/latest               no      no      no      no      no
metadata-plain           http://169.254.169.254/latest                no      no      no      no      no
link-local-v6            https://[fe80::1]/x                          no      no      no      no      no
ten                      https://10.1.2.3/x                           no      no      no      no      no
one-seven-two            https://172.16.0.1/x                         no      no      no      no      no
one-nine-two             https://192.168.1.1/x                        no      no      no      no      no
unique-local-v6          https://[fd00::1]/x                          no      no      no      no      no
shared                   https://100.64.0.1/x                         no      no      no      no      no
mapped-v6                https://[::ffff:10.0.0.1]/x                  no      no      no      no      no
six-to-four              https://[2002:7f00:1::]/x                    no      no      no      no      no
nat64                    https://[64:ff9b::a00:1]/x                   no      no      no      no      no
decimal-v4               https://2130706433/x                         no      no      no      no      no
octal-v4                 https://0177.0.0.1/x                         no      no      no      no      no
hex-v4                   https://0x7f000001/x                         no      no      no      no      no
short-v4                 https://127.1/x                              no      no      no      no      no
decimal-public-v4        https://134744072/x                          no      no      no      no      no
userinfo                 https://u:p@registry.example.com:5000/x      no      no      no      no      no
userinfo-elsewhere       https://registry.example.com:5000@evil.test  no      no      no      no      no
backslash                https://registry.example.com:5000\\@evil     no      no      no      no      no
idn                      https://régistry.example.com:5000/x          no      no      no      no      no
idn-in-ascii             https://xn--rgistry-bya.example.com/x         cred*   guard   guard   no      guard
file-scheme              file:///etc/passwd                           no      no      no      no      no
gopher-scheme            gopher://registry.example.com:5000/x         no      no      no      no      no
no-scheme                //registry.example.com:5000/x                no      no      no      no      no
empty                    ""                                           no      no      no      no      no
"""

PRIVATE = RegistryTrust(
    origin=Origin.parse("http://10.0.0.5:5000"),
    plain_http=True,
    private=True,
    auth_hosts=frozenset({"10.0.0.6:5001", "auth.corp"}),
)

# A registry on an inside network, spoken to without TLS (A11).
# target                                                            realm   redirect upload link    urls
PRIVATE_MATRIX = """
same-host-and-port       http://10.0.0.5:5000/x                       cred    cred    cred    cred    anon
same-host-other-port     http://10.0.0.5:5001/x                       no      anon    no      no      no
same-host-with-tls       https://10.0.0.5:5000/x                      no      anon    no      no      no
listed-address           http://10.0.0.6:5001/x                       cred    anon    no      no      no
listed-with-tls          https://10.0.0.6:5001/x                      cred    anon    anon    no      no
listed-other-port        https://10.0.0.6/x                           no      anon    anon    no      no
listed-name              http://auth.corp/x                           cred    anon    no      no      no
other-inside             http://10.9.9.9/x                            no      anon    no      no      no
other-inside-with-tls    https://10.9.9.9/x                           no      anon    anon    no      no
loopback                 https://127.0.0.1/x                          no      anon    anon    no      no
metadata                 http://169.254.169.254/latest                no      no      no      no      no
metadata-with-tls        https://169.254.169.254/latest               no      no      no      no      no
metadata-v6              https://[fd00:ec2::254]/latest               no      no      no      no      no
unspecified              https://0.0.0.0/x                            no      no      no      no      no
hex-v4                   https://0x0a000006/x                         no      no      no      no      no
outside                  https://cdn.test/x                           no      anon    anon    no      guard
outside-plain-http       http://cdn.test/x                            no      anon    no      no      no
userinfo                 http://u@10.0.0.5:5000/x                     no      no      no      no      no
"""

CELLS = {
    "cred": (Verdict.FOLLOW_WITH_CREDENTIAL, False, False),
    "cred*": (Verdict.FOLLOW_WITH_CREDENTIAL, True, False),
    "fix": (Verdict.FOLLOW_WITH_CREDENTIAL, False, True),
    "anon": (Verdict.FOLLOW_WITHOUT, False, False),
    "guard": (Verdict.FOLLOW_WITHOUT, True, False),
    "no": (Verdict.REFUSE, False, False),
}


def cells(matrix: str, name: str) -> list[object]:
    found: list[object] = []
    for line in matrix.strip().splitlines():
        label, url, *row = line.split()
        for door, cell in zip(DOORS, row, strict=True):
            found.append(pytest.param(url.strip('"'), door, cell, id=f"{name}-{label}-{door.name.lower()}"))
    return found


def judged(ruling: Ruling, url: str) -> tuple[Verdict, bool, bool]:
    return ruling.verdict, ruling.guarded, ruling.url != url


@pytest.mark.covers(
    "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A13", "A19", "E39", "E49", "E52", "E56"
)
@pytest.mark.parametrize(("url", "door", "cell"), cells(PUBLIC_MATRIX, "public"))
def test_judge_of_a_public_registry(url: str, door: Door, cell: str) -> None:
    ruling = judge(url, door=door, registry=PUBLIC)

    assert judged(ruling, url) == CELLS[cell], ruling.reason


@pytest.mark.covers("A11")
@pytest.mark.parametrize(("url", "door", "cell"), cells(PRIVATE_MATRIX, "private"))
def test_judge_of_a_private_registry_without_tls(url: str, door: Door, cell: str) -> None:
    ruling = judge(url, door=door, registry=PRIVATE)

    assert judged(ruling, url) == CELLS[cell], ruling.reason


@pytest.mark.parametrize("door", DOORS)
def test_judge_gives_each_refusal_the_code_of_its_door(door: Door) -> None:
    ruling = judge("file:///x", door=door, registry=PUBLIC)

    assert ruling.code == door.value
    assert ruling.reason


@pytest.mark.parametrize("door", DOORS)
def test_judge_refuses_a_megabyte_at_every_door(door: Door) -> None:
    url = "https://registry.example.com:5000/" + "x" * 2**20

    assert judge(url, door=door, registry=PUBLIC).verdict is Verdict.REFUSE


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("https://registry.example.com:5000/v2/", Verdict.FOLLOW_WITH_CREDENTIAL),
        ("https://registry.example.com/v2/", Verdict.REFUSE),
        ("https://evil.test/v2/", Verdict.REFUSE),
    ],
)
def test_judge_lets_our_own_urls_go_to_the_registry_alone(url: str, verdict: Verdict) -> None:
    ruling = judge(url, door=Door.OWN, registry=PUBLIC)

    assert ruling.verdict is verdict


HUB = RegistryTrust(origin=Origin.parse("https://registry-1.docker.io"))


def test_judge_trusts_the_token_service_of_docker_hub_without_a_setting() -> None:
    ruling = judge("https://auth.docker.io/token?service=x", door=Door.REALM, registry=HUB)

    assert ruling.verdict is Verdict.FOLLOW_WITH_CREDENTIAL


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://registry-1.docker.io/u?_state=a%2Fb", "https://registry-1.docker.io/u?_state=a%2Fb"),
        ("http://registry-1.docker.io:80/u", "https://registry-1.docker.io/u"),
        ("http://registry-1.docker.io:443/u", "https://registry-1.docker.io/u"),
        ("http://registry-1.docker.io:8080/u", None),
        ("http://cdn.docker.io/u", None),
    ],
)
def test_judge_mends_an_upload_location_that_only_lost_its_tls(location: str, expected: str | None) -> None:
    ruling = judge(location, door=Door.UPLOAD_LOCATION, registry=HUB)

    assert (ruling.url if ruling.verdict is not Verdict.REFUSE else None) == expected


def test_judge_does_not_mend_for_a_registry_on_another_port() -> None:
    ruling = judge("http://registry.example.com/u", door=Door.UPLOAD_LOCATION, registry=PUBLIC)

    assert ruling.verdict is Verdict.REFUSE


def test_judge_takes_a_private_sibling_realm_unguarded() -> None:
    trust = RegistryTrust(origin=Origin.parse("https://registry.corp.internal"), private=True)

    ruling = judge("https://auth.corp.internal/token", door=Door.REALM, registry=trust)

    assert (ruling.verdict, ruling.guarded) == (Verdict.FOLLOW_WITH_CREDENTIAL, False)


def test_judge_ignores_a_listed_host_that_is_none() -> None:
    trust = RegistryTrust(origin=HUB.origin, auth_hosts=frozenset({"evil.test/path@x", ""}))

    assert judge("https://evil.test/", door=Door.REALM, registry=trust).verdict is Verdict.REFUSE


def test_ruling_keeps_signed_urls_out_of_its_repr() -> None:
    ruling = judge("https://cdn.test/x?X-Amz-Signature=abc", door=Door.REDIRECT, registry=HUB)

    assert "Signature" not in repr(ruling)
