"""Sphinx extension: the site carries the icons that its pages show, not all of Font Awesome.

The theme loads a script of 1.5 MB that draws two thousand icons. Its style sheet can draw them from fonts as well, so
`light_pages` takes the script away, and after each build the fonts and the style sheet are cut down to the icons that
occur. Both are made from the theme's own files; their copyright and licence stay inside them.
"""

import re
import shutil
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset, ttLib

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
STYLE = "styles/pydata-sphinx-theme.css"
FONTS = "vendor/fontawesome/webfonts"
RULE = re.compile(r'((?:\.fa-[\w-]+::?before,?)+)\{content:"([^"]*)"\}')
SOURCE = re.compile(r'url\((\.\./vendor/fontawesome/webfonts/fa-[\w-]+)\.woff2\) format\("woff2"\),url\([^)]*\.ttf\)[^}]*')
PRIVATE_USE = re.compile(r"[\ue000-\uf8ff]")


def names_in(page):
    """Names of the icons that a page's HTML asks for, such as `fa-bars`."""
    return {name for classes in re.findall(r'class="([^"]*\bfa-[^"]*)"', page) for name in classes.split()}


def prune(style, names):
    """The style sheet without the rules of unused icons, with fonts as `woff`; and the characters still needed."""
    characters = set()

    def keep(rule):
        wanted = [one for one in rule[1].rstrip(",").split(",") if one.split(":")[0].lstrip(".") in names]
        if wanted:
            characters.add(character(rule[2]))
        return f'{",".join(wanted)}{{content:"{rule[2]}"}}' if wanted else ""

    style = SOURCE.sub(r'url(\1.woff) format("woff")', RULE.sub(keep, style))
    return style, characters | set(PRIVATE_USE.findall(style))  # the theme's own: admonitions, links to elsewhere


def character(content):
    r"""What a CSS string such as `\f0c9` stands for."""
    code = re.fullmatch(r"\\([0-9a-f]+) ?", content)
    return chr(int(code[1], 16)) if code else content


def write_font(source, target, characters):
    font = ttLib.TTFont(source)
    subsetter = subset.Subsetter(subset.Options(layout_features=[], name_IDs=["*"]))
    subsetter.populate(unicodes=[ord(one) for one in characters])
    subsetter.subset(font)
    font.flavor = "woff"
    font.save(target)


def keep_used_icons(app, exception):
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    names = set()
    for path in site.rglob("*.html"):
        names |= names_in(path.read_text(encoding="utf-8"))
    style, characters = prune((THEME / STYLE).read_text(encoding="utf-8"), names)
    (site / "_static" / STYLE).write_text(style, encoding="utf-8")
    shutil.rmtree(site / "_static" / FONTS, ignore_errors=True)
    (site / "_static" / FONTS).mkdir(parents=True)
    for source in (THEME / FONTS).glob("*.ttf"):
        write_font(source, site / "_static" / FONTS / f"{source.stem}.woff", characters)
    for unused in (site / "_static" / "scripts").glob("fontawesome.js*"):
        unused.unlink()


def setup(app):
    app.connect("build-finished", keep_used_icons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
