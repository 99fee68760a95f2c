"""The progress bar: quick in a terminal, calm in a notebook, and a line now and then in a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

CALM = 1.0  # seconds between two updates in a notebook, where each is a message to the browser
SELDOM = 5.0  # at least, between two lines of a log file, and one percent of the work
NEVER_LONGER = 600.0  # seconds without a line


class _Lines(tqdm):
    """A bar that writes a line for each update: a log file does not return its carriage."""

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        """What writes one update to the file."""

        def write(line: str) -> None:
            if line:
                file.write(f"{line}\n")
                file.flush()

        return write


def progress_bar(
    what: str, *, total: int, initial: int = 0, unit: str = "img", shown: bool = True, delay: float = 0.0
) -> tqdm:
    """A bar on stderr that counts to `total`. At most about 100 updates where that is no terminal.

    With a `delay`, in seconds, what is done sooner has no bar, and what takes longer has its first update then.
    """
    common: dict[str, Any] = {"desc": what, "total": total, "initial": initial, "unit": unit, "unit_scale": True}
    common |= {"disable": not shown, "delay": delay}
    if sys.stderr.isatty():
        bar = tqdm(**common)
    elif "ipykernel" in sys.modules:
        bar = tqdm(**common, mininterval=CALM)
    else:
        percent = max(1, total // 100)
        bar = _Lines(**common, mininterval=SELDOM, miniters=percent, maxinterval=NEVER_LONGER)
    if shown and delay:
        bar.last_print_t -= bar.mininterval
    return bar
