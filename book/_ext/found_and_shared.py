"""Sphinx extension: where the site will stand, for sitemaps, previews of shared links, and the page of a wrong address.

The address follows from the repository's: GitHub Pages serves OWNER/NAME as https://OWNER.github.io/NAME/. A site that
stands elsewhere names its place in the environment variable `SITE_ADDRESS`.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

TWICE = re.compile(r"<title>(.*?) &#8212; \1</title>")  # of the landing page, which has the book's title


def site_address(repository):
    """https://github.com/OWNER/NAME to https://OWNER.github.io/NAME/."""
    owner, name = repository.rstrip("/").split("/")[-2:]
    return f"https://{owner.lower()}.github.io/{name}/"


def tell(app, config):
    address = os.environ.get("SITE_ADDRESS") or site_address(config.html_theme_options["repository_url"])
    address = address.rstrip("/") + "/"
    config.html_baseurl = config.ogp_site_url = address
    config.notfound_urls_prefix = urlsplit(address).path


def shorten_titles(app, exception):
    if exception or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        shorter = TWICE.sub(r"<title>\1</title>", page)
        if shorter != page:
            path.write_text(shorter, encoding="utf-8")


def setup(app):
    app.connect("config-inited", tell, priority=700)  # after theme_fixes.py, which knows of forks
    app.connect("build-finished", shorten_titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
