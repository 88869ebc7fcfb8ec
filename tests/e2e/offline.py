"""A page of a browser that reaches nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Opened:
    """A page, and what it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.context.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def ready(self, frame=None) -> None:
        """Wait until all documents are drawn."""
        where = frame or self.page
        # Not a function that is waited for: Playwright would evaluate its text in the page, whose policy forbids that.
        where.wait_for_selector("[data-document]", state="attached")
        where.wait_for_selector("[data-document=loading]", state="detached")
