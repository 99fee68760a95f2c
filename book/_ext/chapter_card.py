"""Sphinx extension: the four paragraphs at the top of each chapter stand on a card.

The chapters say what they ask, what they answer, what comes before, and how long they take, in plain paragraphs that
begin with a bold word, so that Jupyter and Colab show them as well. On a built page they become one card, on which
reading and running have a field each. The words stay as they are; only the stop after a bold word is hidden, because
there it ends a label.
"""

import re

from docutils import nodes
from sphinx.transforms import SphinxTransform

FIELDS = {  # bold words, and the name of their field in book/_static/custom.css
    "Question": "card-question",
    "Answer": "card-answer",
    "Before you start": "card-before",
    "Reading time": "card-time",
    "To run": "card-run",
}


def label_of(node):
    """The field that begins with this node: "Question" of **Question.**; None if none does."""
    return node.astext().rstrip(".:") if isinstance(node, nodes.strong) else None


def fields(paragraph):
    """The paragraph as a list of paragraphs, one for each field in it; empty if it does not begin with one."""
    found = []
    for child in paragraph.children:
        label = label_of(child)
        if label in FIELDS:
            text = child.astext()
            stop = nodes.inline("", text[len(label) :], classes=["card-stop"])
            found.append(nodes.paragraph("", "", nodes.strong("", label, stop), classes=[FIELDS[label]]))
        elif found:
            found[-1] += child.deepcopy()
        elif child.astext().strip():  # the parser puts an empty text before what is bold
            return []
    return found


def make_card(section):
    """Puts the paragraphs below the section's title that begin with a field onto a card; all of them, or an error."""
    paragraphs = []
    for child in section.children[1:]:
        parts = fields(child) if isinstance(child, nodes.paragraph) else []
        if not parts:
            break
        paragraphs.append((child, parts))
    made = [part for _, parts in paragraphs for part in parts]
    found = [part.next_node(nodes.strong).children[0].astext() for part in made]
    if found != list(FIELDS):
        raise ValueError(f"the top of a chapter needs {', '.join(FIELDS)}, in this order, and has {found}")
    for old, _ in paragraphs:
        section.remove(old)
    section.insert(1, nodes.container("", *made, is_div=True, classes=["chapter-card"]))


class ChapterCards(SphinxTransform):
    default_priority = 400

    def apply(self, **_):
        if re.match(r"notebooks/\d+_", self.env.docname):
            make_card(next(self.document.findall(nodes.section)))


def setup(app):
    app.add_transform(ChapterCards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
