"""Sphinx extension: figures are numbered by chapter, "Fig. 7.2", as equations and exercises are.

Sphinx counts figures through the whole book, unless it numbers the chapters as well; but the chapters of this book have
numbers of their own, which stay when a chapter is missing. They are taken from the file names.
"""

import re


def by_chapter(numbers):
    """Sphinx's table {page: {kind: {id: number}}} with (chapter, place in the chapter) for the pages that are chapters.

    Pages without a number (the landing page) keep a single count of their own.
    """
    table = {}
    for page, kinds in numbers.items():
        chapter = re.match(r"notebooks/(\d+)_", page)
        prefix = (int(chapter[1]),) if chapter else ()
        table[page] = {
            kind: {name: (*prefix, place) for place, name in enumerate(sorted(entries, key=entries.get), start=1)}
            for kind, entries in kinds.items()
        }
    return table


def give_sphinx_its_own_count(app, env):
    """Sphinx compares its new count with the last one to see which pages it must write again."""
    env.toc_fignumbers = getattr(env, "counted_through_the_book", env.toc_fignumbers)
    return []  # no page changes by it


def number_by_chapter(app, env):
    env.counted_through_the_book = env.toc_fignumbers
    env.toc_fignumbers = by_chapter(env.toc_fignumbers)
    return []


def setup(app):
    app.connect("env-get-updated", give_sphinx_its_own_count, priority=100)
    app.connect("env-get-updated", number_by_chapter, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
