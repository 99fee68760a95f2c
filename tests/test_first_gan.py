"""What chapter 0 measures and shows: shares of recognised letters, the film, and rows to compare."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from dcgan_core.data import glyphs, scale
from dcgan_core.teaching.chapter_00 import film_of, recognised, show_rows

pytestmark = pytest.mark.usefixtures("one_thread")


def letters(characters: str, num: int = 60) -> torch.Tensor:
    drawn = glyphs.render(num, image_size=16, characters=characters, seed=7, split="test")
    return scale(torch.from_numpy(drawn.images))


def test_real_letters_are_recognised_as_what_they_are_and_not_as_others():
    assert recognised(letters("DCGAN"), "DCGAN") > 0.95
    assert recognised(letters("DCGAN"), "XO") == 0
    mixed = torch.cat([letters("X"), letters("A")])
    assert recognised(mixed, "X") == pytest.approx(0.5, abs=0.05)


def test_what_is_no_letter_and_what_could_be_two_is_not_recognised():
    noise = 2 * torch.rand(60, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 1
    assert recognised(noise, glyphs.LETTERS) < 0.1
    assert recognised(torch.maximum(letters("D"), letters("N").flip(0)), glyphs.LETTERS) < 0.3


def test_the_film_goes_from_the_first_turn_to_the_last_and_ends_with_the_share_of_all_its_images():
    blank = torch.full((60, 1, 16, 16), -1.0)
    half = torch.cat([letters("A", 30), blank[:30]])
    shown = film_of({50: half, 0: blank}, "A", alt="letters", caption="A film.").data
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', shown)
    moments = json.loads(data)["moments"]
    assert moments == ["0 turns", "50 turns"]
    (curve,) = json.loads(data)["curves"]
    assert [float(mark[0]) for mark in curve["marks"]] == pytest.approx([0, 0.5], abs=0.05)


def test_rows_show_ten_images_each_and_the_share_of_all():
    pictures = torch.cat([letters("X", 10), torch.full((10, 1, 16, 16), -1.0)])
    axes = show_rows({"first": (pictures, "X"), "second": (letters("A", 20), "X")})
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first\n50% letters", "second\n0% letters"]
    (shown,) = axes.get_images()
    height, width = np.shape(shown.get_array())[:2]
    assert width == 5 * height
