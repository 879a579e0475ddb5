import contextlib
import time

import pytest

from mirrord.errors import InvalidManifestError
from mirrord.oci.jsontext import MAX_DEPTH, MAX_VALUES, check_keys, fold, parse_object

MEGABYTE = 1_000_000


def refusal(raw: bytes) -> InvalidManifestError:
    with pytest.raises(InvalidManifestError) as caught:
        parse_object(raw, "the manifest")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b"{}", {}, id="empty"),
        pytest.param(b' {"a": [1, true, null, "b"]}\n', {"a": [1, True, None, "b"]}, id="values"),
        pytest.param(b'{"a": "\xc3\xa9 \\u00e9 \\ud83d\\ude00"}', {"a": "é é 😀"}, id="text"),
        pytest.param(b'{"a": {"k": 1}, "b": {"k": 2}}', {"a": {"k": 1}, "b": {"k": 2}}, id="one key in two objects"),
        pytest.param(b'{"a": "[[[{{{\\"[["}', {"a": '[[[{{{"[['}, id="brackets in text"),
        pytest.param(b'{"a": 1e3, "b": 1.5}', {"a": 1000.0, "b": 1.5}, id="floats"),
    ],
)
def test_json_reads_an_object(raw: bytes, value: dict[str, object]) -> None:
    assert parse_object(raw, "the manifest") == value


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="E8:empty"),
        pytest.param(b"<html><body>Bad gateway\x1b[31m</body></html>", id="E8:html"),
        pytest.param(b'\xef\xbb\xbf{"schemaVersion": 2}', id="E8:bom"),
        pytest.param('{"schemaVersion": 2}'.encode("utf-16"), id="E8:utf-16"),
        pytest.param('{"schemaVersion": 2}'.encode("utf-16-le"), id="E8:utf-16 without mark"),
        pytest.param(b'{"a":\x001}', id="E8:nul"),
        pytest.param(b'{"a": "\x00"}', id="E8:nul in text"),
        pytest.param(b"\x00" * 1000, id="E8:nuls"),
        pytest.param(b"{} {}", id="E8:trailing object"),
        pytest.param(b"{}x", id="E8:trailing garbage"),
        pytest.param(b'{"a": 1', id="E8:cut"),
        pytest.param(b'{"a": "', id="E8:cut in text"),
        pytest.param(b'{"a": "\\', id="E8:cut in an escape"),
        pytest.param(b'{"a": "\xff"}', id="E8:no utf-8"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', id="E8:half a pair as bytes"),
        pytest.param(b'{"a": "\\ud800"}', id="E8:half a pair"),
        pytest.param(b'{"a": ["\\udc00\\ud800"]}', id="E8:pair in the wrong order"),
        pytest.param(b'{"\\uDBFF": 1}', id="E8:half a pair as key"),
        pytest.param(b"{'a': 1}", id="E8:single quotes"),
        pytest.param(b"{]]]]}", id="E8:brackets that close nothing"),
        pytest.param(b'{"a": NaN}', id="E11:nan"),
        pytest.param(b'{"a": -Infinity}', id="E11:infinity"),
    ],
)
def test_json_refuses_what_is_none(raw: bytes) -> None:
    error = refusal(raw)

    assert error.code == "MANIFEST_NOT_JSON"
    assert "the manifest" in error.message


@pytest.mark.covers("E8")
def test_json_error_shows_the_beginning_escaped() -> None:
    assert 'it begins with "<html>\\x1b[31m"' in refusal(b"<html>\x1b[31m").message
    assert refusal(b"<" * 1000).message.endswith('"' + "<" * 60 + '..."')


@pytest.mark.parametrize("raw", [b"[]", b'"text"', b"1", b"null", b"true"])
def test_json_refuses_what_is_no_object(raw: bytes) -> None:
    assert refusal(raw).code == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"layers": [], "layers": [1]}', id="E9:layers"),
        pytest.param(b'{"a": {"k": 1, "k": 1}}', id="E9:equal, inside"),
        pytest.param(b'{"a": 1, "\\u0061": 2}', id="E9:written differently"),
        pytest.param(b'{"":0,"":1}', id="E9:empty key"),
        pytest.param(b'{"\x7f":0,"\x7f":1}', id="E9:control character"),
        pytest.param(b"{" + b",".join([b'"a":1'] * (MAX_VALUES - 1)) + b"}", id="E9:half a million"),
    ],
)
def test_json_refuses_a_key_that_stands_twice(raw: bytes) -> None:
    error = refusal(raw)

    assert error.code == "MANIFEST_DUPLICATE_KEY"
    assert error.message.startswith("the manifest: the key ")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, id="E10:65 objects"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="E10:100 000 lists"),
        pytest.param(b"[" * 100_000, id="E10:not closed"),
        pytest.param(b'{"a":"\\\\","b":' + b"[" * 65, id="E10:after an escaped backslash"),
        pytest.param(b'{"[":' * 65, id="E10:a bracket as key"),
    ],
)
def test_json_refuses_deep_nesting(raw: bytes) -> None:
    assert refusal(raw).code == "JSON_TOO_DEEP"


def test_json_reads_nesting_at_the_limit() -> None:
    parse_object(b'{"a":' * (MAX_DEPTH - 1) + b"{}" + b"}" * (MAX_DEPTH - 1), "the manifest")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"a":[' + b",".join([b"[]"] * MAX_VALUES) + b"]}", id="lists"),
        pytest.param(b'{"a":[' + b",".join([b"0"] * MAX_VALUES) + b"]}", id="numbers"),
        pytest.param(b'{"a":[' + b",".join([b'""'] * (MAX_VALUES - 1)) + b"]}", id="texts"),
        pytest.param(b"{" + b",".join([b'"a":1'] * MEGABYTE) + b"}", id="a million equal keys"),
    ],
)
def test_json_refuses_more_values_than_any_manifest_has(raw: bytes) -> None:
    assert refusal(raw).code == "MANIFEST_TOO_LARGE"


def test_json_reads_a_long_text_of_commas() -> None:
    assert parse_object(b'{"a":"' + b"," * MEGABYTE + b'"}', "the manifest") == {"a": "," * MEGABYTE}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"[]" * 99 + b'"' + b'\\"' * MEGABYTE, id="escaped quotes without end"),
        pytest.param(b"[]" * 99 + b'"' + b"\\" * (2 * MEGABYTE + 1), id="backslashes without end"),
        pytest.param(b"[]" * 99 + b'"' * (2 * MEGABYTE + 1), id="quotes"),
        pytest.param(b"]" * 2 * MEGABYTE, id="closing brackets"),
        pytest.param(b'{"a":' + b"9" * 2 * MEGABYTE + b"}", id="one number"),
        pytest.param(b'{"a":' + b"[]," * 2 * MEGABYTE, id="lists"),
    ],
)
def test_json_reads_floods_in_linear_time(raw: bytes) -> None:
    start = time.process_time()
    with contextlib.suppress(InvalidManifestError):
        parse_object(raw, "the manifest")
    spent = time.process_time() - start

    assert spent < 5, "quadratic time would be hours"


@pytest.mark.covers("E11")
@pytest.mark.parametrize(
    ("number", "value"),
    [
        pytest.param(b"0", 0, id="zero"),
        pytest.param(b"-1", -1, id="negative"),
        pytest.param(b"1180591620717411303424", 2**70, id="2^70"),
        pytest.param(b"-0", -0.0, id="negative zero"),
        pytest.param(b"1e999", float("inf"), id="1e999"),
        pytest.param(b"1" + b"0" * 400, float("inf"), id="400 digits"),
        pytest.param(b"1" + b"0" * 5000, float("inf"), id="more digits than Python converts"),
    ],
)
def test_json_reads_integers_as_they_are_and_others_as_floats(number: bytes, value: float) -> None:
    read = parse_object(b'{"a":%s}' % number, "the manifest")["a"]

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("Layers", id="capital"),
        pytest.param("LAYERS", id="capitals"),
        pytest.param("mediatype", id="lower case"),
        pytest.param("layer\u017f", id="long s"),
        pytest.param("\u212aey", id="kelvin sign"),
    ],
)
def test_keys_that_differ_in_case_are_refused(key: str) -> None:
    with pytest.raises(InvalidManifestError) as caught:
        check_keys(["digest", key], fold("digest", "layers", "mediaType", "key"), "the manifest")

    assert caught.value.code == "MANIFEST_AMBIGUOUS"


def test_keys_that_are_known_or_unlike_any_known_one_pass() -> None:
    check_keys(["digest", "mediaType", "Unknown", ""], fold("digest", "layers", "mediaType"), "the manifest")
