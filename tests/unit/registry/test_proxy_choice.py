"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from mirrord.errors import UsageError
from mirrord.ports.settings import ENVIRONMENT_PROXY
from mirrord.registry.proxy import choose_proxy

PROXY = "http://proxy.test:3128"
BOTH = {"HTTPS_PROXY": PROXY, "http_proxy": "http://plain.test"}


def test_without_a_setting_the_environment_does_not_count() -> None:
    assert choose_proxy(None, BOTH)("https://registry.test/v2/") is None


def test_proxy_that_is_set_serves_every_url() -> None:
    choose = choose_proxy(PROXY, {"NO_PROXY": "*"})

    assert choose("https://registry.test/") == choose("http://127.0.0.1/") == PROXY


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        (BOTH, "https://registry.test/v2/", PROXY),
        (BOTH, "http://registry.test/v2/", "http://plain.test"),
        ({"HTTP_PROXY": PROXY}, "https://registry.test/", None),
        ({}, "https://registry.test/", None),
        ({"HTTPS_PROXY": ""}, "https://registry.test/", None),
        ({"HTTPS_PROXY": "http://upper.test", "https_proxy": PROXY}, "https://registry.test/", PROXY),
    ],
    ids=["https", "http", "other-scheme", "nothing", "empty", "lower-case-first"],
)
def test_environment_is_followed_where_that_is_set(environment: dict[str, str], url: str, expected: str | None) -> None:
    assert choose_proxy(ENVIRONMENT_PROXY, environment)(url) == expected


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("registry.test", "https://registry.test/", True),
        ("registry.test", "https://a.registry.test/", True),
        ("registry.test", "https://notregistry.test/", False),
        (".registry.test", "https://a.registry.test/", True),
        ("*.registry.test", "https://a.registry.test/", True),
        ("REGISTRY.test", "https://registry.test/", True),
        ("*", "https://anything.test/", True),
        ("other.test, registry.test", "https://registry.test/", True),
        ("registry.test:5000", "https://registry.test:5000/", True),
        ("registry.test:5000", "https://registry.test:5001/", False),
        ("registry.test:5000", "https://registry.test/", False),
        ("registry.test:443", "https://registry.test/", True),
        ("registry.test:²", "https://registry.test:5000/", False),
        ("registry.test:" + "9" * 5000, "https://registry.test:5000/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://registry.test/", False),
        ("10.0.0.0/99", "https://10.1.2.3/", False),
        ("10.1.2.3", "https://10.1.2.3/", True),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/", True),
        ("fd00::/8", "https://[fd00::1]/", True),
        ("fd00::1", "https://[fd00::1]/", True),
        (" , ,", "https://registry.test/", False),
    ],
)
def test_exceptions_are_asked_directly(no_proxy: str, url: str, direct: bool) -> None:
    choose = choose_proxy(ENVIRONMENT_PROXY, {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})

    assert choose(url) == (None if direct else PROXY)


@pytest.mark.parametrize(
    "proxy",
    [
        "proxy.test:3128",
        "socks5://proxy.test",
        "http://",
        "http://user:secret@:80",
        "http://user:secret@x:99999",
        "http://[",
    ],
)
@pytest.mark.parametrize("source", ["setting", "environment"])
def test_unusable_proxy_is_an_error_that_hides_it(proxy: str, source: str) -> None:
    with pytest.raises(UsageError, match="PROXY_INVALID") as caught:
        choose_proxy(*((proxy, {}) if source == "setting" else (ENVIRONMENT_PROXY, {"HTTPS_PROXY": proxy})))

    assert "secret" not in str(caught.value)
