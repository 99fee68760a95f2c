"""A chapter needs nothing but the installed package: it runs from an empty folder, as it does on Colab."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
CHAPTER = ROOT / "notebooks" / "07_training_loop.ipynb"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder in which the package lies as pip would install it, built from a copy of the sources."""
    sources, wheels, folder = (tmp_path_factory.mktemp(name) for name in ("sources", "wheels", "installed"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "dcgan_core", sources / "dcgan_core", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", wheels, sources], check=True)
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_wheel_holds_every_file_of_the_package(installed):
    def files(folder):
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    committed = {name for name in files(ROOT / "dcgan_core") if "__pycache__" not in name}
    assert committed <= files(installed / "dcgan_core")


@pytest.mark.slow
def test_chapter_runs_from_an_empty_folder_with_only_the_installed_package(installed, tmp_path):
    notebook = nbformat.read(CHAPTER, as_version=4)
    check = f"import dcgan_core\nassert dcgan_core.__file__.startswith({str(installed)!r}), dcgan_core.__file__"
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "-q", "-p", "no:cacheprovider", "chapter.ipynb"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "DCGAN_SMOKE": "1"},
        check=True,
    )
