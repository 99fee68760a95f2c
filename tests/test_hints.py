"""Hints for flags that everyone tries: only such as the command has, and with the lengths of the data at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcgan_core.cli.hints import RENAMED, check_flags, num_images
from dcgan_core.config import InvalidInput


def command(*flags: str) -> Callable[[str], bool]:
    """A command that has these flags."""
    return lambda flag: flag in flags


@pytest.mark.parametrize("flag", [*RENAMED, "--lr", "--epochs", "--steps", "--gpu", "--cpu", "--fp16"])
def test_no_hint_names_a_flag_that_the_command_does_not_have(flag):
    """The command's own message about unknown flags is better than a wrong one."""
    check_flags([flag, "3"], command("--verbose"))


def test_a_flag_that_the_command_has_is_no_mistake_whatever_it_is_called_elsewhere():
    check_flags(
        ["--size", "3", "--gpu", "--epochs=2"], command("--size", "--image-size", "--gpu", "--device", "--epochs")
    )
    with pytest.raises(InvalidInput, match="use --image-size 3"):
        check_flags(["--size", "3"], command("--image-size"))


def test_the_next_flag_is_no_value():
    known = command("--batch-size", "--seed")
    for arguments in (["--batch", "--seed", "3"], ["--batch"]):
        with pytest.raises(InvalidInput, match=r"there is no flag --batch: use --batch-size\.$"):
            check_flags(arguments, known)
    with pytest.raises(InvalidInput, match=r"there is no flag --BATCH: use --batch-size 8\.$"):
        check_flags(["--seed", "3", "--BATCH", "8"], known)


def test_files_of_a_folder_are_counted_with_what_lies_below_and_without_what_is_hidden(tmp_path):
    assert num_images(str(tmp_path / "nowhere")) is None and num_images(str(tmp_path)) is None
    for name in ("a.png", ".hidden.png", "below/b.png", "below/deeper/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Path(tmp_path / name).write_bytes(b"x")
    assert num_images(str(tmp_path)) == 3
