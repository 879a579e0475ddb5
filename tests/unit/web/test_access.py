"""Who may ask for what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirrord.errors import StartupError
from mirrord.ports.service import Check, Health
from tests.fakes.service import FakeView
from tests.unit.web.conftest import TOKEN, MakeApp, client_of

pytestmark = pytest.mark.anyio
SYNC = "/api/v1/rules/nginx/sync"
OPEN = ("/livez", "/readyz", "/metrics", "/", "/static/main.js")
CLOSED = (
    "/api/v1/status",
    "/api/v1/rules",
    "/api/v1/rules/nginx",
    "/api/v1/runs",
    "/api/v1/runs/1",
    "/api/v1/images",
    "/api/v1/events",
    "/api/v1/openapi.json",
    "/api/v1/nothing",
    "/livez/",
)


async def test_everything_but_health_metrics_and_page_needs_the_token_where_others_connect(make_app: MakeApp) -> None:
    async with client_of(make_app(is_loopback=False)) as client:
        opened = {path: (await client.get(path)).status_code for path in OPEN}
        closed = {path: (await client.get(path)).status_code for path in CLOSED}

    assert set(opened.values()) == {200}
    assert set(closed.values()) == {401}


@pytest.mark.covers("E124")
async def test_absent_and_wrong_tokens_are_told_the_same(make_app: MakeApp) -> None:
    app = make_app(is_loopback=False)
    async with client_of(app) as nobody, client_of(app, "another-token-entirely") as stranger:
        answers = [
            await nobody.get("/api/v1/status"),
            await stranger.get("/api/v1/status"),
            await nobody.get("/api/v1/status", params={"access_token": TOKEN, "token": TOKEN}),
            await nobody.get("/api/v1/status", headers={"Authorization": TOKEN}),
            await nobody.get("/api/v1/status", headers={"Authorization": f"Basic {TOKEN}"}),
        ]

    assert [answer.status_code for answer in answers] == [401] * 5
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"].startswith("Bearer")


async def test_right_token_reads_where_others_connect(make_app: MakeApp) -> None:
    async with client_of(make_app(is_loopback=False), TOKEN) as client:
        answer = await client.get("/api/v1/status")

    assert answer.status_code == 200


async def test_two_tokens_in_one_request_are_as_good_as_none(make_app: MakeApp) -> None:
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    async with client_of(make_app(is_loopback=False)) as client:
        answer = await client.get("/api/v1/status", headers=headers)

    assert answer.status_code == 401


async def test_loopback_reads_without_a_token_but_not_with_a_wrong_one(make_app: MakeApp) -> None:
    app = make_app()
    async with client_of(app) as nobody, client_of(app, "another-token-entirely") as stranger:
        answers = [await nobody.get("/api/v1/status"), await stranger.get("/api/v1/status")]

    assert [answer.status_code for answer in answers] == [200, 401]


@pytest.mark.covers("E125")
@pytest.mark.parametrize("is_loopback", [True, False])
async def test_run_is_started_with_the_token_alone(make_app: MakeApp, view: FakeView, is_loopback: bool) -> None:
    app = make_app(is_loopback=is_loopback)
    async with client_of(app) as nobody, client_of(app, TOKEN) as owner:
        refused, taken = await nobody.post(SYNC), await owner.post(SYNC)

    assert (refused.status_code, taken.status_code) == (401, 202)
    assert view.woken == ["nginx"]


async def test_service_without_a_token_starts_no_run_for_anyone(make_app: MakeApp, view: FakeView) -> None:
    async with client_of(make_app(token=None), TOKEN) as client:
        answer = await client.post(SYNC)

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "API_TOKEN_UNSET"
    assert "MIRRORD_API_TOKEN_FILE" in answer.json()["error"]["remedy"]
    assert view.woken == []


@pytest.mark.covers("E138")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_run_that_another_site_asks_for_is_refused_even_with_the_token(
    make_app: MakeApp, view: FakeView, headers: dict[str, str]
) -> None:
    async with client_of(make_app(), TOKEN) as client:
        answer = await client.post(SYNC, headers={**headers, "Cookie": f"token={TOKEN}"})

    assert answer.status_code == 403
    assert view.woken == []


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:8080"}])
async def test_page_of_the_service_starts_a_run(make_app: MakeApp, headers: dict[str, str]) -> None:
    async with client_of(make_app(), TOKEN) as client:
        answer = await client.post(SYNC, headers=headers)

    assert answer.status_code == 202


@pytest.mark.covers("E131")
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "127.0.0.1:80:80", "", "10.0.0.1"],
)
async def test_foreign_host_is_refused_on_loopback(make_app: MakeApp, host: str) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/livez", headers={"Host": host})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "HOST_REFUSED")


@pytest.mark.parametrize("host", ["localhost:8080", "LOCALHOST", "127.0.0.1", "127.9.9.9:1", "[::1]:8080"])
async def test_names_of_this_machine_are_served_on_loopback(make_app: MakeApp, host: str) -> None:
    async with client_of(make_app()) as client:
        answer = await client.get("/livez", headers={"Host": host})

    assert answer.status_code == 200


@pytest.mark.covers("E131")
async def test_host_that_stands_twice_is_refused_everywhere(make_app: MakeApp) -> None:
    async with client_of(make_app(is_loopback=False)) as client:
        answer = await client.get("/livez", headers=[("Host", "a.example"), ("Host", "a.example")])

    assert answer.status_code == 400


@pytest.mark.covers("E132")
async def test_forwarded_headers_change_nothing(make_app: MakeApp) -> None:
    told = {
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Host": "localhost",
        "Forwarded": "for=127.0.0.1;host=localhost",
    }
    async with client_of(make_app(is_loopback=False)) as client:
        read = await client.get("/api/v1/status", headers=told)
    async with client_of(make_app()) as client:
        foreign = await client.get("/livez", headers={**told, "Host": "evil.example"})

    assert (read.status_code, foreign.status_code) == (401, 400)


async def test_rotated_token_is_used_and_the_old_one_is_not(make_app: MakeApp, token_file: Path) -> None:
    app = make_app(is_loopback=False)
    other = token_file.with_name("other")
    other.write_text("the-token-after-rotation")
    other.replace(token_file)

    async with client_of(app, TOKEN) as old, client_of(app, "the-token-after-rotation") as new:
        answers = [await old.get("/api/v1/status"), await new.get("/api/v1/status")]

    assert [answer.status_code for answer in answers] == [401, 200]


def move(file: Path, other: Path) -> None:
    file.replace(other)


async def test_token_file_that_goes_away_lets_nobody_in_until_it_is_back(make_app: MakeApp, token_file: Path) -> None:
    app = make_app(is_loopback=False)
    kept, spoilt = token_file.with_name("kept"), token_file.with_name("spoilt")
    spoilt.touch()
    async with client_of(app, TOKEN) as client:
        move(token_file, kept)
        gone = await client.get("/api/v1/status")
        move(spoilt, token_file)
        short = await client.get("/api/v1/status")
        move(kept, token_file)
        back = await client.get("/api/v1/status")

    assert [answer.status_code for answer in (gone, short, back)] == [401, 401, 200]


@pytest.mark.parametrize(
    "content", ["", "fifteen-letters", " " * 40, "with a space in the middle", "ключ-из-букв-кириллицы", "x" * 5000]
)
def test_token_that_cannot_be_used_stops_the_start(make_app: MakeApp, token_file: Path, content: str) -> None:
    token_file.write_text(content)

    with pytest.raises(StartupError) as raised:
        make_app()

    assert raised.value.code == "API_TOKEN_INVALID"
    assert str(token_file) in raised.value.message
    assert not content.strip() or content not in str(raised.value)


def test_token_file_that_is_absent_stops_the_start(make_app: MakeApp, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read: No such file") as raised:
        make_app(token=os.fspath(tmp_path / "none"))

    assert raised.value.code == "API_TOKEN_INVALID"


async def test_details_of_health_are_for_those_alone_who_may_read(make_app: MakeApp, view: FakeView) -> None:
    """A state store's own words may name its host and user, and health is open to everyone."""
    failing = Check(name="state", ok=False, detail="cannot connect to mirrord@db.internal")
    view.checks = Health(live=(failing,), ready=(failing,))
    async with client_of(make_app(is_loopback=False)) as anyone, client_of(make_app(is_loopback=False), TOKEN) as owner:
        for path in ("/livez", "/readyz"):
            told, whole = await anyone.get(path), await owner.get(path)

            assert (told.status_code, whole.status_code) == (503, 503)
            assert told.json()["checks"] == [{"name": "state", "ok": False, "detail": ""}]
            assert whole.json()["checks"][0]["detail"] == failing.detail
