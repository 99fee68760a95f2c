"""The security page: every promise names tests, and every test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROMISED, NOT_PROMISED = (ROOT / "book" / "security.md").read_text(encoding="utf-8").split("## What is not promised")
NAMED = re.compile(r"((?:`test_\w+`(?:, | and )?)+) in `(tests/[\w/]+\.py)`")


def named(text: str) -> list[tuple[str, str]]:
    """The tests that a text names, as (file, function)."""
    return [(file, test) for tests, file in NAMED.findall(text) for test in re.findall(r"test_\w+", tests)]


def test_every_promise_names_a_test():
    promises = re.findall(r"^- .*$", PROMISED, re.MULTILINE)
    assert len(promises) >= 15
    assert [promise for promise in promises if not named(promise)] == []


def test_what_is_not_promised_names_none():
    assert "`test" not in NOT_PROMISED and NOT_PROMISED.count("\n- ") >= 5


@pytest.mark.parametrize(("file", "test"), named(PROMISED))
def test_a_test_that_is_named_exists(file, test):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_name_on_the_page_is_overlooked():
    assert len(re.findall(r"`test_\w+`", PROMISED)) == len(named(PROMISED))
