"""Settings of the process."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mirrord.config.process import Listen, LogFormat, LogLevel, load_process_settings, require_api_token
from mirrord.errors import ConfigError


def test_without_variables_the_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRRORD_LISTEN", "9.9.9.9:9")

    settings = load_process_settings({"PATH": "/bin"})

    assert settings.config is None
    assert settings.state == "sqlite:///var/lib/mirrord/state.db"
    assert settings.listen == Listen("127.0.0.1", 8080)
    assert settings.api_token_file is None
    assert settings.log_level is LogLevel.INFO
    assert settings.log_format is None
    assert settings.drain_timeout == timedelta(seconds=25)


def test_every_variable_is_read() -> None:
    settings = load_process_settings(
        {
            "MIRRORD_CONFIG": "/etc/mirrord/config.yaml",
            "MIRRORD_STATE": "postgresql://mirrord@db/mirrord",
            "MIRRORD_LISTEN": "[::1]:0",
            "MIRRORD_API_TOKEN_FILE": "/run/secrets/token",
            "MIRRORD_LOG_LEVEL": "WARNING",
            "MIRRORD_LOG_FORMAT": "json",
            "MIRRORD_DRAIN_TIMEOUT": "1m30s",
            "MIRRORD_PORT": "tcp://10.0.0.1:8080",
        }
    )

    assert settings.config == "/etc/mirrord/config.yaml"
    assert settings.state == "postgresql://mirrord@db/mirrord"
    assert settings.listen == Listen("::1", 0)
    assert settings.api_token_file == "/run/secrets/token"
    assert settings.log_level is LogLevel.WARNING
    assert settings.log_format is LogFormat.JSON
    assert settings.drain_timeout == timedelta(seconds=90)


def test_an_empty_variable_is_none() -> None:
    assert load_process_settings({"MIRRORD_LISTEN": "", "MIRRORD_CONFIG": ""}).listen == Listen("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("name", "value", "code", "said"),
    [
        ("LISTEN", "8080", "LISTEN_INVALID", "host:port"),
        ("LISTEN", "::1:8080", "LISTEN_INVALID", "[::1]:8080"),
        ("LISTEN", "localhost:65536", "LISTEN_INVALID", "host:port"),
        ("LISTEN", "http://x:1", "LISTEN_INVALID", "host:port"),
        ("LOG_LEVEL", "verbose", "CONFIG_VALUE", "debug, info, warning, error"),
        ("LOG_FORMAT", "jsn", "CONFIG_VALUE", 'did you mean "json"?'),
        ("DRAIN_TIMEOUT", "25", "DURATION_INVALID", "such as 25s"),
        ("DRAIN_TIMEOUT", "2h", "DURATION_INVALID", "0s to 1h"),
        ("STATE", "mysql://u:hunter2@h/d", "STATE_URL_INVALID", "expected sqlite:///PATH"),
        ("STATE", "hunter2", "STATE_URL_INVALID", "sqlite:///PATH"),
        ("STATE", "/srv/state.db", "STATE_URL_INVALID", "sqlite:///srv/state.db"),
        ("STATE", "sqlite://", "STATE_URL_INVALID", "sqlite:///PATH"),
    ],
)
def test_a_variable_that_cannot_be_used_is_told(name: str, value: str, code: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_process_settings({f"MIRRORD_{name}": value})

    (problem,) = caught.value.problems
    assert (problem.file, problem.key, problem.code) == ("environment", f"MIRRORD_{name}", code)
    assert said in problem.message
    assert "hunter2" not in str(caught.value)


def test_all_faulty_variables_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_process_settings({"MIRRORD_LISTEN": "x", "MIRRORD_LOG_LEVEL": "x"})

    assert [problem.key for problem in caught.value.problems] == ["MIRRORD_LISTEN", "MIRRORD_LOG_LEVEL"]


@pytest.mark.covers("E101")
def test_a_password_in_the_state_s_url_is_accepted_and_not_shown() -> None:
    settings = load_process_settings({"MIRRORD_STATE": "postgresql://u:hunter2@db/mirrord"})

    assert settings.state == "postgresql://u:hunter2@db/mirrord"
    assert "hunter2" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        (":1", False),
        ("mirrord.example:1", False),
    ],
)
def test_a_listener_knows_whether_others_can_connect(text: str, loopback: bool) -> None:
    listen = load_process_settings({"MIRRORD_LISTEN": text}).listen

    assert (listen.is_loopback, str(listen)) == (loopback, text)


@pytest.mark.covers("E102")
def test_others_are_served_only_with_a_token() -> None:
    public = {"MIRRORD_LISTEN": "0.0.0.0:8080"}

    with pytest.raises(ConfigError, match="MIRRORD_API_TOKEN_FILE") as caught:
        require_api_token(load_process_settings(public))
    require_api_token(load_process_settings({}))
    require_api_token(load_process_settings({**public, "MIRRORD_API_TOKEN_FILE": "/t"}))

    assert caught.value.problems[0].code == "API_AUTH_REQUIRED"
