"""Sphinx extension: every claim of the book beside the test that would fail if it were wrong.

The directive `claims` reads the tests of the chapters: their names are the claims, in the order of the tests, and each
leads to its test.
"""

import ast
import json
import re
from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent.parent
CLAIMS = ROOT / "tests" / "claims"
CHAPTER = re.compile(r"test_chapter_(\d+)")
NAMES = {  # as they are written, where the name of a test cannot
    name.lower(): name
    for name in (
        *(
            "Adam",
            "Gaussian",
            "Gaussians",
            "Jensen",
            "Shannon",
            "Wasserstein",
            "Lipschitz",
            "PyTorch",
            "Python",
            "Nash",
        ),
        *(
            "GAN",
            "GANs",
            "DCGAN",
            "MNIST",
            "CPU",
            "GPU",
            "H200",
            "KL",
            "R1",
            "R2",
            "ReLU",
            "EMA",
            "FLOP",
            "FLOPs",
            "JPEG",
        ),
        *("PNG", "CMA", "PCA", "Holm", "English", "Fréchet"),
    )
}
POSSESSIVE = re.compile(r"\b((?:the|a|its) (?:generator|discriminator|critic|paper|recipe|game|penalty))s (?=\w)")


def sentence(name):
    """The claim that the name of a test makes: test_the_cluster_rotates is "The cluster rotates."."""
    words = re.sub(r"(\d)_(?=\d{3}(?:_|$))", r"\1,", name.removeprefix("test_"))  # 10_000 is 10,000
    words = re.sub(r"(\d)_(?=\d)", r"\1.", words)  # and 0_5 is 0.5
    text = " ".join(NAMES.get(word, word) for word in words.split("_"))
    text = POSSESSIVE.sub(r"\1's ", text)
    return f"{text[:1].upper()}{text[1:]}."


def address(path, name):
    """Where the claim stands on the page: `chapter-10-the-crowd-rotates`, of the names of the file and of the test."""
    return nodes.make_id(f"{path.stem.removeprefix('test_')} {name.removeprefix('test_')}")


def read_claims(path):
    """(claim, explanation, line, address) of every test in the file, in order; explained by the docstring, or None."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [(sentence(test.name), ast.get_docstring(test), test.lineno, address(path, test.name)) for test in tests]


def chapters(folder=CLAIMS):
    """Number of each chapter to the files with its claims."""
    found = {}
    for path in sorted(folder.glob("test_*.py")):
        match = CHAPTER.match(path.name)
        found.setdefault(int(match[1]) if match else None, []).append(path)
    return found


def chapter_title(number):
    """ "7. The training loop", as the chapter's first cell has it."""
    (path,) = (ROOT / "notebooks").glob(f"{number:02}_*.ipynb")
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"]
    return "".join(first).splitlines()[0].removeprefix("# ").strip()


class Claims(SphinxDirective):
    """All claims, a section for each chapter, after a line that counts them."""

    def run(self):
        repository = self.config.html_theme_options.get("repository_url", "")
        counts, sections = Counter(), []
        for number, paths in chapters().items():
            items = nodes.bullet_list()
            for path in paths:
                self.env.note_dependency(str(path))
                for claim, explanation, line, name in read_claims(path):
                    link = f"{repository}/blob/main/{path.relative_to(ROOT).as_posix()}#L{line}"
                    paragraph = nodes.paragraph("", f"{claim} ", nodes.reference("", "test", refuri=link))
                    items += nodes.list_item("", paragraph, ids=[name])
                    if explanation:
                        paragraph += nodes.Text(f": {' '.join(explanation.replace('`', '').split())}")
                    sign = {"refid": name, "reftitle": "Link to this claim", "classes": ["headerlink"]}
                    paragraph += nodes.reference("", "#", internal=True, **sign)
                    counts[number] += 1
            title = "In several chapters" if number is None else chapter_title(number)
            section = nodes.section("", nodes.title("", title), items, ids=[nodes.make_id(title)])
            sections.append(section)
        return [nodes.paragraph("", f"Claims in all: {counts.total():,}."), *sections]


def setup(app):
    app.add_directive("claims", Claims)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
