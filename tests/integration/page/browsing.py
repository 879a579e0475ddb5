"""The page in a browser, with an eye on all that it does and should not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from playwright.sync_api import Locator, Page, Request

from tests.fakes.pagescenes import Scene
from tests.integration.page.server import PageServer, Prepare


@dataclass
class Seen:
    """An open page with its server, and all that it did which it should not."""

    page: Page
    server: PageServer
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def card(self, name: str) -> Locator:
        """The card of a rule."""
        return self.page.locator("article.rule", has=self.page.get_by_role("button", name=name, exact=True))

    def open(self, name: str) -> Locator:
        """Open a rule's details and return its card."""
        card = self.card(name)
        card.locator("h3 button").click()
        return card

    def names(self) -> list[str]:
        """The names of the rules that are shown, in order."""
        return self.page.locator("article.rule:visible h3 bdi").all_inner_texts()


class OpenPage(Protocol):
    """Opens the page on a scene.

    ``prepare`` changes the server before it is asked; ``is_live``: wait until events arrive; ``expected``: parts of
    messages on the console that are no fault.
    """

    def __call__(
        self,
        scene: Scene,
        *,
        width: int = 1280,
        scheme: Literal["light", "dark"] = "light",
        path: str = "/",
        prepare: Prepare | None = None,
        is_live: bool = True,
        expected: tuple[str, ...] = (),
    ) -> Seen: ...


def watch(page: Page, address: str, complaints: list[str], expected: tuple[str, ...]) -> None:
    """Have a page note errors, violations of the policy, dialogs, and requests to elsewhere than an address.

    ``expected``: parts of messages that are no fault.
    """

    def complain(text: str) -> None:
        if not any(known in text for known in expected):
            complaints.append(text)

    def asked(request: Request) -> None:
        if not request.url.startswith(address + "/"):
            complain(f"a request to {request.url}")

    page.on("console", lambda message: complain(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complain(str(error)))
    page.on("dialog", lambda dialog: complain(f"a dialog: {dialog.message}"))
    page.on("request", asked)
