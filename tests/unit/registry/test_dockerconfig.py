"""Docker's and podman's files, as text."""

from __future__ import annotations

import base64
import json

import pytest

from mirrord.errors import CredentialError
from mirrord.ports.credentials import Credential
from mirrord.registry.dockerconfig import DockerConfig, server_address

PATH = "/home/u/.docker/config.json"


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(**document: object) -> DockerConfig:
    return DockerConfig.parse(json.dumps(document).encode(), PATH)


def found(username: str = "", secret: str = "", token: str = "") -> Credential:
    return Credential(username=username, secret=secret, identity_token=token, origin=PATH)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": auth("u:p")}, found("u", "p")),
        ({"auth": auth("u:p:q")}, found("u", "p:q")),
        ({"auth": auth("u:p\x00\x00")}, found("u", "p")),
        ({"auth": auth("u:p")[:4] + "\n" + auth("u:p")[4:]}, found("u", "p")),
        ({"username": "u", "password": "p"}, found("u", "p")),
        ({"username": "x", "password": "y", "auth": auth("u:p")}, found("u", "p")),
        ({"identitytoken": "t"}, found(token="t")),
        ({"auth": auth("0000:"), "identitytoken": "t"}, found("0000", token="t")),
        ({"auth": None, "email": "a@b"}, None),
        ({}, None),
    ],
    ids=["auth", "colon", "nul", "newline", "plain", "both", "token", "token-and-user", "email-only", "empty"],
)
def test_stored_reads_every_form_of_an_entry(entry: dict[str, object], expected: Credential | None) -> None:
    assert config(auths={"reg.example": entry}).stored("reg.example") == expected


@pytest.mark.parametrize(
    ("key", "host", "matches"),
    [
        ("reg.example", "reg.example", True),
        ("REG.example", "reg.example", True),
        ("https://reg.example", "reg.example", True),
        ("http://reg.example/v1/", "reg.example", True),
        ("https://reg.example/v2/", "reg.example", True),
        ("reg.example:443", "reg.example", True),
        ("reg.example", "reg.example:443", True),
        ("reg.example:5000", "reg.example:5000", True),
        ("https://index.docker.io/v1/", "docker.io", True),
        ("docker.io", "docker.io", True),
        ("reg.example:5000", "reg.example", False),
        ("reg.example/team", "reg.example", False),
        ("evil.reg.example", "reg.example", False),
        ("reg.example.evil", "reg.example", False),
        ("user@reg.example", "reg.example", False),
        ("", "reg.example", False),
    ],
)
def test_stored_finds_a_registry_under_the_keys_that_docker_writes(key: str, host: str, matches: bool) -> None:
    assert (config(auths={key: {"auth": auth("u:p")}}).stored(host) is not None) is matches


def test_stored_prefers_the_exact_key_and_skips_empty_entries() -> None:
    several = config(auths={"https://r.io/v1/": {"auth": auth("old:p")}, "r.io": {"auth": auth("new:p")}})
    emptied = config(auths={"https://r.io/v1/": {"auth": auth("old:p")}, "r.io": {}})

    assert several.stored("r.io") == found("new", "p")
    assert emptied.stored("r.io") == found("old", "p")


@pytest.mark.covers("E95", "C33")
@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"auth": "S3CRET!"}, "not base64"),
        ({"auth": base64.b64encode(b"\xff:S3CRET").decode()}, "not base64"),
        ({"auth": auth("S3CRET")}, "no colon"),
        ({"auth": auth("u:S3CRET"), "identitytoken": "S3CRET"}, "a password and an identity token"),
        ({"registrytoken": "S3CRET"}, "only a registry token"),
        ({"username": "u"}, "neither password nor identity token"),
        ({"auth": ["S3CRET"]}, "no text"),
        ("S3CRET", "no object"),
    ],
)
def test_stored_refuses_an_entry_it_cannot_use_and_shows_none_of_it(entry: object, problem: str) -> None:
    with pytest.raises(CredentialError, match=problem) as caught:
        config(auths={"reg.example": entry}).stored("reg.example")

    assert caught.value.code == "DOCKER_CONFIG_INVALID"
    assert PATH in str(caught.value)
    assert "S3CRET" not in str(caught.value)


def test_stored_ignores_broken_entries_of_other_registries() -> None:
    assert config(auths={"other": 1, "r.io": {"auth": auth("u:p")}}).stored("r.io") == found("u", "p")


@pytest.mark.covers("E95", "C33")
@pytest.mark.parametrize(
    "raw",
    [
        b'{"auths": S3CRET',
        b"\xff\xfe",
        b'["S3CRET"]',
        b"[" * 100_000,
        b'{"auths": ["S3CRET"]}',
        b'{"credHelpers": ["S3CRET"]}',
        b'{"credHelpers": {"a": 1}}',
        b'{"credsStore": ["S3CRET"]}',
    ],
)
def test_parse_refuses_what_docker_does_not_write_and_shows_none_of_it(raw: bytes) -> None:
    with pytest.raises(CredentialError, match="DOCKER_CONFIG_INVALID") as caught:
        DockerConfig.parse(raw, PATH)

    assert "S3CRET" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("raw", [b"", b" \n", b"{}", b"\xef\xbb\xbf{}", b'{"auths": null, "credsStore": null}'])
def test_parse_takes_an_empty_file_for_one_without_credentials(raw: bytes) -> None:
    parsed = DockerConfig.parse(raw, PATH)

    assert (parsed.stored("r.io"), parsed.helpers_for("r.io")) == (None, ())


def test_helpers_are_asked_from_special_to_general() -> None:
    parsed = config(credHelpers={"r.io": "one", "https://index.docker.io/v1/": "two", "x.io": ""}, credsStore="all")

    assert parsed.helpers_for("r.io") == ("one", "all")
    assert parsed.helpers_for("docker.io") == ("two", "all")
    assert parsed.helpers_for("x.io") == ("all",)
    assert config(credHelpers={"r.io": "same"}, credsStore="same").helpers_for("r.io") == ("same",)


def test_server_address_is_dockers_own_for_docker_hub() -> None:
    assert server_address("docker.io") == "https://index.docker.io/v1/"
    assert server_address("reg.example:5000") == "reg.example:5000"


def test_config_keeps_secrets_out_of_its_repr() -> None:
    assert "S3CRET" not in repr(config(auths={"r.io": {"password": "S3CRET"}}))
