"""Goals of the latent explorer: every way arrives, and no shorter one does."""

from __future__ import annotations

import pytest
import torch

from dcgan_core import recorded
from dcgan_core.metrics import RECOGNISED_AT
from dcgan_core.teaching import goals
from dcgan_core.teaching.goals import GOALS, Goal

SURE = 0.05  # of certainty, between what the page computes and what is computed here
ids = [f"{goal.start} to {goal.target}" for goal in GOALS]


@pytest.fixture(scope="module")
def generator():
    return recorded.load("glyphs32").generator


def of(probabilities: torch.Tensor, letter: str) -> torch.Tensor:
    return probabilities[..., ord(letter) - ord("A")]


def test_there_are_several_goals_and_no_two_are_the_same():
    assert len(GOALS) >= 4 and len({(goal.start, goal.target) for goal in GOALS}) == len(GOALS)


@pytest.mark.parametrize("goal", GOALS, ids=ids)
def test_the_way_leads_from_one_letter_to_the_other(generator, goal):
    said = goals.follow(generator, goal)
    assert len(said) == goal.fewest + 1
    assert of(said[0], goal.start) > RECOGNISED_AT + SURE
    assert goals.is_reached(said, goal.target).tolist() == [False] * goal.fewest + [True]
    assert of(said[-1], goal.target) > RECOGNISED_AT + SURE


@pytest.mark.parametrize("goal", GOALS, ids=ids)
def test_no_shorter_way_arrives(generator, goal):
    for said in goals.reachable(generator, goal.seed, goal.fewest - 1):
        assert of(said, goal.target).max() < RECOGNISED_AT - SURE


def test_the_search_sees_every_letter_of_the_map_and_the_way_is_one_of_what_it_sees(generator):
    goal = Goal(1, "S", "H", ((1, 7),))
    start, after = goals.reachable(generator, goal.seed, 1)
    assert start.shape == (1, 26) and after.shape == (81, 26)
    went = goals.follow(generator, goal)
    torch.testing.assert_close(went, torch.stack([start[0], after[7 * 9 + 1]]), atol=1e-4, rtol=1e-3)


def test_directions_are_unit_vectors_at_right_angles_and_new_for_each_move():
    start, moves = goals.opening(7, 100)
    first, second = next(moves), next(moves)
    assert start.shape == (100,) and 6 < start.norm() < 14
    for pair in (first, second):
        torch.testing.assert_close(pair @ pair.T, torch.eye(2, dtype=torch.float64))
    assert (first - second).abs().max() > 0.1


def test_the_map_has_the_present_letter_in_the_middle_and_goes_left_to_right_and_bottom_to_top():
    _, moves = goals.opening(7, 100)
    pair = next(moves)
    latent = torch.zeros(1, 100, dtype=torch.float64)
    found = goals.around(latent, pair)[0] @ pair.T  # how far along each direction
    torch.testing.assert_close(found[40], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(found[0], torch.tensor([-3.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(found[80], torch.tensor([3.0, -3.0], dtype=torch.float64))
    torch.testing.assert_close(found[1], torch.tensor([-2.25, 3.0], dtype=torch.float64))


def test_a_letter_is_reached_only_when_the_classifier_is_certain_of_it():
    said = torch.full((3, 26), 0.0)
    said[0, 7], said[1, 7], said[2, 6] = 0.95, 0.85, 0.95
    assert goals.is_reached(said, "H").tolist() == [True, False, False]
