"""What can be found and shared: addresses of exercises, figures and claims, terms of the search, links to the story."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from sphinx.errors import ExtensionError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import addresses  # noqa: E402
import claims_page  # noqa: E402
import index_terms  # noqa: E402
import story_links  # noqa: E402

EXERCISE = (
    '<section id="exercise-10-1-three-numbers">\n<h3>Exercise 10.1: <em>three</em> numbers'
    '<a class="headerlink" href="#exercise-10-1-three-numbers" title="Link to this heading">#</a></h3>'
)
REPLAY = '<figure class="replay"><img alt="Dots." src="r.webp"><figcaption><p>It runs.</p></figcaption></figure>'
FILM = '<figure class="animation hero"><picture></picture><figcaption>\nLetters.\n</figcaption></figure>'
NUMBERED = '<figure class="align-default" id="fig-10-ring"><figcaption><p>A ring.</p></figcaption></figure>'


def test_an_exercise_has_the_address_of_its_number_and_the_long_one_stays():
    page = addresses.with_addresses(EXERCISE, 10)
    assert '<h3 id="exercise-10-1">Exercise 10.1: <em>three</em>' in page and 'href="#exercise-10-1" title' in page
    assert '<section id="exercise-10-1-three-numbers">' in page


def test_figures_without_a_number_are_counted_by_kind_and_each_caption_leads_to_its_figure():
    page = addresses.with_addresses(REPLAY + NUMBERED + REPLAY + FILM, 10)
    assert re.findall(r'<figure (?:class="align-default" )?id="([\w-]+)"', page) == [
        "replay-10-1",
        "fig-10-ring",
        "replay-10-2",
        "film-10-1",
    ]
    assert re.findall(r'href="#([\w-]+)"', page) == ["replay-10-1", "replay-10-2", "film-10-1"]
    assert (
        '>It runs.<a class="headerlink" href="#replay-10-2" title="Link to this figure">#</a></p></figcaption>' in page
    )
    assert '<figure id="film-1" class="animation hero">' in addresses.with_addresses(FILM, None)


def test_a_second_build_gives_no_second_address():
    page = addresses.with_addresses(EXERCISE + REPLAY + FILM, 10)
    assert addresses.with_addresses(page, 10) == page


def test_every_claim_has_an_address_of_its_own():
    claims = [
        claim for paths in claims_page.chapters().values() for path in paths for claim in claims_page.read_claims(path)
    ]
    names = [name for _, _, _, name in claims]
    assert len(set(names)) == len(names) > 500
    path = Path("tests/claims/test_chapter_10.py")
    assert claims_page.address(path, "test_the_crowd_rotates") == "chapter-10-the-crowd-rotates"


def document(*titles):
    made = new_document("page", get_default_settings(Parser))
    for title in titles:
        made += nodes.section("", nodes.title("", title), ids=[nodes.make_id(title)])
    return made


def test_a_term_is_at_home_in_the_first_section_whose_title_has_its_words():
    page = document("9. Evaluation", "The distance, from its definition", "The distance by hand")
    assert index_terms.section_with(page, "The distance")["ids"] == ["the-distance-from-its-definition"]
    assert index_terms.section_with(page, "")["ids"] == ["evaluation"]
    with pytest.raises(ExtensionError, match="'The kernel'"):
        index_terms.section_with(page, "The kernel")


def test_no_term_has_two_homes_and_each_home_is_a_heading_of_its_chapter():
    homes = [term.lower() for places in index_terms.HOMES.values() for terms in places.values() for term in terms]
    assert len(set(homes)) == len(homes)
    for page, places in index_terms.HOMES.items():
        notebook = json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf-8"))
        text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert [words for words in places if not any(words in re.sub("`", "", one) for one in headings)] == []


STEPS = ["discriminator", "generator", "collapse", "faster", "critic", "ahead"]


def test_the_steps_of_the_story_are_read_from_its_page():
    assert story_links.steps((ROOT / "book" / "playground.md").read_text(encoding="utf-8")) == STEPS


def test_a_step_of_the_playground_is_found_in_the_text_across_lines_and_no_other_step():
    text = "Open step 3 of the\nplayground. Step 4 of the training. Step 6 of the playground looks ahead."
    assert [pair for pair in story_links.pieces(text, STEPS) if pair[1]] == [
        ("step 3 of the\nplayground", "collapse"),
        ("Step 6 of the playground", "ahead"),
    ]
    assert "".join(piece for piece, _ in story_links.pieces(text, STEPS)) == text
    with pytest.raises(ExtensionError, match="6 steps"):
        story_links.pieces("step 7 of the playground", STEPS)


@pytest.mark.parametrize(
    "chapter, steps", [("03_minimax", "12"), ("10_mode_collapse", "34"), ("11_wasserstein", "5"), ("12_unrolled", "6")]
)
def test_a_chapter_speaks_of_the_steps_that_show_what_it_says(chapter, steps):
    notebook = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    text = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    named = [name for _, name in story_links.pieces(text, STEPS) if name]
    assert named == [STEPS[int(step) - 1] for step in steps]
