"""Sphinx extension: charts for readers in the dark.

Every drawing of Matplotlib gets a twin on the page's dark background, in which black and white have changed places and
the palette is a little lighter. The theme shows one of the two; the other is not even loaded. Samples and other pixels
inside a drawing stay as they are. A drawing with white text has no twin and keeps its light card, because white text
stands on something dark, as in a table of coloured cells.
"""

import re
from pathlib import Path

DARK = {  # colours of teaching/plots.py, and what stands for them in the dark: each has a contrast of 3 or more there
    "#ffffff": "#121212",  # the theme's background
    "#000000": "#ced6dd",  # its text
    "#dddddd": "#3a3f45",
    "#eeeeee": "#24282d",
    "#cccccc": "#4a4f55",
    "#555555": "#a9afb6",
    "#fde9dc": "#45240f",
    "#0072b2": "#3f9fdc",
    "#d55e00": "#f0803c",
    "#009e73": "#1fc796",
}
TEXT = DARK["#000000"]
COLOUR = re.compile("|".join(DARK), re.IGNORECASE)
STYLE = re.compile(r'style="[^"]*"')
ROOT = re.compile(r"<svg\b")
PICTURE = re.compile(r'<img\b[^>]*\bsrc="(?P<source>[^"?#]*_images/[^"/?#]+\.svg)"[^>]*>')
MARK = "Matplotlib v"  # which it leaves in the metadata of what it draws
WHITE_TEXT = re.compile(r'<g id="text_\d+">\s*(?:<!--.*?-->)?\s*<g style="[^"]*fill: #ffffff')


def dark(drawing):
    """The text of an SVG file in colours for a dark page; what has no colour, as text, is drawn in black."""
    recoloured = STYLE.sub(lambda style: COLOUR.sub(lambda colour: DARK[colour[0].lower()], style[0]), drawing)
    return ROOT.sub(f'<svg fill="{TEXT}"', recoloured, count=1)


def with_twins(page, path):
    """The HTML of the page at `path`, with a twin beside every drawing of Matplotlib; their files are written."""

    def pair(match):
        tag, source = match[0], match["source"]
        file = path.parent / source
        if "only-" in tag or not file.is_file():
            return tag
        drawing = file.read_text(encoding="utf-8")
        if MARK not in drawing or WHITE_TEXT.search(drawing):
            return tag
        twin = file.with_name(f"{file.stem}-dark.svg")
        twin.write_text(dark(drawing), encoding="utf-8")
        other = tag.replace(source, f"{source.removesuffix('.svg')}-dark.svg")
        return with_class(tag, "only-light") + with_class(other, "only-dark")

    return PICTURE.sub(pair, page)


def with_class(tag, name):
    """The tag of an element with one class more."""
    if re.search(r'\bclass="', tag):
        return re.sub(r'\bclass="', f'class="{name} ', tag, count=1)
    return tag.replace("<img", f'<img class="{name}"', 1)


def add_twins(app, exception):
    if exception or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        paired = with_twins(page, path)
        if paired != page:
            path.write_text(paired, encoding="utf-8")


def setup(app):
    app.connect("build-finished", add_twins, priority=400)  # before light_pages.py, which says when pictures load
    return {"parallel_read_safe": True, "parallel_write_safe": True}
