"""How the book looks: its typeface and its accent, the card at the top of a chapter, the pictures of the parts."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.errors import ExtensionError

from dcgan_core.teaching import plots

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import chapter_card  # noqa: E402
import claims_page  # noqa: E402
import dark_twins  # noqa: E402
import part_pictures  # noqa: E402
from test_book_extensions import contrast  # noqa: E402

STATIC = ROOT / "book" / "_static"
STYLE = (STATIC / "custom.css").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------ typeface and accent


def test_every_font_of_the_style_sheet_is_there_and_its_licence_is_listed_and_beside_it():
    named = re.findall(r'url\("(fonts/[^"]+)"\)', STYLE)
    assert sorted(named) == sorted(f"fonts/{path.name}" for path in (STATIC / "fonts").glob("*.woff2")) != []
    assert "SIL Open Font License, Version 1.1" in (STATIC / "fonts" / "LICENSE").read_text(encoding="utf-8")
    assert "book/_static/fonts/LICENSE" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_fonts_of_a_page_weigh_less_than_65_kilobytes():
    assert sum(path.stat().st_size for path in (STATIC / "fonts").glob("*.woff2")) < 65_000


def accent(mode: str) -> dict[str, str]:
    """The accent's colours in light or dark."""
    selector = {"light": r'html:not\(\[data-theme="dark"\]\)', "dark": r'html\[data-theme="dark"\]'}[mode]
    rule = re.search(rf"^{selector} {{ (--accent:[^}}]*)}}", STYLE, re.MULTILINE)[1]
    return dict(re.findall(r"--([\w-]+): (#\w+)", rule))


@pytest.mark.parametrize("mode, background", [("light", "#ffffff"), ("dark", "#121212")])
def test_the_accent_can_be_read_on_the_page_on_the_card_and_under_a_buttons_words(mode, background):
    colours = accent(mode)
    on = colours["on-accent"] if len(colours["on-accent"]) == 7 else "#ffffff"
    assert contrast(colours["accent"], background) >= 4.5
    assert contrast(colours["accent"], colours["accent-paper"]) >= 4.5
    assert contrast(colours["accent-strong"], background) >= 4.5
    assert contrast(on, colours["accent"]) >= 4.5 and contrast(on, colours["accent-strong"]) >= 4.5


def test_the_accent_is_the_first_colour_of_the_figures_and_of_the_living_pages_in_light_and_dark():
    living = (STATIC / "living.css").read_text(encoding="utf-8")
    for mode, wanted, rule in (
        ("light", plots.REAL.lower(), r"^\.living {"),
        ("dark", dark_twins.DARK[plots.REAL.lower()], r'^html\[data-theme="dark"\] \.living {'),
    ):
        assert accent(mode)["accent"] == wanted
        assert re.search(rf"{rule}[^}}]*--real: (#\w+)", living, re.MULTILINE)[1] == wanted


# ------------------------------------------------------------------------------------------------------------- the card


def paragraph(*parts):
    """A paragraph of texts; those that begin and end with ** are bold."""
    made = nodes.paragraph("", "", nodes.Text(""))  # as MyST begins one
    for part in parts:
        made += nodes.strong("", part.strip("*")) if part.startswith("**") else nodes.Text(part)
    return made


def top():
    section = nodes.section("", nodes.title("", "10. Mode collapse"))
    section += paragraph("**Question.**", " What is it?")
    section += paragraph("**Answer.**", " It is ", "**this**", ".")
    section += paragraph("**Before you start.**", " You know nothing.")
    section += paragraph("**Reading time:**", " 30 minutes. ", "**To run:**", " about 75 seconds.")
    section += paragraph("**Then**", " the chapter begins.")
    return section


def test_a_card_has_five_fields_with_every_word_and_what_follows_stays_below():
    section = top()
    before = section.astext().split()
    chapter_card.make_card(section)
    card = section[1]
    assert card["classes"] == ["chapter-card"] and len(section) == 3
    assert [part["classes"][0] for part in card] == list(chapter_card.FIELDS.values())
    assert [part.astext() for part in card][1:4:2] == ["Answer. It is this.", "Reading time: 30 minutes. "]
    assert " ".join(section.astext().split()) == " ".join(before)
    assert [one.astext() for one in card.findall(nodes.inline)] == [".", ".", ".", ":", ":"]


def test_a_chapter_without_one_of_the_fields_is_refused():
    section = top()
    section.remove(section[3])
    with pytest.raises(ValueError, match="Before you start"):
        chapter_card.make_card(section)


# ----------------------------------------------------------------------------------------------- pictures of the parts

CONTENTS = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))


def test_every_part_with_a_chapter_has_a_picture_from_one_of_its_chapters():
    made = part_pictures.part_list(CONTENTS, claims_page.chapter_title)
    assert made.count("<li") == made.count("<img data-figure=") == len(part_pictures.PICTURES)
    assert [part for part, _ in part_pictures.parts(CONTENTS)] == list(part_pictures.PICTURES)
    for chapter, figure in part_pictures.PICTURES.values():
        notebook = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
        drawn = [cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") for cell in notebook["cells"]]
        assert figure in drawn


def test_a_part_without_a_picture_or_with_one_from_elsewhere_is_refused():
    chapter = {"file": "notebooks/03_minimax"}
    for caption in ("A new part", "Why"):
        with pytest.raises(ExtensionError, match=caption):
            part_pictures.part_list({"parts": [{"caption": caption, "chapters": [chapter]}]}, str)


def test_the_picture_is_found_in_the_chapter_with_its_text():
    page = '<figure id="fig-1"><img src="a.svg" alt="no"></figure>\n<figure class="x" id="fig-2">\n'
    page += '<img class="y" alt="Rings." src="../_images/b.svg" /></figure>'
    assert part_pictures.picture(page, "fig-2") == '<img src="../_images/b.svg" alt="Rings.">'
    with pytest.raises(ExtensionError, match="fig-3"):
        part_pictures.picture(page, "fig-3")


def test_a_picture_of_a_part_is_the_drawing_without_labels_ticks_legend_and_margin(tmp_path):
    figure = Figure(figsize=(2, 2))
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], color=plots.REAL, label="a line")
    left.legend()
    left.set_title("a title")
    right.imshow([[0, 1]])
    figure.savefig(tmp_path / "c.svg")
    image = part_pictures.unlabelled('<img src="c.svg" alt="A line.">', tmp_path)
    assert image == '<img src="c-part.svg" alt="A line.">'
    before, after = ((tmp_path / name).read_text() for name in ("c.svg", "c-part.svg"))
    for group in ("text_1", "legend_1", "matplotlib.axis_1"):
        assert f'id="{group}"' in before and f'id="{group}"' not in after
    assert plots.REAL.lower() in after and "data:image/png" in after and dark_twins.MARK in after
    x, y, width, height = (float(number) for number in re.search('viewBox="([^"]*)"', after)[1].split())
    boxes = [panel.get_position() for panel in (left, right)]
    assert (x, width) == pytest.approx((boxes[0].x0 * 144, (boxes[1].x1 - boxes[0].x0) * 144), abs=0.01)
    assert height == pytest.approx(max(box.height for box in boxes) * 144, abs=0.01) and y > 0


def test_a_drawing_without_panels_keeps_its_margin():
    figure = Figure(figsize=(2, 2))
    panel = figure.subplots()
    panel.axis("off")
    panel.bar([0], [1], color=plots.REAL)
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg")
    assert 'viewBox="0 0 144 144"' in part_pictures.without_labels(drawing.getvalue())
