"""The order of the rooms, and that every public name explains itself."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import dcgan_core

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
LINE_LIMIT = 400


def imported(source: str) -> set[str]:
    """Every module that a file imports, anywhere in it; `from package import name` counts as package.name too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room is meant"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


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


@pytest.mark.parametrize("room", ORDER)
def test_every_module_can_be_held_in_the_head(room):
    assert len(source(room).splitlines()) <= LINE_LIMIT
