"""The steps in CONTRIBUTING.md work as written: they are done here, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(section):
    """The pieces of code of a section, in order, without the indentation of the list."""
    text = GUIDE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"^( *)(```|~~~)\w+\n(.*?)^\1\2$", text, re.MULTILINE | re.DOTALL)
    return [
        textwrap.dedent("".join(re.sub(rf"^{indent}", "", line) for line in code.splitlines(True)))
        for indent, _, code in found
    ]


@pytest.fixture
def copy(tmp_path):
    """A copy of what is committed that a contributor may change."""
    unwanted = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("dcgan_core", "notebooks", "tests", "book"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=unwanted)
    for name in ("pyproject.toml", "_config.yml", "_toc.yml", "requirements.txt", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def insert(path, code, *, after):
    """Puts `code` right below the line that holds `after`."""
    text = path.read_text(encoding="utf-8")
    line = re.search(rf"^.*{re.escape(after)}.*\n", text, re.MULTILINE)
    assert line, f"{path.name} has no line with {after!r}"
    path.write_text(text[: line.end()] + code + text[line.end() :], encoding="utf-8")


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} does not contain {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def run_tests(copy, *arguments):
    """Runs tests of the copy, and returns how many passed; any that fails is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return int(re.search(r"(\d+) passed", done.stdout)[1])


@pytest.mark.slow
def test_a_loss_is_added_in_these_steps(copy):
    function, game, formula, slopes = blocks("Add a loss")
    insert(copy / "dcgan_core" / "losses.py", f"\n\n{function}", after="return softplus(-fake_logits).mean()")
    insert(copy / "dcgan_core" / "losses.py", textwrap.indent(game, "    "), after="GAMES = {")
    replace(copy / "dcgan_core" / "config.py", "Loss = Literal[", 'Loss = Literal["log-ratio", ')
    insert(copy / "tests" / "test_losses.py", textwrap.indent(formula, "    "), after="FORMULAE = {")
    insert(copy / "tests" / "test_losses.py", textwrap.indent(slopes, "    "), after="SLOPES = {")
    assert run_tests(copy, "tests/test_losses.py", "-k", "log-ratio") >= 2

    run = ["train", "--loss", "log-ratio", "--image-size", "16", "--total-images", "128", "--out", "run"]
    subprocess.run(
        [sys.executable, "-m", "dcgan_core", *run, "--device", "cpu", "--evaluate-every-images", "0", "--no-report"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        check=True,
        capture_output=True,
    )


@pytest.mark.slow
def test_a_data_set_is_added_in_these_steps(copy):
    entry = '"kmnist": torchvision.datasets.KMNIST'
    assert entry in GUIDE and '("kmnist", "KMNIST")' in GUIDE
    replace(copy / "dcgan_core" / "data" / "named.py", "NAMES = (", 'NAMES = ("kmnist", ')
    insert(
        copy / "dcgan_core" / "data" / "named.py", f"        {entry},\n", after='"fashion-mnist": torchvision.datasets.'
    )
    known = '("fashion-mnist", "FashionMNIST")'
    replace(copy / "tests" / "test_data.py", known, f'{known}, ("kmnist", "KMNIST")')
    assert run_tests(copy, "tests/test_data.py", "-k", "kmnist") >= 2


@pytest.mark.slow
def test_an_exercise_is_added_in_these_steps(copy):
    task, stub, solution, check, wrong = blocks("Add an exercise")
    path = copy / "notebooks" / "01_dark_data.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (last,) = (cell for cell in notebook.cells if "## Take away" in cell.source)
    hints, rest = last.source.split("## Take away", 1)
    last.source = hints.rstrip() + "\n\n" + task.strip()
    place = notebook.cells.index(last) + 1
    notebook.cells[place:place] = [
        nbformat.v4.new_code_cell(stub.strip(), metadata={"tags": ["exercise"]}),
        nbformat.v4.new_markdown_cell(f"{solution}\n## Take away{rest}"),
    ]
    nbformat.write(notebook, path)
    with (copy / "dcgan_core" / "teaching" / "chapter_01.py").open("a", encoding="utf-8") as file:
        file.write(f"\n\n{check}")
    insert(copy / "tests" / "exercises" / "chapter_01.py", textwrap.indent(wrong, "    "), after="WRONG = {")
    assert run_tests(copy, "tests/test_exercises.py", "-k", "01.4") == 3
    assert run_tests(copy, "tests/test_book_notebooks.py", "-k", "01_dark") > 10


def test_every_file_and_every_target_that_the_guide_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", GUIDE)) <= targets
    named = re.findall(r"`((?:dcgan_core|tests|book|notebooks|\.github)/[\w./-]+)`", GUIDE)
    planned = {name for name in named if "_21" in name}
    assert len(named) > 10 and [name for name in {*named} - planned if not (ROOT / name).exists()] == []
