"""Sphinx extension: every exercise and every figure has an address of its own, and a sign that leads to it.

Headings and numbered figures have both from Sphinx. After each build, in every page:

- an exercise gets the short address of its number, `#exercise-10-1`, which stays when its title changes; the long one,
  which Sphinx makes of the title, leads there as before;
- what moves or sounds has a caption but no number: it is counted by kind, `#replay-10-2`, `#film-3-1`.
"""

import re
from collections import Counter
from pathlib import Path

KINDS = {
    "replay": "replay",
    "animation": "film",
    "sounds": "sounds",
    "level-game": "game",
}  # class: word in the address
EXERCISE = re.compile(r'<h3>(Exercise (\d+)\.(\d+):(?:(?!</h3>).)*<a class="headerlink" href=")#[^"]*"', re.DOTALL)
FIGURE = re.compile(rf'<figure (class="({"|".join(KINDS)})\b.*?)(</p>)?(\s*</figcaption>)', re.DOTALL)
LINK = '<a class="headerlink" href="#{}" title="Link to this figure">#</a>'


def with_addresses(page, chapter):
    """The HTML of a page with an address for each exercise and figure; `chapter` is its number, or None."""

    def exercise(match):
        name = f"exercise-{int(match[2])}-{match[3]}"
        return f'<h3 id="{name}">{match[1]}#{name}"'

    counts = Counter()

    def figure(match):
        inside, kind, *end = match.groups("")
        counts[kind] += 1
        name = "-".join(str(part) for part in (KINDS[kind], chapter, counts[kind]) if part is not None)
        return f'<figure id="{name}" {inside}{LINK.format(name)}{"".join(end)}'

    return FIGURE.sub(figure, EXERCISE.sub(exercise, page))


def give_addresses(app, exception):
    if exception or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for path in site.rglob("*.html"):
        chapter = re.match(r"notebooks/(\d+)_", path.relative_to(site).as_posix())
        page = path.read_text(encoding="utf-8")
        addressed = with_addresses(page, chapter and int(chapter[1]))
        if addressed != page:
            path.write_text(addressed, encoding="utf-8")


def setup(app):
    app.connect("build-finished", give_addresses, priority=300)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
