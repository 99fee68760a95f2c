"""A chapter needs nothing but the installed package: it runs from an empty folder, as it does on Colab."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
CHAPTER = ROOT / "notebooks" / "02_generative_models.ipynb"
KERNEL = ("ipykernel", "nbclient")  # what executes notebooks, there and here
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as pip would install it, built from a copy of the sources."""
    sources, wheels = (tmp_path_factory.mktemp(name) for name in ("sources", "wheels"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "dcgan_core", sources / "dcgan_core", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", wheels, sources], check=True)
    (built,) = wheels.glob("*.whl")
    return built


def test_wheel_holds_every_file_of_the_package(wheel):
    committed = {
        path for path in (ROOT / "dcgan_core").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    names = {path.relative_to(ROOT).as_posix() for path in committed}
    assert names <= set(zipfile.ZipFile(wheel).namelist())


def needed(requirements):
    """The installed distributions that `requirements` need, directly or through others."""
    found, waiting = {}, [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        asked = {requirement.name, *requirement.extras}
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if asked <= found.get(requirement.name, set()):
            continue
        found.setdefault(requirement.name, set()).update(asked)
        further = importlib.metadata.requires(requirement.name) or []
        waiting += [(Requirement(line), extra) for line in further for extra in ("", *requirement.extras)]
    return [importlib.metadata.distribution(name) for name in found]


@pytest.fixture(scope="module")
def host(wheel, tmp_path_factory):
    """The Python of a fresh environment like Colab's: what the package needs is there, links to it at least, and so is
    a kernel for notebooks; not the book's tools, nor the package itself.
    """
    folder = tmp_path_factory.mktemp("host")
    venv.create(folder)
    place = sysconfig.get_path("purelib", "venv", {"base": folder, "platbase": folder})
    (facts,) = (entry for entry in zipfile.Path(wheel).iterdir() if entry.name.endswith(".dist-info"))
    for distribution in needed([*importlib.metadata.PathDistribution(facts).requires, *KERNEL]):
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (link := Path(place, name)).exists():
                link.symlink_to(Path(distribution.locate_file(name)).resolve())
    return folder / "bin" / "python"


def run(*command, **options):
    """Runs a command in an environment that knows nothing of this one, and returns what it prints."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MPLBACKEND", "JUPYTER_PATH"}
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(command, env=clean | {"PYTHONNOUSERSITE": "1", "DCGAN_SMOKE": "1"}, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


CHECK = """
import importlib.util, json, sys
import dcgan_core
print(json.dumps({
    "package": dcgan_core.__file__,
    "tools": [name for name in ("myst_nb", "jupyter_book", "sphinx", "pytest") if importlib.util.find_spec(name)],
    "paths": sys.path,
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_a_chapter_runs_in_an_empty_folder_where_only_the_package_was_installed_and_nothing_was_upgraded(
    host, wheel, tmp_path
):
    pip = [*PIP, "--python", host]
    before = run(*pip, "freeze", capture_output=True).splitlines()
    # --no-index: a dependency that is missing or too old would have to be downloaded, and is an error.
    run(*pip, "install", "--quiet", "--no-index", wheel, capture_output=True)
    after = run(*pip, "freeze", capture_output=True).splitlines()
    assert len(before) > 30 and any(line.startswith("torch==") for line in before)
    added = [line for line in after if line not in before]
    assert [line.split(" @ ")[0] for line in added] == ["dcgan-core"] and set(before) < set(after)

    notebook = nbformat.read(CHAPTER, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CHECK))
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    execute = "from nbclient.cli import main; main()"
    run(host, "-c", execute, "--inplace", "chapter.ipynb", cwd=tmp_path, capture_output=True)

    cells = [cell for cell in nbformat.read(tmp_path / "chapter.ipynb", as_version=4).cells if cell.cell_type == "code"]
    run_here = [cell for cell in cells if "skip-execution" not in cell.metadata.get("tags", [])]  # others need a reader
    assert len(run_here) > 10 and all(cell.execution_count for cell in run_here)
    found = json.loads(cells[-1].outputs[0].text)
    assert found["package"].startswith(str(host.parent.parent))
    assert found["tools"] == []
    assert [path for path in found["paths"] if Path(path).is_relative_to(ROOT) and path] == []
