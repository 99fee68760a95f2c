"""No page of the built book is ever stale, and a failing chapter is never taken for finished."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "_ext"))

import fresh_outputs  # noqa: E402
import side_by_side  # noqa: E402

CONFIG = f"""
title: Tiny
only_build_toc_files: true
execute: {{execute_notebooks: cache}}
sphinx:
  local_extensions: {{fresh_outputs: {ROOT / "book" / "_ext"}, side_by_side: {ROOT / "book" / "_ext"}}}
  config:
    outputs_depend_on_packages: [tiny_core]
    outputs_depend_on_environment: [DCGAN_SMOKE]
"""
CODE = """
import os, tiny_core
open("executions.log", "a").write("once\\n")
print("smoke" if os.environ.get("DCGAN_SMOKE") else "full", tiny_core.answer())
"""


OURS = {"DCGAN_SMOKE", "OMP_NUM_THREADS"}  # environment variables that the build looks at


class TinyBook:
    """A book of two pages, one of which is a notebook that imports a package of one function and one data file."""

    def __init__(self, folder):
        self.folder = folder
        self.package = folder / "installed" / "tiny_core"
        (self.package / "data").mkdir(parents=True)
        (self.package / "__init__.py").write_text(
            "from pathlib import Path\n\n"
            "def answer():\n"
            "    return (Path(__file__).parent / 'data' / 'answer.txt').read_text()\n"
        )
        self.set_answer("old answer")
        self.book = folder / "book"
        self.book.mkdir()
        (self.book / "_config.yml").write_text(CONFIG)
        (self.book / "_toc.yml").write_text("format: jb-book\nroot: intro\nchapters:\n")
        (self.book / "intro.md").write_text("# Intro\n\nWords.\n")
        self.add("chapter", CODE)

    def add(self, name, code):
        with (self.book / "_toc.yml").open("a") as toc:
            toc.write(f"- file: {name}\n")
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
        notebook.cells = [nbformat.v4.new_markdown_cell("# Chapter"), nbformat.v4.new_code_cell(code.strip())]
        nbformat.write(notebook, self.book / f"{name}.ipynb")

    def set_answer(self, answer):
        (self.package / "data" / "answer.txt").write_text(answer)

    def build(self, **environment):
        inherited = {name: value for name, value in os.environ.items() if name not in OURS}
        return subprocess.run(
            [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "--keep-going"],
            cwd=self.book,
            env=inherited | {"PYTHONPATH": str(self.folder / "installed")} | environment,
            capture_output=True,
            text=True,
        )

    def page(self):
        return (self.book / "_build" / "html" / "chapter.html").read_text()

    def num_executions(self):
        return len((self.book / "executions.log").read_text().splitlines())


@pytest.mark.slow
def test_a_change_of_package_or_environment_executes_again_and_nothing_else_does(tmp_path):
    book = TinyBook(tmp_path)
    first = book.build()
    assert first.returncode == 0, first.stderr
    assert "full old answer" in book.page() and book.num_executions() == 1

    book.build()
    assert book.num_executions() == 1, "an unchanged book was executed again"

    book.set_answer("new answer")
    book.build()
    assert "full new answer" in book.page(), "the page shows an output from before the change of the package"
    assert book.num_executions() == 2

    book.build(DCGAN_SMOKE="1")
    assert "smoke new answer" in book.page()

    book.build()
    assert "full new answer" in book.page(), "the page shows an output of smoke mode"


@pytest.mark.slow
def test_a_failing_chapter_fails_every_build_until_it_is_repaired(tmp_path):
    book = TinyBook(tmp_path)
    book.add("other", "print(1)")  # executed beside it
    (book.package / "data" / "answer.txt").unlink()
    assert book.build().returncode != 0
    again = book.build()
    assert again.returncode != 0, "the second build took the failed chapter for finished"
    assert "Executing notebook failed" in again.stderr

    book.set_answer("repaired")
    repaired = book.build()
    assert repaired.returncode == 0, repaired.stderr
    assert "full repaired" in book.page()


MEETING = """
import os, time
from pathlib import Path
Path("{own}.is_here").touch()
deadline = time.monotonic() + 60
while not Path("{other}.is_here").exists():
    assert time.monotonic() < deadline, "{other} never came"
    time.sleep(0.1)
print("they met, with threads:", os.environ["OMP_NUM_THREADS"])
"""


@pytest.mark.slow
@pytest.mark.skipif(side_by_side.num_processors() < 2, reason="one processor executes one notebook at a time")
def test_chapters_are_executed_side_by_side_with_one_thread_each_and_once(tmp_path):
    book = TinyBook(tmp_path)
    book.add("first", MEETING.format(own="first", other="second"))
    book.add("second", MEETING.format(own="second", other="first"))
    done = book.build()
    assert done.returncode == 0, done.stderr
    for name in ("first", "second"):
        assert "they met, with threads: 1" in (book.book / "_build" / "html" / f"{name}.html").read_text()
    assert book.num_executions() == 1


def test_another_version_of_torch_makes_every_output_outdated(monkeypatch):
    before = fresh_outputs.fingerprint([], ["torch"], [])
    assert fresh_outputs.fingerprint([], ["torch"], []) == before
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0")
    assert fresh_outputs.fingerprint([], ["torch"], []) != before


def test_the_book_watches_the_package_torch_and_smoke_mode():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    assert settings["outputs_depend_on_packages"] == ["dcgan_core"]
    assert "torch" in settings["outputs_depend_on_versions"]
    assert settings["outputs_depend_on_environment"] == ["DCGAN_SMOKE"]
