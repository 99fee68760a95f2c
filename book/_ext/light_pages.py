"""Sphinx extension: a page loads what its reader sees first, and nothing jumps or flashes when the rest comes.

After each build, in every page:

- scripts and styles go that the page has no use for (the theme loads them everywhere);
- pictures get their width and height, so that the browser keeps their place free, and all but the first load when the
  reader comes near;
- pictures that a chapter has written into its HTML become files, which can load late, too;
- code loses the marks of tokens that have the colour of plain text: half of the page's bytes;
- a list that a screen reader could not make sense of is none;
- light or dark is known before the first paint, and not after the theme's script has come.

Source maps, which no reader needs, leave the site.
"""

import base64
import hashlib
import re
from pathlib import Path

from PIL import Image

PICTURE = re.compile(r"<img\b[^>]*>")
EMBEDDED = re.compile(r'(\bsrc|\bsrcset)="data:image/(webp|png|gif|jpeg);base64,([A-Za-z0-9+/=]+)"')
EMBEDDED_LIMIT = 2_000  # characters; smaller ones stay where they are
PIXELS_PER_POINT = 4 / 3  # CSS
PLAIN_TOKEN = re.compile(r'<span class="(?:n|p|w)">([^<]*)</span>')  # names, punctuation, white space

ELEMENT = r'<(?:script|link)\b[^>]*(?:src|href)="[^"]*{}[^"]*"[^>]*>(?:</script>)?\n?'
# What to take away, and the text in a page that says it is needed after all.
UNNEEDED = {
    "scripts/fontawesome.js": None,  # used_icons.py draws the icons
    "sphinx-thebe.css": None,  # no kernel in the page: theme_fixes.py
    "searchindex.js": 'id="search-results"',
    "searchtools.js": 'id="search-results"',
    "language_data.js": 'id="search-results"',
    "sphinx-design.min.css": 'class="sd-',
    "design-tabs.js": 'class="sd-tab',
}
THEME_CHOICE = '.theme = localStorage.getItem("theme") || "auto"'
THEME_KNOWN = THEME_CHOICE.replace('"auto"', '(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")')
BROKEN_LIST = '<div role="list" class="citation-list">'  # Sphinx gives it children that are no list items


def lighten(page, path, site):
    """The HTML of the page at `path`, made light; embedded pictures are written to the folder `_images` of the site."""
    for name, user in UNNEEDED.items():
        if user is None or user not in page:
            page = re.sub(ELEMENT.format(re.escape(name)), "", page)
    page = PLAIN_TOKEN.sub(r"\1", page).replace(THEME_CHOICE, THEME_KNOWN)
    page = page.replace(BROKEN_LIST, BROKEN_LIST.replace('role="list" ', ""))
    return make_lazy(embedded_to_files(page, path, site), path)


def embedded_to_files(page, path, site):
    to_root = "../" * (len(path.relative_to(site).parts) - 1)

    def write(match):
        attribute, kind, data = match.groups()
        if len(data) < EMBEDDED_LIMIT:
            return match[0]
        content = base64.b64decode(data)
        target = site / "_images" / f"{hashlib.sha256(content).hexdigest()}.{kind}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
        return f'{attribute}="{to_root}_images/{target.name}"'

    return EMBEDDED.sub(write, page)


def make_lazy(page, path):
    first = ' loading="eager"' not in page  # which a page may say itself

    def refine(match):
        nonlocal first
        tag, source = match[0], re.search(r'\bsrc="([^"?#]+)', match[0])
        file = path.parent / source[1] if source else None
        if file is None or not file.is_file():
            return tag
        added = ""
        if not re.search(r"\bheight=", tag) and (size := size_of(file)):
            added += f' width="{size[0]}" height="{size[1]}"'
        if "_images/" in source[1] and "loading=" not in tag:
            hidden_from_some = "only-light" in tag or "only-dark" in tag  # who should not load it either
            added += ' loading="eager"' if first and not hidden_from_some else ' loading="lazy" decoding="async"'
            first = False
        return re.sub(r"\s*/?>$", f"{added}>", tag) if added else tag

    return PICTURE.sub(refine, page)


def size_of(file):
    """Width and height in CSS pixels; None for a drawing that has no size of its own."""
    if file.suffix != ".svg":
        with Image.open(file) as picture:
            return picture.size
    root = re.search(r"<svg\b[^>]*>", file.read_text(encoding="utf-8"))[0]
    sides = [re.search(rf'\b{side}="([\d.]+)(pt|px)?"', root) for side in ("width", "height")]
    if not all(sides):
        return None
    return tuple(round(float(side[1]) * (PIXELS_PER_POINT if side[2] == "pt" else 1)) for side in sides)


def lighten_site(app, exception):
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        lighter = lighten(page, path, site)
        if lighter != page:
            path.write_text(lighter, encoding="utf-8")
    for unused in (site / "_static").rglob("*.map"):
        unused.unlink()


def setup(app):
    app.connect("build-finished", lighten_site)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
