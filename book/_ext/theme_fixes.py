"""Sphinx extension: small repairs of the theme that no setting offers."""

import os

import sphinx_thebe


def remove_thebe(app, config):
    """Jupyter Book always loads sphinx-thebe, whose script is a duplicate `const`: an error on every page.

    The book offers Colab instead of a kernel in the page, so both of its hooks go.
    """
    unwanted = {sphinx_thebe.init_thebe_core, sphinx_thebe.update_thebe_context}
    for listeners in list(app.events.listeners.values()):
        for listener in list(listeners):
            if listener.handler in unwanted:
                app.disconnect(listener.id)


def follow_fork(app, config):
    """On GitHub's machines the buttons of a fork's site lead to the fork, without any setting."""
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        config.html_theme_options["repository_url"] = f"{server}/{repository}"


def name_the_colab_button(app, pagename, templatename, context, doctree):
    """A rocket that opens a menu of one line becomes a link that says where it leads."""
    buttons = context.get("header_buttons", [])
    for place, button in enumerate(buttons):
        if button.get("label") == "launch-buttons" and len(button["buttons"]) == 1:
            buttons[place] = button["buttons"][0] | {
                "text": "Run in Colab",
                "icon": button["icon"],
                "label": "colab",
            }


def setup(app):
    app.connect("config-inited", remove_thebe)
    app.connect("config-inited", follow_fork)
    app.connect("html-page-context", name_the_colab_button, priority=900)  # after the theme has made its buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}
