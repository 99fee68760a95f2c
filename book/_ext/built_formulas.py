"""Sphinx extension: formulas are typeset while the book is built, so that no page needs a script for them.

KaTeX runs here, in an embedded JavaScript engine, and a page receives its result: HTML for the eyes, MathML for screen
readers, with the TeX source inside for copying. A page with formulas loads KaTeX's style sheet and fonts; others do not.
Nothing moves while a page loads, and formulas show without JavaScript.

A formula that KaTeX does not understand is a warning with its place, hence an error of `make site`.
"""

import html
from functools import cache
from pathlib import Path

from docutils import nodes
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).parent / "katex" / "katex.min.js"
STYLE = "katex/katex.min.css"  # in book/_static, of the same version
LOGGER = logging.getLogger(__name__)


@cache
def engine():
    context = MiniRacer()
    context.eval(KATEX.read_text(encoding="utf-8"))
    return context


@cache
def typeset(formula, display):
    """HTML of a TeX formula. Raises `ValueError` with KaTeX's own sentence if it is not one."""
    try:
        options = {"displayMode": display, "strict": "ignore"}  # what may differ from LaTeX is no error here
        return engine().call("katex.renderToString", formula, options)
    except JSEvalException as error:
        raise ValueError(next((line for line in str(error).splitlines() if "ParseError" in line), str(error))) from None


def html_of(node, display):
    try:
        return typeset(node.astext(), display)
    except ValueError as error:
        LOGGER.warning("this formula cannot be typeset: %s", error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def visit_inline(translator, node):
    translator.body.append(html_of(node, display=False))
    raise nodes.SkipNode


def visit_display(translator, node):
    # On a phone a wide formula scrolls by itself, also for those who scroll with the keyboard.
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight", tabindex="0"))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append(html_of(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def add_style_where_needed(app, page, template, context, doctree):
    if 'class="katex' in context.get("body", ""):
        app.add_css_file(STYLE)


def setup(app):
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    app.connect("html-page-context", add_style_where_needed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
