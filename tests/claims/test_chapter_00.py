"""Chapter 0's sentences, tested with the chapter's own cells and other seeds."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from dcgan_core import recorded
from dcgan_core.teaching.chapter_00 import recognised

pytestmark = pytest.mark.usefixtures("one_thread")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_first_gan.ipynb"
CODE = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
SEED = 100  # the chapter's is 0
TURNS, FEW, HALF_AS_FEW = 600, 300, 150


def program(seed: int) -> dict[str, Any]:
    """What the chapter's cells define, with a seed of its own for the noise, the weights and the batches."""
    namespace: dict[str, Any] = {"torch": torch, "show_images": lambda *_, **__: None}
    for wanted in ("def pictures_of", "def two_networks", "def draw", "def train"):
        (source,) = (source for source in CODE if wanted in source)
        exec(source, namespace)
    torch.manual_seed(seed)
    namespace["watched"] = torch.randn(namespace["watched"].shape)
    return namespace


@cache
def film(letters: str = "DCGAN", turns: int = FEW, **changes: Any) -> dict[int, torch.Tensor]:
    chapter = program(SEED)
    return chapter["train"](chapter["pictures_of"](letters), turns, **changes)


def test_about_half_of_the_pictures_are_recognised_in_the_end_and_none_at_the_start_and_more_turns_help():
    shown = film(turns=TURNS)
    assert recognised(shown[0], "DCGAN") == 0
    assert 0.4 < recognised(shown[TURNS], "DCGAN") < 0.65
    assert recognised(shown[TURNS], "DCGAN") > recognised(shown[FEW], "DCGAN") + 0.05


def test_strokes_come_before_letters():
    """After 50 turns there is ink, as much as in real pictures by the half at least, and next to no letter."""
    early = film(turns=TURNS)[50]
    real = program(SEED)["pictures_of"]("DCGAN")
    assert early.std(dim=0).mean() > 0.5 * real.std(dim=0).mean()
    assert recognised(early, "DCGAN") < 0.1


def test_two_letters_come_sooner_than_five():
    five = recognised(film(turns=TURNS)[FEW], "DCGAN")
    assert recognised(film("XO")[FEW], "XO") > five + 0.05


def test_with_the_papers_rate_few_are_letters_after_so_few_turns():
    found = film(rate=0.0002)[FEW]
    assert recognised(found, "DCGAN") < min(0.15, recognised(film(turns=TURNS)[FEW], "DCGAN") - 0.1)


def test_with_a_discriminator_that_learns_nothing_no_picture_is_a_letter_and_all_look_alike():
    """By the mean correlation of two pictures."""
    found = film(turns=HALF_AS_FEW, opponent_learns=False)[HALF_AS_FEW]
    assert recognised(found, "DCGAN") == 0
    alike, letters = (torch.corrcoef(each.flatten(1)).mean() for each in (found, film(turns=TURNS)[HALF_AS_FEW]))
    assert alike > 0.9 > letters + 0.2


def test_each_turn_moves_its_own_network_and_no_other():
    """The discriminator's turn leaves no gradient in the generator: what `detach` is for, seen by leaving it out."""
    chapter = program(SEED)
    (source,) = (source for source in CODE if "def train" in source)
    assert source.count("fake.detach()") == 1
    noise = torch.randn(32, 32)
    for line, reaches in (("fake.detach()", False), ("fake", True)):
        generator, discriminator = chapter["two_networks"]()
        fake = generator(noise)
        chapter["error"](discriminator(fake.detach() if line != "fake" else fake), chapter["FAKE"]).backward()
        assert any(weight.grad is not None for weight in generator.parameters()) == reaches


def test_without_detach_pytorch_stops_in_the_generators_turn():
    chapter = program(SEED)
    (source,) = (source for source in CODE if "def train" in source)
    exec(source.replace("fake.detach()", "fake"), chapter)
    with pytest.raises(RuntimeError, match="second time"):
        chapter["train"](chapter["pictures_of"]("DCGAN"), 0)


def test_the_loop_is_as_short_as_it_says():
    (loop,) = (source for source in CODE if "def train" in source)
    (networks,) = (source for source in CODE if "def two_networks" in source)
    lines = [line for line in loop.split("def train", 1)[1].splitlines() if line.strip()]
    assert len(lines) <= 25
    assert len([line for line in [*loop.splitlines(), *networks.splitlines()] if line.strip()]) <= 60


def test_two_thirds_of_the_recorded_runs_pictures_are_recognised():
    assert recorded.load("glyphs32").evaluation["recognised"] == pytest.approx(2 / 3, abs=0.05)
