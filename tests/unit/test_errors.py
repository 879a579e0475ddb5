import copy
import inspect
import pickle

import pytest

from mirrord import errors
from mirrord.errors import (
    ConfigError,
    ConfigProblem,
    InvalidManifestError,
    MirrordError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    TransferError,
    quote,
)

EVERY_ERROR = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, MirrordError)]


def problem(line: int = 9, key: str = "rules[0].shedule") -> ConfigProblem:
    return ConfigProblem(
        file="config.yaml", line=line, column=5, key=key, message="unknown key", code="CONFIG_UNKNOWN_KEY"
    )


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
def test_every_error_says_what_it_means_and_has_a_code(error: type[MirrordError]) -> None:
    assert error.__doc__
    assert error.default_code.isupper()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(MirrordError("it broke"), "ERROR: it broke", id="plain"),
        pytest.param(MirrordError("it broke", remedy="mend it"), "ERROR: it broke; mend it", id="remedy"),
        pytest.param(InvalidManifestError("bad", code="GRAPH_CYCLE"), "GRAPH_CYCLE: bad", id="code"),
        pytest.param(NotFoundError("gone", remedy=""), "NOT_FOUND: gone", id="default remedy taken away"),
        pytest.param(
            TransferError("stopped", side="target", operation="upload"), "TRANSFER_FAILED: stopped", id="side"
        ),
    ],
)
def test_error_text_has_code_message_and_remedy(error: MirrordError, text: str) -> None:
    assert str(error) == text


def test_error_takes_code_and_remedy_of_its_class() -> None:
    error = NotFoundError("gone")

    assert error.code == "NOT_FOUND"
    assert error.remedy == NotFoundError.default_remedy


def test_registry_error_keeps_what_was_asked_and_answered() -> None:
    error = RegistryError(
        "no",
        host="registry.internal:5000",
        method="GET",
        path="/v2/",
        status=503,
        error_codes=["UNKNOWN"],
        retry_after_s=1.5,
    )

    assert (error.host, error.method, error.path, error.status) == ("registry.internal:5000", "GET", "/v2/", 503)
    assert error.error_codes == ("UNKNOWN",)
    assert error.retry_after_s == 1.5


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        pytest.param(RegistryError("x"), False, id="default"),
        pytest.param(RateLimitedError("x"), True, id="by class"),
        pytest.param(RateLimitedError("x", retryable=False), False, id="class overruled"),
        pytest.param(RegistryError("x", retryable=True), True, id="said"),
    ],
)
def test_registry_error_knows_whether_to_retry(error: RegistryError, *, retryable: bool) -> None:
    assert error.retryable is retryable


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        pytest.param(problem(), "config.yaml:9:5: rules[0].shedule: unknown key", id="placed"),
        pytest.param(problem(line=0), "config.yaml: rules[0].shedule: unknown key", id="no line"),
        pytest.param(problem(key=""), "config.yaml:9:5: unknown key", id="no key"),
    ],
)
def test_config_problem_reads_like_a_compiler_message(fault: ConfigProblem, text: str) -> None:
    assert str(fault) == text


def test_config_error_lists_every_problem_on_a_line() -> None:
    error = ConfigError([problem(), problem(line=10)])

    assert str(error).splitlines() == [str(problem()), str(problem(line=10))]
    assert error.code == "CONFIG_INVALID"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConfigError([problem()]), id="config"),
        pytest.param(RegistryError("no", host="h", status=500, retryable=True), id="registry"),
        pytest.param(TransferError("no", side="source"), id="transfer"),
    ],
)
def test_error_survives_copying_between_processes(error: MirrordError) -> None:
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


@pytest.mark.covers("E42")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain é 日本", "plain é 日本", id="text"),
        pytest.param("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m", id="ansi"),
        pytest.param("a\r\nb\tc\x00", "a\\r\\nb\\tc\\x00", id="control"),
        pytest.param("\u202egnp.exe", "\\u202egnp.exe", id="bidi override"),
        pytest.param("\u2066x\u2069", "\\u2066x\\u2069", id="bidi isolate"),
        pytest.param("zero\u200bwidth", "zero\\u200bwidth", id="zero width"),
        pytest.param("\ud800", "\\ud800", id="half a character"),
        pytest.param(b"<html>\xff", "<html>\ufffd", id="bytes"),
        pytest.param(b"", "", id="nothing"),
    ],
)
def test_quote_escapes_what_could_fool_a_reader(text: str | bytes, shown: str) -> None:
    assert quote(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("12345", "12345", id="fits"),
        pytest.param("123456", "12345...", id="too long"),
        pytest.param("1234\x1b", "1234...", id="escape does not fit"),
        pytest.param("\U000e0001" * 9, "...", id="nothing fits"),
        pytest.param(b"12345", "12345", id="bytes fit"),
        pytest.param("é".encode() * 6, "ééééé...", id="bytes of two"),
        pytest.param("😀".encode() * 6, "😀😀😀😀😀...", id="bytes of four"),
        pytest.param(b"x" * 10_000_000, "xxxxx...", id="ten megabytes"),
    ],
)
def test_quote_keeps_to_its_limit(text: str | bytes, shown: str) -> None:
    assert quote(text, 5) == shown
