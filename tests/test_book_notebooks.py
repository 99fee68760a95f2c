"""What every chapter has in common: facts about the notebooks as they are committed."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST = "00_first_gan"  # has three things to change in place of exercises
NOT_DRAWING = {"close", "rc", "rcdefaults", "switch_backend"}

pytestmark = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


def cells(chapter, kind):
    return [cell for cell in nbformat.read(chapter, as_version=4).cells if cell.cell_type == kind]


def text(chapter):
    return "\n\n".join(cell.source for cell in cells(chapter, "markdown"))


def code(chapter):
    return "\n\n".join(cell.source for cell in cells(chapter, "code"))


def python(source):
    """The cell's syntax tree, without the lines that only Jupyter understands."""
    return ast.parse("\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in source.splitlines()))


def executed_calls(tree):
    """Calls that run when the cell runs: not those in the bodies of functions that it only defines."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            if isinstance(node, ast.Call):
                yield node
            yield from executed_calls(node)


def draws(source):
    """True if the cell calls something named plot_... or show_..., or pyplot itself."""
    for call in executed_calls(python(source)):
        owner, name = getattr(call.func, "value", None), getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name.startswith(("plot_", "show_")):
            return True
        if isinstance(owner, ast.Name) and owner.id == "plt" and name not in NOT_DRAWING:
            return True
    return False


def test_is_a_valid_notebook_for_any_python_3_kernel(chapter):
    notebook = nbformat.read(chapter, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5), "cells need ids, or every save changes them"
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata


def test_commits_no_outputs(chapter):
    for cell in cells(chapter, "code"):
        assert not cell.outputs and cell.execution_count is None, cell.source[:80]


def test_code_fits_80_columns(chapter):
    assert [line for line in code(chapter).splitlines() if len(line) > 80] == []


def test_begins_with_the_hidden_cell_that_installs_the_package(chapter):
    address = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    first = cells(chapter, "code")[0]
    assert first.source.startswith(
        "try:\n"
        "    import dcgan_core\n"
        "except ModuleNotFoundError:  # for example on Google Colab\n"
        f'    %pip install -q "git+{address}"\n'
    )
    assert "remove-cell" in first.metadata.get("tags", [])


def test_needs_nothing_but_the_installed_package(chapter):
    for forbidden in ("myst_nb", "sys.path", "os.chdir", "../"):
        assert forbidden not in code(chapter), f"{forbidden} works in the repository only, not on Colab"


def test_prose_is_plain_markdown(chapter):
    """Directives and roles of MyST would be shown raw in Jupyter and Colab."""
    assert re.findall(r"^(?::::+|```)\{.*|\{[a-z:]+\}`", text(chapter), flags=re.MULTILINE) == []


def test_every_picture_has_a_caption_and_a_text_for_those_who_cannot_see_it(chapter):
    names = []
    for cell in cells(chapter, "code"):
        if not draws(cell.source) or {"remove-cell", "remove-output"} & set(cell.metadata.get("tags", [])):
            continue
        rendering = cell.metadata.get("mystnb", {})
        for value in (
            rendering.get("image", {}).get("alt"),
            rendering.get("figure", {}).get("caption"),
            rendering.get("figure", {}).get("name"),
        ):
            assert value, f"mystnb metadata needs image.alt, figure.caption and figure.name:\n{cell.source}"
        names.append(rendering["figure"]["name"])
    assert len(names) == len(set(names)), f"a figure's name stands twice: {names}"


def test_has_one_title(chapter):
    assert len(re.findall(r"^# \S", text(chapter), flags=re.MULTILINE)) == 1


def test_every_displayed_equation_has_the_next_number_of_its_chapter(chapter):
    """`\\tag{7.2}` is plain TeX, which Jupyter, Colab and the site all show."""
    tags = [re.findall(r"\\tag\{(.*?)\}", equation) for equation in re.findall(r"\$\$(.+?)\$\$", text(chapter), re.S)]
    assert tags == [[f"{int(chapter.name[:2])}.{place}"] for place in range(1, len(tags) + 1)]


def test_has_exercises_with_hints_and_solutions(chapter):
    exercises = re.findall(r"^#{2,4} Exercise \d", text(chapter), flags=re.MULTILINE)
    if chapter.stem == FIRST:
        assert code(chapter).count("  # <- change me\n") == 3
    else:
        assert len(exercises) >= 3
    for summary in ("hint", "solution"):
        found = re.findall(rf"<summary>[^\n]*\b{summary}", text(chapter), flags=re.IGNORECASE)
        assert len(found) >= len(exercises), f"every exercise needs a <summary> that says {summary!r}"


def test_ends_with_take_away_quiz_and_further_reading(chapter):
    headings = re.findall(r"^#{2,3} (.*)", text(chapter), flags=re.MULTILINE)
    for wanted in ("take away", "quiz", "further reading"):
        assert any(wanted in heading.lower() for heading in headings), f"no heading {wanted!r} among {headings}"


HEADER = re.compile(
    r"# (?P<number>\d+)\. (?P<title>[^\n]+)\n\n"
    r"\*\*Question\.\*\* (?P<question>[^.?]+\?)\n\n"
    r"\*\*Answer\.\*\* (?P<answer>\S(?:.|\n(?!\n))+\.)\n\n"
    r"\*\*Before you start\.\*\* (?P<needed>\S(?:.|\n(?!\n))+\.)\n\n"
    r"\*\*Reading time:\*\* \d+ minutes\. "
    r"\*\*To run:\*\* about \d+ seconds and \d+ GB of memory on 2 CPU cores[,;] (?P<gpu>[^\n]*GPU[^\n]*)\."
)


def header(chapter):
    found = HEADER.fullmatch(cells(chapter, "markdown")[0].source.strip())
    assert found, "the first cell needs title, question, answer, what comes before, and the times, in the usual form"
    return found


def test_says_at_the_top_what_it_asks_answers_needs_and_takes(chapter):
    assert int(header(chapter)["number"]) == int(chapter.name[:2])


def test_landing_page_lists_it_with_its_own_title_and_question(chapter):
    landing = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    top = header(chapter)
    row = f"| {top['number']} | [{top['title']}](../notebooks/{chapter.name}) | {top['question']} | **out** |"
    assert row in landing


def test_says_what_can_go_wrong_and_what_people_believe(chapter):
    section = text(chapter).split("## What can go wrong", 1)[1].split("\n## ", 1)[0]
    assert "| symptom | likely cause | look at |\n|---|---|---|\n" in section
    assert '**Common misconceptions.** *"' in section


def test_exercises_are_numbered_and_state_how_hard_and_how_long(chapter):
    number = chapter.name[:2]
    exercises = re.findall(
        r"^### Exercise (\d\d)\.(\d): [^\n]+\n\n\*Difficulty: (?:●○○|●●○|●●●) · \d+ minutes\*$", text(chapter), re.M
    )
    assert exercises == [(number, str(place)) for place in range(1, len(exercises) + 1)]
    assert len(exercises) == text(chapter).count("### Exercise ")


def test_take_away_has_five_points_and_quiz_three_questions_with_one_right_answer_each(chapter):
    points, rest = text(chapter).split("## Take away", 1)[1].split("## Quiz", 1)
    assert len(re.findall(r"^- ", points, re.M)) == 5
    questions = re.split(r"^\*\*\d\. ", rest.split("## Further reading", 1)[0], flags=re.M)[1:]
    assert len(questions) == 3
    for question in questions:
        answers = re.findall(r"<summary>([A-C])\. .*?</summary>\n\n(Right)?", question, re.S)
        assert [letter for letter, _ in answers] == ["A", "B", "C"]
        assert sum(bool(right) for _, right in answers) == 1, question
