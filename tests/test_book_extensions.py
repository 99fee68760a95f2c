"""The small Sphinx extensions of the book, each as the pure functions that it is made of."""

from __future__ import annotations

import base64
import io
import re
import sys
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from dcgan_core.teaching import plots

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import built_formulas  # noqa: E402
import chapter_links  # noqa: E402
import chapter_numbers  # noqa: E402
import claims_page  # noqa: E402
import dark_twins  # noqa: E402
import found_and_shared  # noqa: E402
import light_pages  # noqa: E402
import used_icons  # noqa: E402

STYLE = (ROOT / "book" / "_static" / built_formulas.STYLE).read_text(encoding="utf-8")


def test_a_formula_becomes_html_for_the_eyes_and_mathml_for_screen_readers_with_its_source():
    html = built_formulas.typeset(r"D^*(x) = \frac{p(x)}{p(x) + q(x)}", True)
    assert 'class="katex-html" aria-hidden="true"' in html and "<mfrac>" in html
    assert r"\frac{p(x)}{p(x) + q(x)}</annotation>" in html


def test_a_formula_that_is_none_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"^KaTeX parse error: .* expected '}'") as caught:
        built_formulas.typeset(r"\frac{1}{2", False)
    assert "\n" not in str(caught.value)


def test_script_and_style_sheet_of_katex_are_of_one_version_and_every_font_is_there():
    version = re.search(r'content:"(\d+\.\d+\.\d+)"', STYLE)[1]
    assert f'"{version}"' in built_formulas.KATEX.read_text(encoding="utf-8")
    assert f"KaTeX {version}" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    fonts = set(re.findall(r"fonts/([\w-]+\.woff2)", STYLE))
    assert fonts == {path.name for path in (ROOT / "book" / "_static" / "katex" / "fonts").iterdir()}


@pytest.fixture
def page(tmp_path) -> Path:
    (tmp_path / "_images").mkdir()
    (tmp_path / "book").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "_images" / "a.png")
    (tmp_path / "_images" / "b.svg").write_text('<svg height="60pt" width="90pt" viewBox="0 0 90 60"></svg>')
    return tmp_path / "book" / "page.html"


def test_pictures_keep_their_place_and_all_but_the_first_load_late(page):
    source = '<img alt="a" src="../_images/a.png" />\n<img src="../_images/b.svg" style="width: 50%">'
    assert light_pages.lighten(source, page, page.parent.parent) == (
        '<img alt="a" src="../_images/a.png" width="30" height="20" loading="eager">\n'
        '<img src="../_images/b.svg" style="width: 50%" width="120" height="80" loading="lazy" decoding="async">'
    )


def test_embedded_pictures_become_files(page):
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    source = f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" width="64" height="64">'
    found = re.search(r'src="([^"]+)"', light_pages.lighten(source, page, page.parent.parent))[1]
    assert (page.parent / found).read_bytes() == buffer.getvalue()
    small = '<img src="data:image/png;base64,AAAA">'
    assert light_pages.lighten(small, page, page.parent.parent) == small


def test_what_a_page_has_no_use_for_goes_and_what_it_uses_stays(page):
    scripts = "".join(f'<script src="{name}?v=1"></script>\n' for name in ("searchindex.js", "doctools.js"))
    assert light_pages.lighten(scripts, page, page.parent) == '<script src="doctools.js?v=1"></script>\n'
    search = scripts + '<div id="search-results"></div>'
    assert light_pages.lighten(search, page, page.parent) == search
    assert light_pages.lighten('<span class="n">loss</span><span class="k">if</span>', page, page.parent) == (
        'loss<span class="k">if</span>'
    )


def test_a_second_build_changes_nothing_more(page):
    source = '<img src="../_images/a.png"><img src="../_images/b.svg"><span class="p">(</span>'
    once = light_pages.lighten(source, page, page.parent.parent)
    assert light_pages.lighten(once, page, page.parent.parent) == once


def chart(path: Path, *, white_text: bool = False) -> Path:
    """A small drawing as chapters make them: a line, a bar, text, and pixels."""
    figure = Figure(figsize=(2, 2))
    upper, lower = figure.subplots(2)
    upper.plot([0, 1], color=plots.REAL, label="a line")
    upper.bar([0], [1], color=plots.FAKE, edgecolor="white")
    upper.set_title("in black")
    lower.imshow([[0, 1]], cmap="gray")
    if white_text:
        lower.text(0, 0, "here", color="white")
    figure.savefig(path, format="svg")
    return path


def relative_luminance(colour: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(relative_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_a_chart_has_a_twin_whose_pixels_are_the_same_and_whose_colours_are_for_the_dark(page):
    drawing = chart(page.parent.parent / "_images" / "c.svg").read_text()
    source = '<img alt="a chart" src="../_images/c.svg"><img class="big" src="../_images/b.svg">'
    paired = dark_twins.with_twins(source, page)
    assert paired == (
        '<img class="only-light" alt="a chart" src="../_images/c.svg">'
        '<img class="only-dark" alt="a chart" src="../_images/c-dark.svg"><img class="big" src="../_images/b.svg">'
    )
    assert dark_twins.with_twins(paired, page) == paired
    twin = (page.parent.parent / "_images" / "c-dark.svg").read_text()
    pixels = re.compile(r"data:image/png;base64,[^\"]*")
    assert pixels.findall(twin) == pixels.findall(drawing) and len(pixels.findall(drawing)) == 1
    found = {colour.lower() for colour in re.findall(r"(?:fill|stroke): (#[0-9a-fA-F]{6})", twin)}
    assert found == {dark_twins.DARK[colour.lower()] for colour in ("#ffffff", "#000000", plots.REAL, plots.FAKE)}
    assert f'<svg fill="{dark_twins.TEXT}"' in twin and not re.search(r'id="text_1">\s*<!--.*?-->\s*<g style=', twin)


def test_a_drawing_with_white_text_keeps_its_light_card(page):
    chart(page.parent.parent / "_images" / "c.svg", white_text=True)
    source = '<img src="../_images/c.svg">'
    assert dark_twins.with_twins(source, page) == source


def test_every_colour_of_the_books_charts_can_be_told_from_the_dark():
    background = dark_twins.DARK["#ffffff"]
    for colour in (plots.REAL, plots.FAKE, plots.DISCRIMINATOR, plots.NEUTRAL, *plots.EXTRA):
        assert contrast(dark_twins.DARK.get(colour.lower(), colour), background) > 4.5
    assert contrast(dark_twins.TEXT, background) > 7
    with matplotlib.rc_context():
        plots.book_style()
        grid = matplotlib.rcParams["grid.color"]
    assert contrast(dark_twins.DARK[grid], background) == pytest.approx(contrast(grid, "white"), rel=0.3)


def test_style_sheet_keeps_the_icons_in_use_and_the_themes_own():
    style = '.fa-a:before,.fa-b:before{content:"\\f001"}.fa-c:before{content:"\\f002"}:root{--pst-icon-bell:"\uf0f3"}'
    pruned, characters = used_icons.prune(style, {"fa-b"})
    assert pruned == '.fa-b:before{content:"\\f001"}:root{--pst-icon-bell:"\uf0f3"}'
    assert characters == {"\uf001", "\uf0f3"}


def test_icons_are_found_in_a_page():
    assert {"fa-bars", "fa-lg"} <= used_icons.names_in('<i class="fa-solid fa-bars fa-lg"></i><b class="other"></b>')


def test_installed_theme_still_has_what_the_extensions_take_away():
    """Fails when an upgrade of the theme makes a repair needless, or makes it miss."""
    style = (used_icons.THEME / used_icons.STYLE).read_text(encoding="utf-8")
    assert len(used_icons.RULE.findall(style)) > 1_000 and len(used_icons.SOURCE.findall(style)) == 3
    layout = (used_icons.THEME.parent / "layout.html").read_text(encoding="utf-8")
    assert light_pages.THEME_CHOICE.replace('"auto"', '"{{ default_mode }}"') in layout


def test_figures_are_counted_by_chapter_and_other_pages_on_their_own():
    counted = {"book/intro": {"figure": {"x": (1,)}}, "notebooks/07_loop": {"figure": {"b": (3,), "a": (2,)}}}
    assert chapter_numbers.by_chapter(counted) == {
        "book/intro": {"figure": {"x": (1,)}},
        "notebooks/07_loop": {"figure": {"a": (7, 1), "b": (7, 2)}},
    }


@pytest.mark.parametrize(
    ("text", "numbers", "shown"),
    [
        ("see chapter 07 (and 12)", [7], "see chapter 7 (and 12)"),
        ("Chapters 03, 5 and 07 to 10, 12 letters", [3, 5, 7, 10], "Chapters 3, 5 and 7 to 10, 12 letters"),
        ("in chapter\n9.", [9], "in chapter 9."),
        ("chapter 7, 8 letters", [7], "chapter 7, 8 letters"),
        ("chapter 7.2, chapter 100, 12 chapters", [], "chapter 7.2, chapter 100, 12 chapters"),
    ],
)
def test_mentions_of_chapters_are_found_and_written_in_one_style(text, numbers, shown):
    split = chapter_links.pieces(text)
    assert [number for _, number in split if number] == numbers
    assert "".join(piece for piece, _ in split) == shown


def test_chapters_are_known_by_the_names_of_their_files():
    assert chapter_links.chapters({"notebooks/07_loop", "book/intro"}) == {7: "notebooks/07_loop"}


@pytest.mark.parametrize(
    "name, said",
    [
        ("test_the_cluster_rotates", "The cluster rotates."),
        ("test_on_mnist_r1_is_ahead_at_200_000_images", "On MNIST R1 is ahead at 200,000 images."),
        ("test_with_beta1_of_0_5_adam_follows", "With beta1 of 0.5 Adam follows."),
        ("test_without_detach_the_generators_turn_fails", "Without detach the generator's turn fails."),
    ],
)
def test_the_name_of_a_test_is_read_as_a_sentence(name, said):
    assert claims_page.sentence(name) == said


def test_every_claim_of_every_chapter_is_listed_with_its_line():
    found = claims_page.chapters()
    chapters = {int(path.name[:2]) for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert set(found) - {None} == chapters
    assert all(claims_page.chapter_title(number).startswith(f"{number}. ") for number in chapters)
    for path in (path for paths in found.values() for path in paths):
        source = path.read_text(encoding="utf-8")
        claims = claims_page.read_claims(path)
        assert len(claims) == len(re.findall(r"^def test_", source, re.M)) > 0
        for claim, _, line, _ in claims:
            name = re.match(r"def (test_\w+)\(", source.splitlines()[line - 1])[1]
            assert claims_page.sentence(name) == claim


def test_the_address_of_the_site_follows_from_the_repository():
    address = "https://owner.github.io/a-book/"
    assert found_and_shared.site_address("https://github.com/Owner/a-book") == address
    assert found_and_shared.site_address("https://github.com/Owner/a-book/") == address


def test_a_title_that_would_stand_twice_stands_once():
    twice = "<title>A &amp; B &#8212; A &amp; B</title>"
    assert found_and_shared.TWICE.sub(r"<title>\1</title>", twice) == "<title>A &amp; B</title>"
    chapter = "<title>7. A loop &#8212; A book</title>"
    assert found_and_shared.TWICE.sub("", chapter) == chapter
