"""What is claimed of the two presets of `dcgan_core.laboratory.ensemble`: one collapses, one does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcgan_core.laboratory.ensemble import COLLAPSES, COVERS, MIXTURES, History, train

SEEDS = range(5)  # one batch


@pytest.fixture(scope="module")
def covering(one_thread: None) -> History:
    return train(COVERS, SEEDS)


@pytest.fixture(scope="module")
def collapsing(one_thread: None) -> History:
    return train(COLLAPSES, SEEDS)


def nearest_shares(history: History) -> Tensor:
    """Share of the samples that are nearest to each mode, good or not: (T, S, 8)."""
    mode, _ = MIXTURES["ring"]().nearest(history.samples)
    return torch.nn.functional.one_hot(mode, 8).double().mean(dim=2)


def assert_collapsed(history: History) -> None:
    """At every look after the start, not only at the end."""
    assert (history.statistics.covered[1:].median(dim=1).values <= 3).all(), history.statistics.covered


def assert_covering(history: History) -> None:
    assert history.statistics.covered[-1].median() >= 6, history.statistics.covered


def test_the_plain_gan_covers_at_most_3_of_8_modes_in_the_median_with_the_collapsing_preset(collapsing, covering):
    assert_collapsed(collapsing)
    with pytest.raises(AssertionError):
        assert_collapsed(covering)


def test_the_plain_gan_covers_at_least_6_of_8_modes_in_the_median_with_the_covering_preset(collapsing, covering):
    assert_covering(covering)
    with pytest.raises(AssertionError):
        assert_covering(collapsing)


def test_the_presets_differ_in_activation_and_learning_rate_only():
    assert replace(COLLAPSES, activation="tanh", discriminator_learning_rate=1e-3) == COVERS


def test_collapsed_samples_crowd_around_one_mode_and_covering_ones_do_not(collapsing, covering):
    """The median over seeds and looks."""
    assert nearest_shares(collapsing)[1:].amax(dim=-1).median() > 0.7
    assert nearest_shares(covering)[-1].amax(dim=-1).median() < 0.3


def test_the_mode_that_collapsed_samples_crowd_around_changes_while_they_train(collapsing):
    """In most seeds, over four looks."""
    favourite = nearest_shares(collapsing)[1:].argmax(dim=-1)  # (4, S)
    assert (favourite != favourite[0]).any(dim=0).sum() >= 3, favourite


def test_covering_modes_is_not_hitting_them(covering):
    """Every mode has samples, but not a third of all samples lies within 3 sigma of a centre."""
    assert covering.statistics.good[-1].median() < 1 / 3
