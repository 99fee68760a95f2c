"""Sphinx extension: where the text names a step of the playground's story, it leads there.

"Step 3 of the playground" becomes a link that opens the playground on that step: the notebooks stay prose without
addresses, as they do for "chapter 7" (chapter_links.py). The steps are read from the page's own buttons.
"""

import re
from pathlib import Path

from chapter_links import UNLINKED, UNTOUCHED, join_lines, parents
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

PLAYGROUND = "book/playground"
MENTION = re.compile(r"\b([Ss]tep\s+\d+\s+of\s+the\s+playground)\b")


def steps(source):
    """The names of the story's steps, in their order, from the text of the playground's page."""
    return re.findall(r'<button\b[^>]*\bdata-step="(\w+)"', source)


def pieces(text, names):
    """The text as a list of (piece, name of the step that it mentions, or None)."""
    found = []
    for part in MENTION.split(text):
        name = None
        if MENTION.fullmatch(part):
            number = int(re.search(r"\d+", part)[0])
            if not 1 <= number <= len(names):
                raise ExtensionError(f"the playground has {len(names)} steps, and the text speaks of step {number}")
            name = names[number - 1]
        found.append((part, name))
    return [(piece, name) for piece, name in found if piece]


class StoryLinks(SphinxPostTransform):
    default_priority = 390  # before chapter_links.py

    def run(self, **_):
        names = steps(Path(self.env.doc2path(PLAYGROUND)).read_text(encoding="utf-8"))
        page = self.env.docname
        join_lines(self.document)
        for text in list(self.document.findall(nodes.Text)):
            split = pieces(text.astext(), names)
            if all(name is None for _, name in split) or any(
                isinstance(node, UNTOUCHED + UNLINKED) for node in parents(text)
            ):
                continue
            new = [
                make_refnode(self.app.builder, page, PLAYGROUND, f"step={name}", nodes.Text(piece))
                if name
                else nodes.Text(piece)
                for piece, name in split
            ]
            text.parent.replace(text, new)


def setup(app):
    app.add_post_transform(StoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
