"""Origins that no registry may send a credential to: they take everything, and ask for more."""

from __future__ import annotations

from mirrord.demo.registry.asgi import Answer, AsgiApp, Receive, Request, Scope, Send, send_answer

CDN, EVIL = "https://cdn.foreign.test", "https://evil.test"
PLAIN_CDN, PLAIN_EVIL = "http://cdn.foreign.test", "http://evil.test"
ELSEWHERE = (CDN, EVIL, PLAIN_CDN, PLAIN_EVIL)


class Foreign:
    """What all foreign origins answer: ``answer`` once it is set, else a 401 that asks for a password."""

    def __init__(self) -> None:
        self.answer = Answer(status=401, headers=(("WWW-Authenticate", 'Basic realm="foreign"'),), body=b"{}")

    def app(self, origin: str) -> AsgiApp:
        """Return the application of an origin."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive)
            async for _ in request.pieces():
                pass
            await send_answer(self.answer, send, head=request.method == "HEAD")

        return answer
