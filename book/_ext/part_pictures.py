"""Sphinx extension: the parts of the book, each with a picture out of one of its chapters.

The directive `parts` reads the contents (_toc.yml) and writes a list: the name of each part that has chapters, which
leads to the first, their titles, and a place for a picture. When all pages are built, the picture is found in the
chapter, with the text that it has there for those who cannot see it. It is the figure that the chapter drew, without
what nobody could read at a third of its size: labels, ticks and legends, and the margin that they took.
"""

import re
from html import escape
from pathlib import Path
from xml.etree import ElementTree

import yaml
from claims_page import ROOT, chapter_title
from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

PICTURES = {  # part: chapter, name of the figure; light ones, which say something without their labels
    "Start here": ("00_first_gan", "fig-00-letters"),
    "Why": ("02_generative_models", "fig-02-machines"),
    "The game": ("03_minimax", "fig-03-bilinear"),
    "The networks": ("04_architecture", "fig-04-stacks"),
    "Training": ("07_training_loop", "fig-07-aim"),
    "Mode collapse": ("10_mode_collapse", "fig-10-kinds"),
    "Using it": ("16_applications", "fig-16-levels"),
    "Sharper": ("21_modern_gan", "fig-21-phase"),
}
FILLED = {"Start here"}  # so wide that only its middle is shown, as high as its field
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
UNREADABLE = re.compile(r"(text|legend|matplotlib\.axis)_\d+")  # ids of Matplotlib's groups
PLACE = re.compile(r'<img data-figure="([\w/]+)#([\w-]+)">')


def parts(contents):
    """[(part, names of its chapters)] from the contents, without parts that have no chapter."""
    found = []
    for part in contents["parts"]:
        names = [entry["file"].removeprefix("notebooks/") for entry in part["chapters"]]
        found.append((part["caption"], [name for name in names if re.match(r"\d\d_", name)]))
    return [(part, names) for part, names in found if names]


def part_list(contents, title):
    """The HTML of the list; `title` says what the chapter with a number is called."""
    items = []
    for part, names in parts(contents):
        if part not in PICTURES:
            raise ExtensionError(f"the part {part!r} has no picture in book/_ext/part_pictures.py")
        chapter, figure = PICTURES[part]
        if chapter not in names:
            raise ExtensionError(f"the picture of the part {part!r} is from {chapter}, which is not in it")
        titles = ", ".join(escape(title(int(name[:2])).split(". ", 1)[1]) for name in names)
        filled = ' class="part-filled"' if part in FILLED else ""
        items.append(
            f'<li{filled}><span class="part-picture"><img data-figure="notebooks/{chapter}#{figure}"></span>'
            f'<a href="../notebooks/{names[0]}.html">{escape(part)}</a> <span>{titles}</span></li>'
        )
    return f'<ul class="parts">\n{chr(10).join(items)}\n</ul>'


def picture(page, figure):
    """The <img> of a figure in the HTML of a chapter, with nothing but its source and its text."""
    found = re.search(rf'<figure\b[^>]*\bid="{figure}".*?(<img\b[^>]*>)', page, re.DOTALL)
    if not found:
        raise ExtensionError(f"there is no picture in a figure named {figure}")
    source, text = (re.search(rf'\b{name}="([^"]*)"', found[1])[1] for name in ("src", "alt"))
    return f'<img src="{source}" alt="{text}">'


def without_labels(drawing):
    """The text of an SVG file of Matplotlib with its panels alone, cut to the smallest rectangle that holds them.

    A drawing with a panel that has no background, as one of boxes and arrows, keeps its margin.
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(drawing)
    for parent in list(root.iter()):
        for child in list(parent):
            if UNREADABLE.fullmatch(child.get("id", "")):
                parent.remove(child)
    panels = [group for group in root.iter(f"{{{SVG}}}g") if group.get("id", "").startswith("axes_")]
    grounds = [panel.find(f"{{{SVG}}}g[1]/{{{SVG}}}path[@style='fill: #ffffff']") for panel in panels]
    if panels and None not in grounds:
        numbers = [[float(one) for one in re.findall(r"-?[\d.]+", ground.get("d"))] for ground in grounds]
        x, y = ([one for four in numbers for one in four[start::2]] for start in (0, 1))
        width, height = max(x) - min(x), max(y) - min(y)
        root.set("viewBox", f"{min(x):g} {min(y):g} {width:g} {height:g}")
        root.set("width", f"{width:g}pt")
        root.set("height", f"{height:g}pt")
    return ElementTree.tostring(root, encoding="unicode")


def unlabelled(image, folder):
    """The <img> with the source changed to a copy of its drawing without labels, which is written beside it."""
    source = re.search(r'src="([^"]*)\.svg"', image)[1]
    drawing = (folder / f"{source}.svg").read_text(encoding="utf-8")
    (folder / f"{source}-part.svg").write_text(without_labels(drawing), encoding="utf-8")
    return image.replace(f"{source}.svg", f"{source}-part.svg")


class Parts(SphinxDirective):
    def run(self):
        contents = ROOT / "_toc.yml"
        for path in (contents, *(ROOT / "notebooks" / f"{chapter}.ipynb" for chapter, _ in PICTURES.values())):
            self.env.note_dependency(str(path))
        made = part_list(yaml.safe_load(contents.read_text(encoding="utf-8")), chapter_title)
        return [nodes.raw("", made, format="html")]


def fill(app, exception):
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for path in site.glob("book/*.html"):  # as deep in the site as the chapters: pictures have the same address
        page = path.read_text(encoding="utf-8")
        filled = PLACE.sub(
            lambda at: unlabelled(picture((site / f"{at[1]}.html").read_text(encoding="utf-8"), at[2]), site / "book"),
            page,
        )
        if filled != page:
            path.write_text(filled, encoding="utf-8")


def setup(app):
    app.add_directive("parts", Parts)
    app.connect("build-finished", fill, priority=350)  # before dark_twins.py and light_pages.py
    return {"parallel_read_safe": True, "parallel_write_safe": True}
