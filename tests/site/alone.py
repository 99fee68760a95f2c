"""A living piece by itself: a page with nothing else in it, and a clock that stands still."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page


def write_page(path: Path, title: str, content: str) -> None:
    """A page with that content, in place of the book."""
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<main style='max-width: 50rem; font-family: sans-serif'><h1>{title}</h1>{content}</main></html>"
    )


def stop_time(page: Page) -> None:
    """From now on timers run only when `page.clock.run_for` says so, however busy this machine is."""
    page.clock.install(time=0)
    page.clock.pause_at(3_600_000)
