"""Every line that only runs on CUDA, or decides for it, stands in the architecture page with how it is tested here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import dcgan_core

FOLDER = Path(dcgan_core.__file__).parent
ROOT = Path(__file__).parent.parent
PAGE = ROOT / "book" / "architecture.md"
HEADING = "## Lines that only run on CUDA"
WORDS = re.compile("cuda(_rng)?|nccl")  # as a whole string, or after a dot
DECIDES = {"no_graph"}  # of the machine


def is_about_cuda(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return bool(WORDS.fullmatch(node.attr)) or node.attr in DECIDES
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(WORDS.fullmatch(node.value))


def cuda_lines(source: str) -> dict[str, set[int]]:
    """The functions that have such lines, as Class.function, and the lines; type aliases outside of them do not run."""
    found: dict[str, set[int]] = {}

    def walk(node: ast.AST, place: tuple[str, ...], in_function: bool) -> None:
        for child in ast.iter_child_nodes(node):
            inside = (*place, child.name) if isinstance(child, ast.FunctionDef | ast.ClassDef) else place
            if in_function and is_about_cuda(child):
                found.setdefault(".".join(inside), set()).add(child.lineno)
            walk(child, inside, in_function or isinstance(child, ast.FunctionDef))

    walk(ast.parse(source), (), False)
    return found


def in_the_package() -> dict[str, int]:
    """room.function and its number of such lines."""
    return {
        f"{path.relative_to(FOLDER).with_suffix('').as_posix().replace('/', '.')}.{function}": len(lines)
        for path in FOLDER.rglob("*.py")
        for function, lines in cuda_lines(path.read_text(encoding="utf-8")).items()
    }


def rows() -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(HEADING)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_line_about_cuda_is_seen_wherever_it_hides():
    source = (
        'KIND = Literal["cuda"]\n'
        'class A:\n    kind: str = "cuda"\n'
        '    def b(self):\n        """On cuda."""\n        return torch.cuda.is_available() and "a CUDA device"\n'
        'def c():\n    if x == "cuda":\n        join("nccl")\n'
        "    def d():\n        # cuda\n        return machine.no_graph\n"
    )
    assert cuda_lines(source) == {"A.b": {6}, "c": {8, 9}, "c.d": {12}}


def test_the_page_lists_exactly_the_lines_that_there_are():
    listed = {row[0].strip("`"): int(row[1]) for row in rows()}
    assert len(listed) == len(rows())
    assert listed == in_the_package()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip("`"))
def test_a_row_names_test_files_that_exist_or_says_why_there_is_none(row):
    named = re.findall(r"`(\w+\.py)`", row[2])
    assert all((ROOT / "tests" / name).exists() for name in named)
    assert named or "not tested" in row[2]
