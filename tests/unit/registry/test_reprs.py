"""Values that carry secrets hide them in their reprs, which logs and tracebacks may show."""

from __future__ import annotations

import httpx2
import pytest

from mirrord.ports.credentials import Credential
from mirrord.registry.call import Answer, Call
from mirrord.registry.providers.acr_credentials import _Access
from mirrord.registry.providers.dockerhub import _Token
from mirrord.registry.providers.renewing import Issued
from mirrord.registry.tokenanswer import Token, TokenAnswer

CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    "value",
    [
        Credential(username="u", secret=CANARY, identity_token=CANARY),
        Issued(credential=Credential(username="u", secret=CANARY), life_s=60),
        Token(CANARY, 1.0),
        TokenAnswer(status=200, body=CANARY.encode()),
        _Token(CANARY, "key", 1.0),
        _Access(CANARY, "application"),
        Call(
            method="POST",
            target=f"https://auth.test/token?sig={CANARY}",
            what="log in",
            scopes=(),
            headers={"Authorization": f"Basic {CANARY}"},
            content=CANARY.encode(),
        ),
        Answer(
            status=200,
            headers=httpx2.Headers({"Location": f"/?sig={CANARY}"}),
            body=CANARY.encode(),
            url=f"https://x/?t={CANARY}",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_repr_tells_no_secret(value: object) -> None:
    assert CANARY not in repr(value)
