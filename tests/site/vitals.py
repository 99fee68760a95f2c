"""What a page costs its reader, measured in Chromium: bytes before the first touch, first paint, layout shift.

`python tests/site/vitals.py` prints a table of every page of the site in _build/html (or in the folder DCGAN_SITE).
Bytes are those of a static server without compression; the second number is what gzip would leave of them.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Page

COMPRESSED = {".html", ".css", ".js", ".svg", ".json"}  # what servers compress; pictures and fonts already are

WATCH_SHIFTS = """() => {
    window.layoutShift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.layoutShift += entry.value;
    }).observe({type: "layout-shift", buffered: true});
}"""


@dataclass(frozen=True)
class Vitals:
    """One view of one page; the reader has touched nothing yet."""

    files: dict[str, int]  # address to bytes
    gzipped: int  # bytes
    first_paint: float  # milliseconds to the first text or picture
    layout_shift: float  # cumulative; Lighthouse calls 0.1 good
    layout_shift_scrolled: float  # the same after scrolling to the end, when the lazy pictures have come

    @property
    def size(self) -> int:
        """Bytes of the page and of all that it loads by itself."""
        return sum(self.files.values())


def measure(page: Page, site: Path, server: str, address: str) -> Vitals:
    """Opens `address` of the site at `server` in a fresh page, touches nothing, then scrolls through it."""
    page.goto(f"{server}/{address}", wait_until="networkidle")
    page.evaluate(WATCH_SHIFTS)
    page.wait_for_timeout(100)
    entries = page.evaluate(
        """["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type))
        .map((entry) => [entry.name.split("#")[0], entry.decodedBodySize])"""
    )
    files = {urlsplit(name)._replace(query="").geturl(): size for name, size in entries if name.startswith(server)}
    first_paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
    before = page.evaluate("layoutShift")
    page.evaluate(
        """async () => {
        for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
            scrollTo({top: y, behavior: "instant"});
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }
    }"""
    )
    page.wait_for_load_state("networkidle")
    after = page.evaluate("layoutShift")
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    return Vitals(files, sum(_gzipped(site, server, name) for name in files), first_paint, before, after)


def _gzipped(site: Path, server: str, name: str) -> int:
    path = site / unquote(urlsplit(name).path).lstrip("/")
    content = path.read_bytes()
    return len(gzip.compress(content, 6)) if path.suffix in COMPRESSED else len(content)


def main() -> None:
    """Prints the table."""
    from conftest import ARGUMENTS, CHROMIUM, SITE, serve
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, serve(SITE) as server:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        print(f"{'page':38}{'kB':>7}{'gzip kB':>9}{'paint ms':>10}{'shift':>8}{'scrolled':>10}")
        for path in sorted(SITE.glob("[bn]*/*.html")):
            address = path.relative_to(SITE).as_posix()
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            vitals = measure(page, SITE, server, address)
            page.close()
            print(
                f"{address:38}{vitals.size / 1000:7.0f}{vitals.gzipped / 1000:9.0f}{vitals.first_paint:10.0f}"
                f"{vitals.layout_shift:8.3f}{vitals.layout_shift_scrolled:10.3f}"
            )
        browser.close()


if __name__ == "__main__":
    main()
