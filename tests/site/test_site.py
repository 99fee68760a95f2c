"""Facts about the built pages, read from _build/html (or DCGAN_SITE): `make test-site` builds it first."""

import os
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parent.parent.parent
SITE = Path(os.environ.get("DCGAN_SITE", ROOT / "_build" / "html"))
# Without the page for wrong addresses, whose links begin at the site's own address.
PAGES = sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts and path.name != "404.html")
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
            soup, name = parse(target), unquote(address.fragment)
            steps = [f"step={button['data-step']}" for button in soup.select("[data-step]")]
            if not (soup.find(id=name) or soup.find(attrs={"name": name}) or name in steps):
                broken.append(address.geturl())
    assert broken == []


@every_page
def test_no_formula_is_left_as_its_source(page):
    """Inside raw HTML, for example in the summary of a quiz's answer, dollar signs are not read as a formula."""
    article = BeautifulSoup(str(parse(page).select_one(".bd-article") or ""), "html.parser")
    for apart in article.select("code, pre, script, style, annotation"):
        apart.decompose()
    assert re.findall(r".{0,30}\$.{0,30}", article.get_text()) == []


def mentions_of_chapters(page):
    """[(text, number, file of its link or None)] of each "chapter 7" in a page's text; headings and code left out."""
    article = BeautifulSoup(str(parse(page).select_one(".bd-article") or ""), "html.parser")
    for apart in article.select("h1, h2, h3, h4, code, pre, script, style, annotation, summary"):
        apart.decompose()
    found = []
    for text in article.find_all(string=re.compile(r"[Cc]hapter\s+\d")):
        link = text.find_parent("a")
        target = Path(urlsplit(link["href"]).path).name if link else None
        found += [(mention[0], mention[1], target) for mention in re.finditer(r"[Cc]hapter\s+(\d+)\b", text)]
    return found


@every_page
def test_every_mention_of_a_chapter_that_is_out_is_a_link_to_it_in_one_style(page):
    out = {str(int(path.stem[:2])): path.name for path in CHAPTERS}
    found = mentions_of_chapters(page)
    assert [text for text, number, _ in found if number.startswith("0")] == []
    wanted = [one for one in found if out.get(one[1], page.name) != page.name]
    assert [(text, target) for text, number, target in wanted if target != out[number]] == []


def test_the_chapters_mention_each_other():
    assert sum(len(mentions_of_chapters(page)) for page in CHAPTERS) > 100


@every_page
def test_every_picture_has_a_text_for_those_who_cannot_see_it(page):
    missing = [image for image in parse(page).find_all("img") if re.match(r"$|\.\./|_images/", image.get("alt", ""))]
    assert missing == []


@every_page
def test_headings_are_in_order(page):
    """One first-level heading at the top, and none that skips a level: a screen reader lists them as the contents."""
    levels = [
        int(heading.name[1]) for heading in parse(page).select(", ".join(f".bd-article h{n}" for n in range(1, 7)))
    ]
    assert (levels[:1] == [1] and levels.count(1) == 1) or page.name in ("index.html", "search.html")
    assert [pair for pair in pairwise(levels) if pair[1] > pair[0] + 1] == []


@every_chapter
def test_figures_are_numbered_within_the_chapter(page):
    numbers = [re.search(r"\d[\d.]*", one.get_text())[0] for one in parse(page).select(".caption-number")]
    assert numbers == [f"{int(page.stem[:2])}.{place}" for place in range(1, len(numbers) + 1)]


@every_page
def test_every_formula_was_typeset_and_says_what_it_is(page):
    formulas = parse(page).select(".katex")
    assert parse(page).select(".katex-error") == []
    assert all(formula.select_one("math annotation[encoding='application/x-tex']") for formula in formulas)
    assert "\\(" not in parse(page).get_text() and "MathJax" not in str(parse(page).head)


@every_chapter
def test_every_drawn_output_is_a_figure_with_a_caption(page):
    bare = [
        image["src"]
        for image in parse(page).select(".cell_output img")
        if not (image.find_parent("figure") and image.find_parent("figure").find("figcaption"))
    ]
    assert bare == []


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_code_whose_marks_were_taken_away_keeps_its_colour(mode):
    """book/_ext/light_pages.py takes the marks of names, punctuation and white space from every line of code."""
    style = (SITE / "_static" / "pygments.css").read_text(encoding="utf-8")
    selector = rf'html\[data-theme="{mode}"\] \.highlight'
    plain = re.search(rf"{selector} {{[^}}]*[^-]color: (#\w+)", style)[1]
    assert {re.search(rf"{selector} \.{token} {{ color: (#\w+)", style)[1] for token in "npw"} == {plain}


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
