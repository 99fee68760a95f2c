"""Hints for flags that everyone tries: only such as the command has, and with the lengths of the data at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcgan_core.cli.hints import RENAMED, check_flags, check_one_place, num_images
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


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["--data", "photos/a.jpg", "photos/b.jpg", "--out", "run"]),
        ("train", ["--out", "run", "--data", "my", "photos"]),
        ("inspect", ["photos/a.jpg", "photos/b.jpg"]),
        ("inspect", ["my", "photos", "--fit", "pad"]),
    ],
)
def test_several_names_in_place_of_a_folder_are_one_sentence(command, arguments):
    """The shell has filled in photos/*.jpg, or has cut "my photos" in two."""
    with pytest.raises(InvalidInput, match=r"^2 names are given where one folder is meant, .* in quotes\.$"):
        check_one_place(command, arguments)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", ["--data", "photos", "--augment", "flip", "colour", "--out", "run"]),
        ("train", ["--augment", "flip", "colour", "--out", "run"]),
        ("train", ["--data=photos", "--out", "run"]),
        ("train", ["--data"]),
        ("inspect", ["photos", "--fit", "pad"]),
        ("inspect", ["--fit", "pad", "photos"]),
        ("evaluate", ["--data", "photos", "run"]),
        ("resume", ["run", "--data", "photos"]),
    ],
)
def test_one_name_is_none_too_many(command, arguments):
    check_one_place(command, arguments)
