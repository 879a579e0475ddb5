"""What was asked of a registry: counts by class, bytes both ways, and the requests themselves."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from mirrord.demo.registry.asgi import AsgiApp, Message, Receive, Scope, Send
from mirrord.demo.registry.routes import Route, parse_route, request_class

MAX_RECORDS = 20_000


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request. ``target`` is path and query byte for byte; ``status`` is None until, or unless, it was answered."""

    method: str
    target: bytes
    route: Route
    kind: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    status: int | None = None
    received_bytes: int = 0
    sent_bytes: int = 0

    def header(self, name: str) -> str | None:
        """Return the first value of a request header, or None."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), None)


class Traffic:
    """Counts requests on their way to an application. The newest ``max_records`` requests are kept."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self.counts: Counter[str] = Counter()
        self.records: deque[RequestRecord] = deque(maxlen=max_records)
        self.received_bytes = 0
        self.sent_bytes = 0
        self.in_flight = 0
        self.most_in_flight = 0

    def of(self, kind: str) -> list[RequestRecord]:
        """Return the kept requests of one class, ``blob GET`` for instance, oldest first."""
        return [record for record in self.records if record.kind == kind]

    def clear(self) -> None:
        """Start counting anew; requests in flight go on."""
        self.counts.clear()
        self.records.clear()
        self.received_bytes = self.sent_bytes = 0
        self.most_in_flight = self.in_flight

    async def watch(self, app: AsgiApp, scope: Scope, receive: Receive, send: Send, *, kind: str = "") -> None:
        """Let ``app`` answer a request, and take notes. A given ``kind`` is its class; else its route decides."""
        record = _record(scope, kind)
        self.counts[record.kind] += 1
        self.records.append(record)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

        async def counting_receive() -> Message:
            message = await receive()
            received = len(message.get("body", b""))
            record.received_bytes += received
            self.received_bytes += received
            return message

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            sent = len(message.get("body", b""))
            record.sent_bytes += sent
            self.sent_bytes += sent
            await send(message)

        try:
            await app(scope, counting_receive, counting_send)
        finally:
            self.in_flight -= 1


def _record(scope: Scope, kind: str) -> RequestRecord:
    query: bytes = scope.get("query_string", b"")
    route = parse_route(scope["path"])
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return RequestRecord(
        method=scope["method"],
        target=raw_path + (b"?" + query if query else b""),
        route=route,
        kind=kind or request_class(scope["method"], route, query),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
    )
