"""Facts about the built pages, read from _build/html (or DCGAN_SITE): `make test-site` builds it first."""

import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parent.parent.parent
SITE = Path(os.environ.get("DCGAN_SITE", ROOT / "_build" / "html"))
PAGES = sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts)
CHAPTERS = [path for path in PAGES if path.parent.name == "notebooks"]

if not PAGES:
    pytest.skip("there is no built site", allow_module_level=True)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(SITE).as_posix())
every_chapter = pytest.mark.parametrize("page", CHAPTERS, ids=lambda path: path.stem)


@cache
def parse(page):
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def test_every_page_of_the_contents_was_built():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [contents["root"], *(entry["file"] for part in contents["parts"] for entry in part["chapters"])]
    assert [name for name in listed if not (SITE / f"{name}.html").exists()] == []


@every_page
def test_page_needs_no_network(page):
    resources = [
        element.get("src") or element.get("href") or ""
        for element in parse(page).select("script[src], img[src], source[src], iframe[src], video[src], link[href]")
        if element.name != "link" or set(element.get("rel", [])) & {"stylesheet", "preload", "icon", "modulepreload"}
    ]
    assert [address for address in resources if re.match(r"(https?:)?//", address)] == []


@every_page
def test_links_and_resources_within_the_site_exist(page):
    broken = []
    for element in parse(page).select("[href], [src]"):
        address = urlsplit(element.get("href") or element.get("src") or "")
        if address.scheme or address.netloc or (element.name == "link" and "canonical" in element.get("rel", [])):
            continue
        target = (page.parent / unquote(address.path)).resolve() if address.path else page
        if not target.exists():
            broken.append(address.geturl())
        elif address.fragment and target.suffix == ".html" and target in PAGES:
            soup = parse(target)
            if not soup.find(id=unquote(address.fragment)) and not soup.find(attrs={"name": address.fragment}):
                broken.append(address.geturl())
    assert broken == []


@every_page
def test_every_picture_has_a_text_for_those_who_cannot_see_it(page):
    missing = [image for image in parse(page).find_all("img") if re.match(r"$|\.\./|_images/", image.get("alt", ""))]
    assert missing == []


@every_chapter
def test_every_drawn_output_is_a_figure_with_a_caption(page):
    bare = [
        image["src"]
        for image in parse(page).select(".cell_output img")
        if not (image.find_parent("figure") and image.find_parent("figure").find("figcaption"))
    ]
    assert bare == []


@every_chapter
def test_chapter_shows_no_error_and_no_progress_bar(page):
    assert parse(page).select(".output.traceback, .output.stderr") == []
    assert "it/s]" not in parse(page).get_text()


@every_chapter
def test_chapter_opens_in_colab(page):
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    repository = os.environ.get("GITHUB_REPOSITORY") or address.removeprefix("https://github.com/")
    wanted = f"https://colab.research.google.com/github/{repository}"
    links = [link["href"] for link in parse(page).select("a[href*=colab]")]
    assert any(link.startswith(f"{wanted}/blob/main/notebooks/{page.stem}.ipynb") for link in links), links


@every_chapter
def test_set_up_cell_is_not_shown(page):
    assert "%pip" not in parse(page).get_text()
