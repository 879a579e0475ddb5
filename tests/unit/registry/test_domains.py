"""Which hosts belong to one owner."""

from __future__ import annotations

import pytest

from mirrord.registry.domains import registrable_domain, same_owner


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("registry-1.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("a.b.c.example.com", "example.com"),
        ("auth.example.co.uk", "example.co.uk"),
        ("auth.example.com.au", "example.com.au"),
        ("co.uk", None),
        ("registry", None),
        ("127.0.0.1", None),
        ("0x7f.1", None),
        ("::1", None),
        ("localhost", None),
        ("a..b", None),
        ("acme.azurecr.io", None),
        ("azurecr.io", None),
        ("europe-docker.pkg.dev", None),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", None),
        ("acme.github.io", None),
        ("registry.corp.internal", "corp.internal"),
    ],
)
def test_registrable_domain_is_told_only_where_it_is_certain(host: str, domain: str | None) -> None:
    assert registrable_domain(host) == domain


@pytest.mark.covers("A2")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.example.com", "registry.example.com.evil.test", False),
        ("registry.example.com", "evilexample.com", False),
        ("a.co.uk", "b.co.uk", False),
        ("bucket.s3.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", False),
        ("one.azurecr.io", "two.azurecr.io", False),
        ("one.azurecr.io", "one.azurecr.io", True),
        ("registry", "registry", True),
        ("registry", "auth", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("registry.internal", "auth.internal", False),
    ],
)
def test_same_owner_errs_on_the_side_of_strangers(one: str, other: str, same: bool) -> None:
    assert same_owner(one, other) is same
