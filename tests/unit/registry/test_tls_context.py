"""TLS contexts, made from files and used for handshakes."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import trustme

from mirrord.errors import RegistryError, StartupError
from mirrord.oci.reference import Tag
from mirrord.ports.settings import RegistrySettings, TlsSettings
from mirrord.registry.tls import make_ssl_context, shared_ssl_context
from mirrord.registry.transport import AiohttpTransport, TlsFailedError
from tests.contract.images import blob_of
from tests.fakes.clients import open_client
from tests.fakes.faults import Drop
from tests.fakes.profiles import Blobs, Profile
from tests.fakes.registry import FakeRegistry

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def serving(authority: trustme.CA, *names: str, client: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        client.configure_trust(context)
    return context


async def look(registry: FakeRegistry, tls: TlsSettings) -> None:
    async with open_client(registry, settings=RegistrySettings(host=registry.host, tls=tls)) as client:
        assert await client.reader().head(Tag("1.0")) is None


async def test_registry_with_a_certificate_of_its_own_authority_is_trusted(authority: trustme.CA, ca_file: str) -> None:
    async with FakeRegistry(ssl_context=serving(authority, "127.0.0.1")) as registry:
        await look(registry, TlsSettings(ca_file=ca_file))


@pytest.mark.covers("D64")
@pytest.mark.parametrize(("wrong", "remedy"), [("authority", r"tls\.ca_file"), ("name", "another name")])
async def test_untrusted_certificate_is_final_and_says_what_to_do(
    wrong: str, remedy: str, authority: trustme.CA, ca_file: str
) -> None:
    name = "127.0.0.1" if wrong == "authority" else "other.test"
    tls = TlsSettings(ca_file=None if wrong == "authority" else ca_file)
    async with FakeRegistry(ssl_context=serving(authority, name)) as registry:
        with pytest.raises(RegistryError, match=f"TLS_FAILED.*{remedy}") as caught:
            await look(registry, tls)

    assert not caught.value.retryable
    assert not registry.traffic.records


@pytest.mark.covers("D65")
async def test_certificate_may_be_renewed_while_work_goes_on(authority: trustme.CA, ca_file: str) -> None:
    context = serving(authority, "127.0.0.1")
    async with FakeRegistry(ssl_context=context) as registry:
        settings = RegistrySettings(host=registry.host, tls=TlsSettings(ca_file=ca_file))
        async with open_client(registry, settings=settings) as client:
            assert await client.reader().head(Tag("1.0")) is None
            authority.issue_cert("127.0.0.1").configure_cert(context)
            registry.fault(Drop(), kind="manifest HEAD")
            assert await client.reader().head(Tag("1.0")) is None

    assert registry.traffic.counts["manifest HEAD"] == 3


@pytest.mark.covers("C32")
async def test_verification_can_be_switched_off(authority: trustme.CA, ca_file: str) -> None:
    async with FakeRegistry(ssl_context=serving(authority, "other.test")) as registry:
        await look(registry, TlsSettings(verify=False))
        await look(registry, TlsSettings(verify=False, ca_file=ca_file))


async def test_client_certificate_is_shown(authority: trustme.CA, ca_file: str, tmp_path: Path) -> None:
    clients = trustme.CA()
    mine = clients.issue_cert("mirrord.test")
    both, key = tmp_path / "both.pem", tmp_path / "key.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(str(both))
    mine.private_key_pem.write_to_path(str(key))
    async with FakeRegistry(ssl_context=serving(authority, "127.0.0.1", client=clients)) as registry:
        await look(registry, TlsSettings(ca_file=ca_file, cert_file=str(both)))
        await look(registry, TlsSettings(ca_file=ca_file, cert_file=str(both), key_file=str(key)))
        with pytest.raises(RegistryError):
            await look(registry, TlsSettings(ca_file=ca_file))


@pytest.mark.covers("A1", "A15", "A18")
def test_other_origins_are_always_verified_and_see_no_client_certificate(ca_file: str, tmp_path: Path) -> None:
    settings = TlsSettings(verify=False, ca_file=ca_file, cert_file=str(tmp_path / "not-even-read.pem"))
    foreign = make_ssl_context(settings, foreign=True)

    assert foreign.verify_mode is ssl.CERT_REQUIRED
    assert foreign.check_hostname


@pytest.mark.covers("A15", "D64")
async def test_storage_with_a_bad_certificate_fails_although_the_registry_needs_none(
    authority: trustme.CA, ca_file: str
) -> None:
    content = b"content"
    profile = Profile(blobs=Blobs(redirect=307))
    async with FakeRegistry(profile, ssl_context=serving(authority, "127.0.0.1")) as registry:
        registry.store.add_blob("team/app", content)
        for tls, good in ((TlsSettings(verify=False), False), (TlsSettings(verify=False, ca_file=ca_file), True)):
            async with open_client(registry, settings=RegistrySettings(host=registry.host, tls=tls)) as client:
                blob = blob_of(content)
                if good:
                    async with client.reader().blob(blob) as pieces:
                        assert b"".join([piece async for piece in pieces]) == content
                else:
                    with pytest.raises(RegistryError, match="TLS_FAILED"):
                        async with client.reader().blob(blob):
                            pytest.fail("not to be opened")


@pytest.mark.parametrize("content", [None, "", "no certificate", "PRIVATE KEY"], ids=["away", "empty", "text", "key"])
def test_unusable_authority_file_is_an_error_that_names_it(
    content: str | None, authority: trustme.CA, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content == "PRIVATE KEY":
        authority.private_key_pem.write_to_path(str(path))
    elif content is not None:
        path.write_text(content)

    with pytest.raises(StartupError, match=f"CA_BUNDLE_INVALID.*{path}"):
        make_ssl_context(TlsSettings(ca_file=str(path)))


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["away", "text"])
def test_unusable_client_certificate_is_an_error_that_names_it(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "client.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(StartupError, match=f"CLIENT_CERTIFICATE_INVALID.*{path}"):
        make_ssl_context(TlsSettings(cert_file=str(path)))


def test_old_protocols_are_not_spoken() -> None:
    for settings in (TlsSettings(), TlsSettings(verify=False)):
        assert make_ssl_context(settings).minimum_version == ssl.TLSVersion.TLSv1_2


def test_clients_with_the_same_settings_share_a_context(ca_file: str) -> None:
    """Each holds all authorities of the system: 0.8 MiB, and 15 ms to read."""
    first = shared_ssl_context(TlsSettings(ca_file=ca_file))
    second = shared_ssl_context(TlsSettings(ca_file=ca_file))

    assert first() is first() is second()
    assert shared_ssl_context(TlsSettings())() is not first()


def test_storage_of_a_registry_shares_no_context_that_shows_its_certificate(
    authority: trustme.CA, ca_file: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.pem"
    authority.issue_cert("mirrord.test").private_key_and_cert_chain_pem.write_to_path(str(mine))
    settings = TlsSettings(ca_file=ca_file, cert_file=str(mine), verify=False)
    foreign = shared_ssl_context(settings, foreign=True)()

    assert foreign is shared_ssl_context(TlsSettings(ca_file=ca_file))()
    assert foreign is not shared_ssl_context(settings)()


def test_context_is_made_anew_when_a_file_of_its_settings_changed(authority: trustme.CA, ca_file: str) -> None:
    """A configuration that is loaded again makes clients anew, with the file as it is by then."""
    settings = TlsSettings(ca_file=ca_file)
    before = shared_ssl_context(settings)()
    trustme.CA().cert_pem.write_to_path(ca_file)

    assert shared_ssl_context(settings)() is not before


async def test_authorities_of_the_system_that_change_are_noticed_while_work_goes_on(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    trustme.CA().cert_pem.write_to_path(str(roots))
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    transport = AiohttpTransport(ssl_context=shared_ssl_context(TlsSettings()))
    async with FakeRegistry(ssl_context=serving(authority, "127.0.0.1")) as registry:
        ping = httpx2.Request("GET", f"{registry.url}/v2/")
        with pytest.raises(TlsFailedError):
            await transport.handle_async_request(ping)
        authority.cert_pem.write_to_path(str(roots), append=True)
        answer = await transport.handle_async_request(ping)
        await answer.aclose()
        await transport.aclose()

    assert answer.status_code == 200


def test_file_of_a_client_that_is_gone_later_leaves_its_context_as_it_was(
    ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(Path(ca_file).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    current = shared_ssl_context(TlsSettings(ca_file=ca_file))
    before = current()
    Path(ca_file).unlink()
    trustme.CA().cert_pem.write_to_path(str(roots))

    assert current() is before


@pytest.mark.parametrize("content", [None, "", "no certificate"], ids=["away", "empty", "text"])
def test_variable_that_names_no_authorities_is_an_error_that_names_it(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))

    with pytest.raises(StartupError, match=f"CA_BUNDLE_INVALID.*SSL_CERT_FILE.*{path}"):
        make_ssl_context(TlsSettings())


def test_system_whose_openssl_was_built_for_another_place_is_searched_where_distributions_keep_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in interpreters that bring an OpenSSL of their own."""
    directory = str(tmp_path)
    nowhere = SimpleNamespace(cafile=None, capath=directory)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", directory)

    assert make_ssl_context(TlsSettings()).cert_store_stats()["x509_ca"] > 0


def test_aiohttp_holds_no_authorities_of_its_own() -> None:
    """They would cost every start 30 ms, and the service 2 MiB."""
    look = "import mirrord.registry.transport, ssl; from aiohttp.connector import _SSL_CONTEXT_VERIFIED as own; "
    look += "print(own.cert_store_stats()['x509'], ssl.create_default_context().cert_store_stats()['x509'] > 0)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["0", "True"]
