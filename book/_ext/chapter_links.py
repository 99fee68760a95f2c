"""Sphinx extension: every "chapter 7" in the text becomes a link to that chapter, in one style.

The pages are written as prose, without addresses: "chapter 07", "chapters 3 and 7". On a built page the numbers stand
without a leading zero, and each leads to its chapter. A chapter that is not out yet, the page's own chapter, headings,
code, formulas and text that is a link already get no link.
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

# "chapter 7" is one number, "chapters 3, 5 and 7 to 9" are several; 7.2 is a figure or an exercise.
MENTION = re.compile(
    r"\b([Cc]hapter\s+\d{1,2}|[Cc]hapters\s+\d{1,2}(?:,\s+\d{1,2})*(?:,?\s+(?:and|or|to)\s+\d{1,2})+)(?![\d.]*\d)"
)
UNTOUCHED = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.raw)
UNLINKED = (nodes.reference, nodes.title, nodes.rubric)


def pieces(text):
    """The text as a list of (piece, number of the chapter that it mentions, or None)."""
    found = []
    for part in MENTION.split(text):
        if not MENTION.fullmatch(part):
            found.append((part, None))
        elif part.lower().startswith("chapters"):
            numbers = re.split(r"(\d+)", part)
            found += [(str(int(one)), int(one)) if one.isdigit() else (one, None) for one in numbers]
        else:
            word, number = part.split()
            found.append((f"{word} {int(number)}", int(number)))
    return [(piece, number) for piece, number in found if piece]


def chapters(names):
    """{number: page} of those pages that are chapters."""
    found = {name: re.match(r"notebooks/(\d+)_", name) for name in names}
    return {int(match[1]): name for name, match in found.items() if match}


def join_lines(document):
    """A line break in the source parts a text in three; "chapter" and its number are one text again."""
    for parent in {text.parent for text in document.findall(nodes.Text)}:
        joined = []
        for child in parent.children:
            if joined and isinstance(child, nodes.Text) and isinstance(joined[-1], nodes.Text):
                joined[-1] = nodes.Text(joined[-1] + child)
            else:
                joined.append(child)
        parent.children = []
        parent.extend(joined)


def parents(node):
    while node.parent is not None:
        node = node.parent
        yield node


class ChapterLinks(SphinxPostTransform):
    default_priority = 400

    def run(self, **_):
        page = self.env.docname
        known = chapters(self.env.found_docs)
        join_lines(self.document)
        for text in list(self.document.findall(nodes.Text)):
            around = list(parents(text))
            split = pieces(text.astext())
            if all(number is None for _, number in split) or any(isinstance(node, UNTOUCHED) for node in around):
                continue
            linked = not any(isinstance(node, UNLINKED) for node in around)
            new = [
                make_refnode(self.app.builder, page, known[number], "", nodes.Text(piece))
                if linked and known.get(number, page) != page
                else nodes.Text(piece)
                for piece, number in split
            ]
            text.parent.replace(text, new)


def setup(app):
    app.add_post_transform(ChapterLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
