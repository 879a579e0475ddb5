"""Requests without an answer: each cause has its code, and says whether another try may help."""

from __future__ import annotations

import aiohttp
import httpx2
import pytest

from mirrord.errors import AddressRefusedError
from mirrord.registry.transport import AddressBlockedError, NameFailedError, TlsFailedError, _mapped
from mirrord.registry.unanswered import unanswered

URL = "https://storage.test/blob?X-Amz-Signature=topsecret"
CAUSES = [
    pytest.param(TimeoutError(), "DEADLINE", True, id="D40:deadline"),
    pytest.param(AddressBlockedError("refused to dial 10.0.0.1"), "ADDRESS_REFUSED", False, id="guard"),
    pytest.param(TlsFailedError("[SSL: WRONG_VERSION_NUMBER]"), "PLAIN_HTTP_NOT_ALLOWED", False, id="D64:plain-http"),
    pytest.param(TlsFailedError("[SSL] record layer failure"), "PLAIN_HTTP_NOT_ALLOWED", False, id="D64:record-layer"),
    pytest.param(TlsFailedError("certificate has expired"), "TLS_FAILED", False, id="D64:expired"),
    pytest.param(NameFailedError("Name or service not known"), "NAME_NOT_RESOLVED", True, id="D44:name"),
    pytest.param(httpx2.ProxyError("the proxy refused"), "PROXY_FAILED", True, id="D67:proxy"),
    pytest.param(httpx2.ConnectError("Connection refused"), "UNAVAILABLE", True, id="D42:refused"),
    pytest.param(httpx2.ConnectTimeout("no connection in time"), "UNAVAILABLE", True, id="D41:no-connection"),
    pytest.param(httpx2.ReadError("the connection was lost"), "UNAVAILABLE", True, id="lost"),
    pytest.param(httpx2.RemoteProtocolError("the body broke off"), "UNAVAILABLE", True, id="broken"),
]


@pytest.mark.parametrize(("cause", "code", "retryable"), CAUSES)
def test_cause_has_a_code_and_no_secret(cause: httpx2.TransportError, code: str, retryable: bool) -> None:
    error = unanswered("registry.test", "GET", URL, cause)

    assert (error.code, error.retryable) == (code, retryable)
    assert (error.host, error.method, error.path, error.status) == ("registry.test", "GET", "/blob", None)
    assert "https://storage.test/blob" in str(error)
    assert "topsecret" not in str(error)
    assert isinstance(error, AddressRefusedError) is (code == "ADDRESS_REFUSED")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        pytest.param(
            "certificate verify failed: self-signed certificate", 'set registries."r.test".tls.ca_file', id="self"
        ),
        pytest.param("unable to get local issuer certificate", 'set registries."r.test".tls.ca_file', id="issuer"),
        pytest.param("certificate has expired", "renew", id="expired"),
        pytest.param("Hostname mismatch, certificate is not valid for 'r.test'", "another name", id="name"),
        pytest.param("alert handshake failure", "check the certificate", id="else"),
    ],
)
def test_remedy_for_a_certificate_is_one_that_helps(said: str, remedy: str) -> None:
    error = unanswered("r.test", "GET", URL, TlsFailedError(said))

    assert error.remedy is not None
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("raised", "mapped"),
    [
        (httpx2.ReadError("as it is"), httpx2.ReadError),
        (aiohttp.ClientPayloadError("cut"), httpx2.RemoteProtocolError),
        (ConnectionResetError(), httpx2.ReadError),
        (OSError(28, "No space left on device"), httpx2.ReadError),
        (aiohttp.ClientError("odd"), httpx2.RemoteProtocolError),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
    ids=["httpx", "payload", "reset", "system", "client", "foreign"],
)
def test_error_of_the_library_is_mapped_by_its_cause(raised: Exception, mapped: type[Exception]) -> None:
    assert type(_mapped(raised, httpx2.Request("GET", URL))) is mapped


def test_url_in_an_error_of_the_library_loses_its_query() -> None:
    error = _mapped(aiohttp.InvalidURL(URL), httpx2.Request("GET", URL))

    assert "topsecret" not in str(error)
