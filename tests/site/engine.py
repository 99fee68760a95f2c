"""Runs the playground's scripts: in node where there is one, else in headless Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import Browser

SCRIPTS = Path(__file__).parent.parent.parent / "book" / "_static" / "playground"


def evaluate(body: str, arguments: object, browser_fixture) -> object:
    """What the JavaScript function body `body`, which knows `input`, `Engine` and `Game`, returns."""
    program = f"(function () {{ const input = {json.dumps(arguments)}; {body} }})()"
    node = shutil.which("node")
    if node:
        load = f"const Engine = require({json.dumps(str(SCRIPTS / 'engine.js'))});"
        load += f"const Game = require({json.dumps(str(SCRIPTS / 'game.js'))});"
        answer = subprocess.run(
            [node, "-e", f"{load} console.log(JSON.stringify({program}))"], capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr
        return json.loads(answer.stdout)
    browser: Browser = browser_fixture()
    page = browser.new_page()
    for name in ("engine.js", "game.js"):
        page.add_script_tag(path=SCRIPTS / name)
    result = page.evaluate(program)
    page.close()
    return result
