"""The wrong changes of `make mutants`: each fits the code as it is, and the script counts right what is caught."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutants import run

MUTANTS = run.read(run.ROOT)
ROOMS = sorted({mutant.room for mutant in MUTANTS})
TESTS = Path(__file__).parent


def test_there_are_many_mutants():
    assert len(MUTANTS) >= 800


@pytest.mark.parametrize("room", ROOMS)
def test_every_mutant_changes_one_place_of_a_room_that_exists(room):
    """Where this fails, the code has moved on: change the list with it."""
    source = run.place(run.ROOT, room).read_text(encoding="utf-8")
    right = ast.dump(ast.parse(source))
    for mutant in (mutant for mutant in MUTANTS if mutant.room == room):
        changed = ast.dump(ast.parse(run.mutated(source, mutant)))
        assert changed != right, f"{mutant.wrong}: nothing but layout or comments changes"


@pytest.mark.parametrize("room", ROOMS)
def test_every_mutant_says_what_is_wrong_and_names_tests_that_exist(room):
    mutants = [mutant for mutant in MUTANTS if mutant.room == room]
    assert len({(mutant.old, mutant.new) for mutant in mutants}) == len(mutants), "one is there twice"
    source = "".join((TESTS / name).read_text(encoding="utf-8") for name in mutants[0].tests)
    functions = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    for mutant in mutants:
        assert mutant.wrong and mutant.old
        assert not mutant.caught_by or mutant.caught_by in functions, mutant.caught_by


HALF = """def half(number):
    return number / 2
"""
RIGHT = """from dcgan_core.half import half


def test_half_of_four_is_two():
    assert half(4) == 2
"""
LIST = """tests = ["test_half.py"]

[[mutants]]
wrong = "fails"
old = "number / 2"
new = "number * 2"

[[mutants]]
wrong = "crashes"
old = "    return"
new = "    import os; os.abort()\\n    return"

[[mutants]]
wrong = "cannot be imported"
old = "def half"
new = "import no_such_module\\n\\n\\ndef half"

[[mutants]]
wrong = "is wrong elsewhere"
old = "number / 2"
new = "number - 2"

[[mutants]]
wrong = "is the same"
old = "number / 2"
new = "number * 0.5"
equivalent = "powers of two are exact"
"""
HANGS = """
[[mutants]]
wrong = "hangs"
old = "    return"
new = "    while True: pass\\n    return"
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A package of one room, with one test."""
    (tmp_path / "dcgan_core").mkdir()
    (tmp_path / "dcgan_core" / "__init__.py").write_text("")
    (tmp_path / "dcgan_core" / "half.py").write_text(HALF)
    (tmp_path / "tests" / "mutants").mkdir(parents=True)
    (tmp_path / "tests" / "test_half.py").write_text(RIGHT)
    (tmp_path / "tests" / "mutants" / "half.toml").write_text(LIST)
    return tmp_path


def score(checkout: Path, asked: str = "") -> tuple[int, str]:
    """The exit code, and what is printed, in a process that has not imported the package."""
    script = f"""
import sys, pathlib, pytest
sys.path.insert(0, {str(TESTS)!r})
from mutants import run
run.SECONDS, run.TIMES = 3, 1
sys.exit(run.score(pathlib.Path({str(checkout)!r}), {asked!r}, workers=2))
"""
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take longer to load than the tests to run
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=300)
    return done.returncode, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_fails_crashes_or_hangs_is_caught_and_the_rest_is_named(checkout):
    (checkout / "tests" / "mutants" / "half.toml").write_text(LIST + HANGS)
    before = contents(checkout)
    code, printed = score(checkout)
    assert "4 of   5 caught" in printed and "1 by hanging, 1 more are equivalent" in printed
    assert "SURVIVED: is wrong elsewhere\n    - number / 2\n    + number - 2\n" in printed
    assert "equivalent: is the same" in printed and "powers of two are exact" in printed
    assert code == 1, "80% is too little"
    assert contents(checkout) == before


def test_more_tests_catch_what_survived_and_what_was_called_equivalent(checkout):
    path = checkout / "tests" / "test_half.py"
    path.write_text(RIGHT + "\n\ndef test_half_of_two_is_one():\n    assert half(2) == 1\n")
    code, printed = score(checkout, "half")
    assert code == 0 and "4 of   4 caught" in printed and "100.0%" in printed
    path.write_text(
        path.read_text() + "\n\ndef test_half_of_text_is_nothing():\n    assert half.__code__.co_consts[-1] == 2\n"
    )
    _, printed = score(checkout, "half")
    assert "NOT EQUIVALENT, for it is caught: is the same" in printed


def test_no_mutant_is_played_while_the_right_code_fails_or_the_list_is_stale(checkout):
    (checkout / "tests" / "test_half.py").write_text(RIGHT.replace("== 2", "== 3"))
    code, printed = score(checkout)
    assert code == 2 and "test_half.py must pass first" in printed and "caught" not in printed
    (checkout / "dcgan_core" / "half.py").write_text(HALF.replace("number", "value"))
    code, printed = score(checkout)
    assert code == 2 and "The list of half is stale" in printed and "occurs 0 times" in printed


def test_a_hint_that_names_no_test_is_an_error_and_one_that_is_wrong_is_not(checkout):
    path = checkout / "tests" / "mutants" / "half.toml"
    path.write_text(LIST.replace('new = "number * 2"', 'new = "number * 2"\ncaught_by = "no_such_test"'))
    code, printed = score(checkout)
    assert code == 2 and "half: 'fails' was not tested" in printed
    other = "\n\ndef test_nothing():\n    pass\n"
    (checkout / "tests" / "test_half.py").write_text(RIGHT + other)
    path.write_text(LIST.replace('new = "number * 2"', 'new = "number * 2"\ncaught_by = "test_nothing"'))
    assert "3 of   4 caught" in score(checkout)[1]


def test_an_unknown_room_is_one_sentence(checkout):
    assert score(checkout, "halves") == (2, "There is no list of mutants for halves.\n")
