"""The order of the rooms, and that every public name explains itself."""

from __future__ import annotations

import ast
import importlib
import io
import json
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
HOUSE: dict[str, tuple[str, ...]] = {  # rooms from the top down; a folder's own rooms, too
    "config": (),
    "runtime": (),
    "parallel": (),
    "data": (
        "glyphs",
        "moving",
        "brush",
        "houses",
        "trees",
        "landscapes",
        "scenes",
        "batches",
        "latents",
        "walks",
        "augmentation",
        "old_names",
        "files",
        "colours",
        "foreign",
        "pixels",
        "untidy",
        "levels",
        "pebbles",
        "drums",
        "maps",
        "memory",
        "cache",
        "keeping",
        "progress",
        "reading",
        "subsets",
        "parts",
        "findings",
        "folder",
        "contact_sheet",
        "named",
    ),
    "models": (),
    "losses": (),
    "steps": (),
    "unrolled": (),
    "state": (),
    "iteration": (),
    "capture": (),
    "runs": (
        "files",
        "lock",
        "stopping",
        "writing",
        "checkpoint",
        "restoring",
        "journal",
        "ending",
        "folder",
        "continuing",
        "same_data",
        "card",
    ),
    "metrics": (
        "distances",
        "neighbours",
        "copies",
        "door",
        "classifiers",
        "general",
        "features",
        "inception",
        "imagenet",
        "evaluation",
        "examiner",
        "make_weights",
        "make_general",
    ),
    "train": (),
    "recorded": (),
    "laboratory": (
        "mixtures",
        "dirac",
        "stacked",
        "ensemble",
        "games",
        "protocol",
        "outcomes",
        "comparison",
        "studies",
        "contenders",
        "rules",
        "contest",
        "standings",
        "short_run",
        "latent_search",
        "level_rules",
        "level_design",
        "seamless",
        "drum_codec",
        "drum_kit",
        "longer",
        "modern",
        "costs",
        "lengths",
        "amounts",
        "altered",
        "ablation",
        "effects",
        "damages",
        "judging",
        "missing_frames",
        "restoration",
        "searching",
        "lost_colour",
        "representations",
        "pretraining",
        "few_labels",
        "supervised",
        "kept",
        "labels",
    ),
    "benchmark": (
        "ladder",
        "timing",
        "processes",
        "whole",
        "kernels",
        "gpu_parts",
        "gpu_plan",
        "gpu_goals",
        "gpu_text",
        "gpu_report",
    ),
    "report": ("diagnosis", "examination", "advice", "charts", "contents", "pictures", "page"),
    "cli": ("flags", "opening", "hints", "inspection", "training", "drawing", "outcome", "experiments", "program"),
}
ORDER = tuple(f"{room}.{inner}" if inner else room for room, rooms in HOUSE.items() for inner in rooms or ("",))
LINE_LIMIT, CODE_LIMIT = 400, 200
LONGER = {"config", "train", "laboratory.ensemble"}  # the architecture page says why
ROOT = Path(__file__).parent.parent
PAGE = ROOT / "book" / "architecture.md"


def place(room: str) -> Path:
    return FOLDER / f"{room.replace('.', '/')}.py"


def source(room: str) -> str:
    return place(room).read_text(encoding="utf-8")


def offered(folder: str) -> dict[str, str]:
    """The names that a folder offers, and the rooms that they come from."""
    tree = ast.parse((FOLDER / folder / "__init__.py").read_text(encoding="utf-8"))
    statements = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: node.module.removeprefix("dcgan_core.")
        for node in statements
        for alias in node.names
        if node.module
    }


def rooms(source: str) -> set[str]:
    """The rooms of dcgan_core that a file imports from; a name that a folder offers leads to the room behind it."""
    found = set()
    for name in imported(source):
        parts = name.split(".")
        if parts[0] != "dcgan_core" or len(parts) < 2 or parts[1] == "__version__":
            continue
        if parts[1] not in HOUSE or not HOUSE[parts[1]]:
            found.add(parts[1])
        elif len(parts) > 2:
            found.add(offered(parts[1]).get(parts[2], f"{parts[1]}.{parts[2]}"))
    return found


def downward(room: str, source: str, order: tuple[str, ...] = ORDER) -> set[str]:
    """What `source` imports although the order does not allow it in `room`."""
    return rooms(source) - set(order[: order.index(room)])


def test_the_order_lists_exactly_the_modules_that_exist():
    existing = {path.relative_to(FOLDER).with_suffix("").as_posix().replace("/", ".") for path in FOLDER.rglob("*.py")}
    assert {room for room in existing if "__" not in room and not room.startswith("teaching")} == set(ORDER)


def test_at_the_top_lie_twelve_rooms_and_each_folder_says_what_lives_there():
    assert len([room for room, inner in HOUSE.items() if not inner]) == 12
    for folder in (*(room for room, inner in HOUSE.items() if inner), "teaching"):
        tree = ast.parse((FOLDER / folder / "__init__.py").read_text(encoding="utf-8"))
        docstring = ast.get_docstring(tree)
        assert docstring and docstring.count(".") == 1 and docstring.endswith(".") and "\n" not in docstring
        assert {type(node) for node in tree.body[1:]} <= {ast.ImportFrom, ast.Assign}, "nothing is written there"


@pytest.mark.parametrize("folder", [room for room, inner in HOUSE.items() if inner])
def test_a_folder_offers_names_of_its_own_rooms_only(folder):
    behind = offered(folder)
    assert behind and set(behind.values()) <= {f"{folder}.{room}" for room in HOUSE[folder]}
    module = importlib.import_module(f"dcgan_core.{folder}")
    assert sorted(module.__all__) == sorted(behind)


@pytest.mark.parametrize("room", ORDER)
def test_imports_point_only_up(room):
    assert downward(room, source(room)) == set()


def test_an_import_that_points_down_is_seen_wherever_it_hides():
    for statement in ("import dcgan_core.train", "from dcgan_core import train", "from dcgan_core.train import sample"):
        assert downward("losses", f"def late():\n    {statement}\n") - {"sample"} == {"train"}
    for statement in ("from dcgan_core.metrics import judge_for", "import dcgan_core.metrics.evaluation"):
        assert downward("metrics.distances", statement) == {"metrics.evaluation"}
    assert downward("cli.program", "from dcgan_core.teaching import plots") == {"teaching"}


def test_config_and_glyphs_need_no_torch():
    for room in ("config", "data.glyphs", "data.moving", "data.scenes", "data.untidy"):
        assert "torch" not in {name.split(".")[0] for name in imported(source(room))}


def test_config_needs_the_standard_library_only():
    assert {name.split(".")[0] for name in imported(source("config"))} <= sys.stdlib_module_names


@pytest.mark.parametrize("room", ["metrics.distances", "metrics.neighbours"])
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


def pictured(imports: dict[str, set[str]], folders: set[str]) -> set[tuple[str, str]]:
    """The pairs (room, what it imports) that the picture's dots stand for; every dot lies below the stairs."""
    picture = ElementTree.fromstring(import_picture.draw(imports, "label", folders))
    step, name_at, name_in = {}, {}, {}
    for square, label in zip(picture.iter("rect"), picture.iter("text"), strict=True):
        name = label.text.removesuffix("/")
        assert label.text.endswith("/") == (square.get("stroke") is not None) == (name in folders)
        x, y = float(square.get("x")) + 3, float(square.get("y")) + 3
        step[name], name_at[y], name_in[x] = x, name, name
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in picture.iter("circle")]
    assert set(step) == set(imports)
    assert all(x < step[name_at[y]] for x, y in dots), "a dot above the stairs: an import of a room further down"
    return {(name_at[y], name_in[x]) for x, y in dots}


def test_the_picture_in_the_book_shows_exactly_the_imports_between_rooms_and_folders():
    folders = {room for room, inner in HOUSE.items() if inner} | {"teaching"}
    assert import_picture.folders_of(FOLDER) == folders
    drawn = pictured(import_picture.read_imports(FOLDER), folders)
    names = list(HOUSE)
    pairs = {(room.split(".")[0], other.split(".")[0]) for room in ORDER for other in rooms(source(room))}
    assert {pair for pair in drawn if pair[0] != "teaching"} == {pair for pair in pairs if pair[0] != pair[1]}
    assert all(names.index(other) < names.index(room) for room, other in drawn if room != "teaching")


@pytest.mark.parametrize("folder", [room for room, inner in HOUSE.items() if inner])
def test_a_folder_opens_into_a_picture_of_exactly_its_own_rooms_and_imports(folder):
    imports = import_picture.read_imports(FOLDER / folder, f"dcgan_core.{folder}")
    assert set(imports) == set(HOUSE[folder])
    own = [room for room in ORDER if room.startswith(f"{folder}.")]
    expected = {(room, other) for room in own for other in rooms(source(room)) if other.startswith(f"{folder}.")}
    assert {(f"{folder}.{a}", f"{folder}.{b}") for a, b in pictured(imports, set())} == expected


def test_no_circle_of_imports_can_be_drawn(tmp_path):
    for room, other in (("egg", "hen"), ("hen", "egg")):
        (tmp_path / f"{room}.py").write_text(f"import {tmp_path.name}.{other}\n")
    with pytest.raises(AssertionError, match=r"imports (egg|hen): a circle"):
        import_picture.read_imports(tmp_path)


def starred_tuples(source: str) -> list[int]:
    """Lines of calls that unpack a tuple written on the spot, `f(*(a, b), c=d)`: its arguments have no names."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    starred = [argument for call in calls for argument in call.args if isinstance(argument, ast.Starred)]
    return [argument.lineno for argument in starred if isinstance(argument.value, ast.Tuple | ast.List)]


def test_calls_name_their_arguments_or_are_short():
    assert starred_tuples("f(*(a, b), c=d)\nf(*[a, b])\n") == [1, 2]
    assert starred_tuples("f(*rows)\nx = (*(a, b), c)\nf(*(row for row in rows))\n") == []
    paths = [path for folder in ("dcgan_core", "tests", "book") for path in (ROOT / folder).rglob("*.py")]
    found = {path.name: starred_tuples(path.read_text(encoding="utf-8")) for path in paths}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        found[path.name] = [
            line for cell in code for line in starred_tuples(re.sub(r"^( *)[%!].*", r"\1pass", cell, flags=re.M))
        ]
    assert {name: lines for name, lines in found.items() if lines} == {}
