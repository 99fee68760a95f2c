"""Facts about the book as a whole: contents, bibliography, requirements, the repository's address."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book"))

import set_repository  # noqa: E402

PAGES = sorted((ROOT / "book").glob("*.md"))
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def prose(path):
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_contents_list_exactly_the_pages_that_exist():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    listed = [contents["root"], *(entry["file"] for part in contents["parts"] for entry in part["chapters"])]
    existing = [path.relative_to(ROOT).with_suffix("").as_posix() for path in [*PAGES, *CHAPTERS]]
    assert sorted(listed) == sorted(existing)


def test_chapters_are_listed_in_the_order_of_their_numbers():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    chapters = [name for name in chapters if name.startswith("notebooks/")]
    assert chapters == sorted(chapters)


def test_landing_page_calls_a_chapter_out_exactly_if_it_exists():
    rows = re.findall(r"^\| (\d+) \| (.*?) \| .* \| (.*?) \|$", prose(ROOT / "book" / "intro.md"), re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(22))
    for number, title, status in rows:
        files = [path for path in CHAPTERS if path.name.startswith(f"{int(number):02}_")]
        assert status == ("**out**" if files else "planned")
        assert [f"../notebooks/{path.name}" for path in files] == re.findall(r"\]\((.*?)\)", title)


def slugs(path):
    """The addresses of the headings of a page, as GitHub and MyST make them."""
    headings = re.findall(r"^#{1,4} (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links(path):
    """Links within the book that lead to no file, or to no heading in it."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        address, _, fragment = link.partition("#")
        target = (path.parent / address).resolve() if address else path
        if not target.is_file() or not target.is_relative_to(ROOT) or (fragment and fragment not in slugs(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES, *CHAPTERS], ids=lambda path: path.name)
def test_every_link_within_the_book_leads_to_a_file_and_a_heading_that_exist(page):
    assert broken_links(page) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "there.md").write_text("# The one heading")
    page = tmp_path / "page.md"
    page.write_text("[1](there.md#the-one-heading) [2](there.md) [3](gone.md) [4](there.md#other) [5](https://a.org/x)")
    assert broken_links(page) == ["gone.md", "there.md#other"]


def test_every_bibliography_entry_can_be_found_and_every_citation_has_one():
    entries = re.split(r"^@", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    keys = [re.match(r"\w+\{(\w+),", entry)[1] for entry in entries]
    assert len(keys) == len(set(keys))
    for entry in entries:
        assert re.search(r"^  (doi|eprint|url) +=", entry, flags=re.MULTILINE), f"nowhere to find it:\n{entry}"
    cited = set(re.findall(r"\{cite:[tp]\}`(\w+)`", "\n".join(map(prose, PAGES))))
    assert cited <= set(keys)


def test_every_term_stands_once_in_the_glossary_in_alphabetical_order_and_every_symbol_once_in_the_table():
    symbols, glossary = prose(ROOT / "book" / "notation.md").split("```{glossary}\n")
    terms = re.findall(r"^(\S.*)\n  \S", glossary, re.MULTILINE)
    plain = [term.lower().replace("é", "e").replace("-", " ") for term in terms]
    assert len(terms) > 50 and plain == sorted(set(plain))
    rows = re.findall(r"^\| (\$.*?) \| ", symbols, re.MULTILINE)
    assert len(rows) > 25 and len(rows) == len(set(rows))


def test_every_requirement_says_why_it_is_there():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line and "#" not in line] == []


def test_package_has_lower_bounds_only():
    """An upper bound would replace the torch that a notebook host such as Colab was set up with."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    requirements = re.findall(r'^ *"(.*?)"', listed[1], re.MULTILINE)
    assert requirements and [item for item in requirements if not re.fullmatch(r"[a-z0-9-]+>=[\d.]+", item)] == []


def addresses(root):
    """Who owns the repository according to each file that repeats its address, on GitHub or on Colab."""
    name = set_repository.read_address(root).rsplit("/", 1)[1]
    address = re.compile(rf"(?:github\.com|google\.com/github)/([\w.-]+/{re.escape(name)})(?![\w-])")
    found = {}
    for path in sorted(path for pattern in set_repository.FILES for path in root.glob(pattern)):
        if slugs := set(address.findall(path.read_text(encoding="utf-8"))):
            found[path.relative_to(root).as_posix()] = slugs
    return found


def test_repository_address_is_the_same_everywhere():
    expected = {set_repository.slug(set_repository.read_address(ROOT))}
    found = addresses(ROOT)
    assert {"_config.yml", "README.md", "pyproject.toml", "CITATION.cff"} <= set(found)
    assert {path.relative_to(ROOT).as_posix() for path in CHAPTERS} <= set(found)
    assert [path for path, slugs in found.items() if slugs != expected] == []


@pytest.mark.parametrize("written", ["https://github.com/me/my.fork", "https://github.com/me/my.fork.git/"])
def test_one_command_changes_the_repository_address_everywhere(tmp_path, written):
    for pattern in set_repository.FILES:
        for path in ROOT.glob(pattern):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "book" / "set_repository.py", tmp_path / "book")
    (tmp_path / "book" / "other.md").write_text(f"{set_repository.read_address(ROOT)}-notes is another repository.")
    places = set(addresses(tmp_path))

    command = ["make", "set-repository", f"URL={written.rstrip('/')}", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert set_repository.read_address(tmp_path) == "https://github.com/me/my.fork"
    found = addresses(tmp_path)
    assert set(found) == places
    assert all(slugs == {"me/my.fork"} for slugs in found.values())
    assert (tmp_path / "book" / "other.md").read_text().startswith(set_repository.read_address(ROOT) + "-notes")


def test_repository_command_refuses_what_is_no_address():
    command = [sys.executable, str(ROOT / "book" / "set_repository.py"), "github.com/me"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.startswith("Say which address:") and "Traceback" not in answer.stderr
