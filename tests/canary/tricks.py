"""What registries, and whoever speaks in their place, do to be sent a credential of somebody else's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from urllib.parse import unquote_plus

from mirrord.demo.registry.asgi import Answer, AsgiApp
from tests.canary.foreign import CDN, EVIL, PLAIN_CDN, PLAIN_EVIL
from tests.canary.places import Place
from tests.fakes.faults import Action, Change, Respond
from tests.fakes.profiles import Profile, Refusal
from tests.fakes.tokens import basic_credential
from tests.fakes.wire import Exchange, with_headers

WITH_API = ("dockerhub", "ecr", "ghcr", "gitlab", "gitlab-job", "google-machine", "acr-application", "harbor", "quay")
BY_LINK = ("ghcr", "gitlab", "gitlab-job", "acr-application", "harbor")
EACH = (
    *("generic", "dockerhub", "ecr", "ecr-public", "ghcr", "gitlab", "google-machine", "acr-application", "harbor"),
    *("quay", "zot"),
)
FEW = ("generic", "dockerhub", "ecr")
"""For what one piece of code decides for all registries, where `EACH` has much the same already."""
WITH_TOKENS = [name for name in EACH if name not in {"ecr", "zot"}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """What is done at a place. ``visits`` are the foreign origins that are asked then, without any credential.

    ``of`` are the kinds of registries that it is played on; ``profile`` changes the registry beforehand.
    """

    name: str
    play: Callable[[Place], None]
    visits: Collection[str] = ()
    of: Collection[str] = EACH
    profile: Callable[[Profile], Profile] = lambda profile: profile


def _always(place: Place, action: Action, *kinds: str) -> None:
    """Let this happen to all requests of some classes; one must come at least."""
    place.registry.fault(action, where=lambda record: record.kind in kinds, times=None)


def redirect(to: str, *kinds: str, status: int = 307) -> Callable[[Place], None]:
    """Redirect classes of requests to a foreign URL; ``{registry}`` in it stands for the registry's own name."""

    def play(place: Place) -> None:
        target = to.format(registry=place.registry.host)
        _always(place, Respond(status, headers=(("Location", target),)), *kinds)

    return play


def challenge(text: str) -> Callable[[Place], None]:
    """Redirect blobs to a foreign origin, which answers with a challenge; ``{realm}`` is that of the registry.

    A realm at a sibling of the registry, ``sibling.{registry}``, would be trusted if the registry itself named it.
    """

    def play(place: Place) -> None:
        auth = place.registry.profile.auth
        realm = f"https://{place.registry.token_host or place.registry.host}{auth.token_path}"
        names = {"registry": place.registry.host, "service": auth.service, "path": place.path}
        value = text.format(realm=realm, **names)
        place.foreign.answer = Answer(status=401, headers=(("WWW-Authenticate", value),))
        redirect(f"{CDN}/blob", "blob GET")(place)

    return play


def realm(url: str) -> Callable[[Place], None]:
    """Name another token service in every challenge."""

    def play(place: Place) -> None:
        value = f'Bearer realm="{url.format(registry=place.registry.host)}",service="{place.host}"'

        def named(answer: Answer) -> Answer:
            return with_headers(answer, www_authenticate=value) if answer.status == 401 else answer

        place.registry.fault(Change(named), where=lambda record: record.kind not in {"token", "api"}, times=None)

    return play


def link(to: str, kind: str) -> Callable[[Place], None]:
    """Say that the next page is elsewhere."""

    def play(place: Place) -> None:
        target = to.format(registry=place.registry.host)

        def linked(answer: Answer) -> Answer:
            return with_headers(answer, link=f'<{target}>; rel="next"', x_next_page=None)

        _always(place, Change(linked), kind)

    return play


def next_of_hub(place: Place) -> None:
    """Say in the words of the Hub API that the next page is elsewhere."""

    def linked(answer: Answer) -> Answer:
        fields = json.loads(answer.body)
        more = {"next": f"{EVIL}/next"} if "results" in fields else {}
        return replace(answer, body=json.dumps({**fields, **more}).encode())

    _always(place, Change(linked), "api")


def location(to: str, *kinds: str) -> Callable[[Place], None]:
    """Say that an upload goes on elsewhere."""

    def moved(answer: Answer) -> Answer:
        return with_headers(answer, location=to) if answer.status == 202 else answer

    return lambda place: _always(place, Change(moved), *kinds)


def identity(to: str) -> Callable[[Place], None]:
    """Redirect whoever asks for an identity."""

    def play(place: Place) -> None:
        address = place.internet.addresses[f"{PLAIN_EVIL.removeprefix('http://')}:80"]
        url = to.format(address=address)  # some of it is asked by libraries, to which names of the net mean nothing
        place.redirect_identity(Answer(status=307, headers=(("Location", url),)))

    return play


def cloud(place: Place) -> None:
    """Redirect what boto3 asks."""
    address = place.internet.addresses[f"{PLAIN_EVIL.removeprefix('http://')}:80"]
    redirect(f"http://{address}/", "api")(place)


@dataclass(frozen=True, slots=True)
class Echo:
    """Answer with a refusal that quotes the whole request: some debugging proxies do."""

    status: int = 400

    async def run(self, exchange: Exchange, app: AsgiApp) -> None:
        """Answer."""
        body = await exchange.read_all()
        lines = [f"{name.decode()}: {value.decode('latin-1')}" for name, value in exchange.scope["headers"]]
        given = next((value.decode() for name, value in exchange.scope["headers"] if name == b"authorization"), "")
        bare = given.partition(" ")[2]
        user, password = basic_credential(given) or ("nobody", bare)
        values = unquote_plus(b" ".join(re.findall(rb'[^"=&{}:, ]{12,}', body)[-2:]).decode("latin-1"))
        text = f"{password} is no password of {user}; {bare}; {values}" if given else values
        text = f"{text} {exchange.scope['query_string'].decode()} {' '.join(lines)}"
        fields = {"errors": [{"code": "BAD", "message": text}], "message": text}
        answer = Respond(self.status, headers=(("Content-Type", "application/json"),), body=json.dumps(fields).encode())
        await answer.run(exchange, app)


def echo(*kinds: str) -> Callable[[Place], None]:
    """Quote requests in refusals."""

    return lambda place: _always(place, Echo(), *kinds)


def _chunked(profile: Profile) -> Profile:
    refusal = Refusal(status=405)
    return replace(profile, uploads=replace(profile.uploads, put_body=refusal, mount="upload"))


MANIFESTS = ("manifest GET", "manifest HEAD")
TRICKS = [
    Trick(name="blob-elsewhere-basic", play=challenge('Basic realm="foreign"'), visits=[CDN]),
    Trick(
        name="blob-elsewhere-own-realm",
        play=challenge('Bearer realm="{realm}",service="{service}",scope="repository:{path}:pull"'),
        visits=[CDN],
    ),
    Trick(
        name="blob-elsewhere-sibling-realm",
        play=challenge('Bearer realm="https://sibling.{registry}/token"'),
        visits=[CDN],
        of=["generic", "harbor", "zot"],
    ),
    Trick(name="blob-elsewhere-foreign-realm", play=challenge(f'Bearer realm="{EVIL}/token"'), visits=[CDN], of=FEW),
    Trick(name="blob-downgraded", play=redirect(f"{PLAIN_CDN}/blob", "blob GET"), of=FEW),
    Trick(name="blob-downgraded-at-home", play=redirect("http://{registry}/blob", "blob GET")),
    Trick(name="blob-with-user", play=redirect("https://somebody:password@cdn.foreign.test/blob", "blob GET"), of=FEW),
    Trick(name="manifest-elsewhere", play=redirect(f"{EVIL}/manifest", *MANIFESTS, status=302), visits=[EVIL]),
    Trick(name="tags-elsewhere", play=redirect(f"{EVIL}/tags", "tags/list", status=301), visits=[EVIL]),
    Trick(name="greeting-elsewhere", play=redirect(f"{EVIL}/v2/", "ping", status=302), visits=[EVIL]),
    Trick(name="tags-linked", play=link(f"{EVIL}/tags", "tags/list")),
    Trick(name="tags-linked-downgraded", play=link("http://{registry}/tags", "tags/list"), of=FEW),
    Trick(name="realm-elsewhere", play=realm(f"{EVIL}/token")),
    Trick(name="realm-downgraded", play=realm("http://{registry}/token")),
    Trick(
        name="token-service-elsewhere",
        play=redirect(f"{EVIL}/token", "token"),
        of=WITH_TOKENS,
    ),
    Trick(name="upload-elsewhere", play=location(f"{EVIL}/upload", "upload POST"), visits=[EVIL]),
    Trick(name="upload-downgraded", play=location(f"{PLAIN_EVIL}/upload", "upload POST"), of=FEW),
    Trick(
        name="chunk-elsewhere",
        play=location(f"{EVIL}/upload", "upload PATCH", "mount"),
        visits=[EVIL],
        of=["generic", "ecr"],
        profile=_chunked,
    ),
    Trick(name="api-elsewhere-302", play=redirect(f"{EVIL}/api", "api", status=302), of=WITH_API),
    Trick(name="api-elsewhere-307", play=redirect(f"{EVIL}/api", "api"), of=WITH_API),
    Trick(name="api-downgraded", play=redirect("http://{registry}/api", "api", status=301), of=WITH_API),
    Trick(name="api-of-cloud-elsewhere", play=cloud, of=["ecr", "ecr-public"]),
    Trick(name="api-linked", play=link(f"{EVIL}/next", "api"), of=BY_LINK),
    Trick(name="api-linked-downgraded", play=link("http://{registry}/next", "api"), of=BY_LINK),
    Trick(name="api-next", play=next_of_hub, of=["dockerhub"]),
    *(
        Trick(
            name=f"identity-elsewhere-{name}",
            play=identity(to),
            of=[
                *("google-machine", "google-key", "google-workload"),
                *("acr-application", "acr-workload", "acr-machine", "acr-app-service"),
            ],
        )
        for name, to in {"plain": "http://{address}/token", "secure": f"{EVIL}/token"}.items()
    ),
    *(
        Trick(name=f"echo-of-{name}", play=echo(*kinds), of=WITH_API if name == "api" else FEW)
        for name, kinds in {
            "manifests": MANIFESTS,
            "blobs": ("blob GET", "blob HEAD"),
            "uploads": ("upload POST",),
            "listings": ("tags/list", "catalog"),
            "api": ("api",),
        }.items()
    ),
    Trick(name="echo-of-token-service", play=echo("token"), of=WITH_TOKENS),
]
