"""Runs the playground's scripts: in node where there is one, else in headless Chromium."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser

SCRIPTS = Path(__file__).parent.parent.parent / "book" / "_static" / "playground"
NAMES = ("Engine", "Game", "Link", "Story")  # each from a file of its own, in the order in which they need each other
ANSWER_EACH_LINE = """
require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try { answer = [true, eval(JSON.parse(line))]; } catch (error) { answer = [false, String(error.stack)]; }
  console.log(JSON.stringify(answer));
});
"""


def evaluate(body: str, arguments: object, browser_fixture) -> object:
    """What the JavaScript function body `body`, which knows `input` and the scripts by name, returns."""
    program = f"(function () {{ const input = {json.dumps(arguments)}; {body} }})()"
    node = shutil.which("node")
    if node:
        process = started(node)
        process.stdin.write(json.dumps(program) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "node has stopped"
        succeeded, result = json.loads(answer)
        assert succeeded, result
        return result
    browser: Browser = browser_fixture()
    page = browser.new_page()
    for name in NAMES:
        page.add_script_tag(path=SCRIPTS / f"{name.lower()}.js")
    result = page.evaluate(program)
    page.close()
    return result


@cache
def started(node: str) -> subprocess.Popen[str]:
    """One node for all tests of a session: starting it takes longer than most of what it is asked."""
    files = ((name, json.dumps(str(SCRIPTS / f"{name.lower()}.js"))) for name in NAMES)
    load = "".join(f"const {name} = require({file});" for name, file in files)
    process = subprocess.Popen(
        [node, "-e", load + ANSWER_EACH_LINE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def stop() -> None:
        process.stdin.close()
        process.stdout.close()
        process.wait()

    atexit.register(stop)
    return process
