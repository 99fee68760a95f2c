"""What a reader sees after checking an answer, and the frame around every check."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """The result of a check. In a notebook it shows as one sentence; in a test, compare `passed` and `message`."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'Right.' if self.passed else 'Not yet.'} {self.message}"

    def _repr_markdown_(self) -> str:
        return f"**{'Right.' if self.passed else 'Not yet.'}** {self.message}"


class Mistake(Exception):
    """Raised inside a check: what is wrong with the answer and what to look at."""


def check(function: Callable[..., str]) -> Callable[..., Verdict]:
    """Turns a function that returns praise or raises `Mistake` into one that always returns a `Verdict`.

    An answer that raises is a mistake too, so an unfinished exercise never stops a notebook.
    """

    @functools.wraps(function)
    def checked(*answer: Any) -> Verdict:
        try:
            return Verdict(True, function(*answer))
        except NotImplementedError:
            return Verdict(False, "This is where your code goes; the hints below open one by one.")
        except Mistake as mistake:
            return Verdict(False, str(mistake))
        except Exception as error:
            return Verdict(False, f"Your code stopped with {type(error).__name__}: {error}")

    return checked


def require(holds: bool, mistake: str) -> None:
    """Raises `Mistake` unless the condition holds."""
    if not holds:
        raise Mistake(mistake)
