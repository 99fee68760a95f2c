"""The order of the rooms, and that every public name explains itself."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path
from xml.etree import ElementTree

import pytest

import dcgan_core

sys.path.insert(0, str(Path(__file__).parent.parent / "book" / "_ext"))

import import_picture
from import_picture import imported

FOLDER = Path(dcgan_core.__file__).parent
ORDER = (
    *(
        "config",
        "runtime",
        "glyphs",
        "data",
        "models",
        "mixtures",
        "stacked",
        "losses",
        "steps",
        "unrolled",
        "ensemble",
    ),
    *("classifiers", "metrics", "neighbours", "features", "evaluation"),
    *("checkpoint", "parallel", "state", "capture", "journal", "folder", "train", "recorded"),
    *("protocol", "outcomes", "comparison"),
    *("ladder", "benchmark", "cli"),
)
LINE_LIMIT, CODE_LIMIT = 400, 200
LONGER = {"train", "ensemble"}  # the architecture page says why
PAGE = Path(__file__).parent.parent / "book" / "architecture.md"


def rooms(source: str) -> set[str]:
    """The rooms of dcgan_core that a file imports from."""
    parts = [name.split(".") for name in imported(source)]
    return {part[1] for part in parts if part[0] == "dcgan_core" and len(part) > 1 and part[1] != "__version__"}


def downward(room: str, source: str, order: tuple[str, ...] = ORDER) -> set[str]:
    """What `source` imports although the order does not allow it in `room`."""
    return rooms(source) - set(order[: order.index(room)])


def source(room: str) -> str:
    return (FOLDER / f"{room}.py").read_text(encoding="utf-8")


def test_the_order_lists_exactly_the_modules_that_exist():
    existing = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "__main__"}
    assert existing == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_only_up(room):
    assert downward(room, source(room)) == set()


def test_an_import_that_points_down_is_seen_wherever_it_hides():
    for statement in ("import dcgan_core.train", "from dcgan_core import train", "from dcgan_core.train import sample"):
        assert downward("losses", f"def late():\n    {statement}\n") - {"sample"} == {"train"}
    assert downward("cli", "from dcgan_core.teaching import plots") == {"teaching"}


def test_config_and_glyphs_need_no_torch():
    for room in ("config", "glyphs"):
        assert "torch" not in {name.split(".")[0] for name in imported(source(room))}


def test_config_needs_the_standard_library_only():
    assert {name.split(".")[0] for name in imported(source("config"))} <= sys.stdlib_module_names


@pytest.mark.parametrize("room", ["metrics", "neighbours"])
def test_metrics_know_neither_images_nor_networks(room):
    assert rooms(source(room)) == set()


@pytest.mark.parametrize("room", ORDER)
def test_every_public_name_has_a_docstring(room):
    tree = ast.parse(source(room))
    assert ast.get_docstring(tree)
    definitions = (ast.FunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, definitions) and not node.name.startswith("_")]
    short = {"num_parameters"}  # says it all
    assert [node.name for node in public if not ast.get_docstring(node) and node.name not in short] == []


def num_code_lines(source: str) -> int:
    """Lines that hold more than a docstring, a comment or nothing."""
    ignored = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in ignored]
    code = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    strings = [node for node in statements if isinstance(node.value, ast.Constant)]
    return len(code - {line for node in strings for line in range(node.lineno, node.end_lineno + 1)})


def test_lines_of_code_are_those_that_do_something():
    assert num_code_lines('"""A\n\nB."""\n\nx = 1  # one\n# two\ny = (\n    2\n)\n"""of y"""\n') == 4


@pytest.mark.parametrize("room", ORDER)
def test_every_module_can_be_held_in_the_head(room):
    assert len(source(room).splitlines()) <= LINE_LIMIT
    assert (num_code_lines(source(room)) > CODE_LIMIT) == (room in LONGER)


def test_what_train_needs_is_as_long_as_the_page_says():
    needed, to_read = set(), ["train"]
    while to_read:
        room = to_read.pop()
        if room not in needed:
            needed.add(room)
            to_read += rooms(source(room)) & set(ORDER)
    said = re.search(
        r"`train` and all that it needs are (\d+) rooms with about ([\d,]+) lines of code", PAGE.read_text()
    )
    assert int(said[1]) == len(needed)
    assert sum(num_code_lines(source(room)) for room in needed) == pytest.approx(
        int(said[2].replace(",", "")), rel=0.05
    )


def test_the_picture_in_the_book_shows_exactly_the_imports_and_agrees_with_the_order():
    picture = ElementTree.fromstring(import_picture.draw(import_picture.read_imports(FOLDER), "label"))
    step, name_at, name_in = {}, {}, {}
    for square, label in zip(picture.iter("rect"), picture.iter("text"), strict=True):
        x, y = float(square.get("x")) + 3, float(square.get("y")) + 3
        step[label.text], name_at[y], name_in[x] = x, label.text, label.text
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in picture.iter("circle")]
    drawn = {(name_at[y], name_in[x]) for x, y in dots}

    assert set(step) == {*ORDER, "teaching"}
    assert {pair for pair in drawn if pair[0] != "teaching"} == {
        (room, other) for room in ORDER for other in rooms(source(room))
    }
    assert all(other in ORDER[: ORDER.index(room)] for room, other in drawn if room != "teaching")
    assert all(x < step[name_at[y]] for x, y in dots), "a dot above the stairs: an import of a room further down"


def test_no_circle_of_imports_can_be_drawn(tmp_path):
    for room, other in (("egg", "hen"), ("hen", "egg")):
        (tmp_path / f"{room}.py").write_text(f"import {tmp_path.name}.{other}\n")
    with pytest.raises(AssertionError, match=r"imports (egg|hen): a circle"):
        import_picture.read_imports(tmp_path)
