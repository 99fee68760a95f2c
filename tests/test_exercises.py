"""Every exercise, both ways: the stub helps, the solution passes, typical wrong answers are told what is wrong."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import nbformat
import pytest

from dcgan_core.teaching import Verdict

ROOT = Path(__file__).parent.parent
FIRST = "00_first_gan"  # has three things to change in place of exercises
CHAPTERS = sorted(path for path in (ROOT / "notebooks").glob("*.ipynb") if path.stem != FIRST)


class Exercise(NamedTuple):
    number: str
    stub: str
    solution: str
    setup: str
    wrong: list[tuple[str, str]]


def answers(chapter: Path) -> ModuleType:
    """The chapter's file beside this one, with SETUP and WRONG."""
    path = Path(__file__).parent / "exercises" / f"chapter_{chapter.stem[:2]}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exercises() -> list[Exercise]:
    found = []
    for chapter in CHAPTERS:
        module = answers(chapter)
        number = ""
        cells = nbformat.read(chapter, as_version=4).cells
        for position, cell in enumerate(cells):
            if cell.cell_type == "markdown":
                number = [number, *re.findall(r"^### Exercise (\d\d\.\d)", cell.source, re.M)][-1]
            if "exercise" in cell.metadata.get("tags", []):
                solution = re.search(
                    r"<summary>Solution</summary>\s*```python\n(.*?)```", cells[position + 1].source, re.S
                )
                assert solution, f"no solution right after the stub of exercise {number}"
                found.append(
                    Exercise(number, cell.source, solution.group(1), module.SETUP, module.WRONG.get(number, []))
                )
    return found


EXERCISES = exercises()


def verdict(exercise: Exercise, answer: str | None) -> Verdict:
    """What the exercise's check says of an answer, or of the stub if there is none."""
    namespace: dict[str, Any] = {}
    exec(exercise.setup, namespace)
    tree = ast.parse(exercise.stub)
    check = tree.body.pop()
    assert isinstance(check, ast.Expr), f"exercise {exercise.number} does not end with its check"
    exec(compile(tree, "stub", "exec"), namespace)
    if answer is not None:
        exec(answer, namespace)
    return eval(compile(ast.Expression(check.value), "check", "eval"), namespace)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_has_at_least_three_exercises(chapter):
    assert sum(exercise.number.startswith(chapter.stem[:2]) for exercise in EXERCISES) >= 3


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.number)
def test_stub_is_not_accepted_and_says_what_to_do(exercise):
    result = verdict(exercise, None)
    assert not result.passed
    assert len(result.message) > 20


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.number)
def test_solution_passes(exercise):
    result = verdict(exercise, exercise.solution)
    assert result.passed, result.message


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.number)
def test_wrong_answers_are_told_what_is_wrong(exercise):
    assert len(exercise.wrong) >= 2, "at least two typical wrong answers"
    for answer, fragment in exercise.wrong:
        result = verdict(exercise, answer)
        assert not result.passed, answer
        assert fragment in result.message, result.message
