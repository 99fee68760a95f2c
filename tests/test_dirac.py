"""The Dirac game against its closed forms: how it moves, its eigenvalues, and where its paths lead."""

from __future__ import annotations

import math

import pytest
import torch

from dcgan_core.config import InvalidInput
from dcgan_core.laboratory.dirac import LOSSES, DiracGame, eigenvalues, play, velocity

DOUBLE = {"dtype": torch.float64}
POSITIONS = torch.tensor([[1.0, 0.5], [-0.3, 2.0], [0.0, 0.0], [2.0, -1.5]], **DOUBLE)
START = torch.tensor([1.0, 1.0], **DOUBLE)
PULL = {"minimax": 0.5, "non-saturating": 0.5, "Wasserstein": 1.0, "relativistic": 0.5}  # |f'(0)|


def by_hand(game: DiracGame, theta: float, psi: float) -> tuple[float, float]:
    """The gradients, written down; without noise."""
    sigmoid = 1 / (1 + math.exp(-theta * psi))  # what D says of the fake point
    along = {"minimax": sigmoid, "non-saturating": 1 - sigmoid, "Wasserstein": 1.0, "relativistic": 1 - sigmoid}
    of_psi = 1.0 if game.loss == "Wasserstein" else sigmoid
    return along[game.loss] * psi, -of_psi * theta - (game.r1_gamma + game.r2_gamma) * psi


@pytest.mark.parametrize("loss", LOSSES)
def test_players_move_as_the_gradients_by_hand_say(loss):
    for gammas in ({}, {"r1_gamma": 0.7}, {"r2_gamma": 0.7}, {"r1_gamma": 0.7, "r2_gamma": 0.2}):
        game = DiracGame(loss=loss, **gammas)
        expected = torch.tensor([by_hand(game, *each) for each in POSITIONS.tolist()], **DOUBLE)
        torch.testing.assert_close(velocity(game, POSITIONS), expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.4, 0.9, 1.1, 2.5])
def test_eigenvalues_are_those_of_the_closed_form(loss, gamma):
    """-gamma / 2 +- sqrt(gamma^2 / 4 - f'(0)^2), the paper's lemma on gradient penalties."""
    root = torch.tensor(gamma**2 / 4 - PULL[loss] ** 2, dtype=torch.complex128).sqrt()
    expected = torch.stack([-gamma / 2 + root, -gamma / 2 - root])
    for game in (DiracGame(loss=loss, r1_gamma=gamma), DiracGame(loss=loss, r2_gamma=gamma)):
        found = eigenvalues(game)
        assert min((found - each).abs().max() for each in (expected, expected.flip(0))) < 1e-12


@pytest.mark.parametrize("noise", [0.5, 1.0, 1.4, 1.5])
def test_instance_noise_acts_near_the_equilibrium_as_a_penalty_of_half_its_variance(noise):
    """f''(0) sigma^2 +- sqrt(f''(0)^2 sigma^4 - f'(0)^2) with f''(0) = -1/4, the paper's lemma on instance noise."""
    found = eigenvalues(DiracGame(loss="minimax", noise=noise))
    root = torch.tensor(noise**4 / 16 - 1 / 4, dtype=torch.complex128).sqrt()
    expected = torch.stack([-(noise**2) / 4 + root, -(noise**2) / 4 - root])
    assert min((found - each).abs().max() for each in (expected, expected.flip(0))) < 1e-12
    penalised = eigenvalues(DiracGame(loss="minimax", r1_gamma=noise**2 / 2))
    assert min((found - each).abs().max() for each in (penalised, penalised.flip(0))) < 1e-12


def test_noise_is_none_to_the_wasserstein_game():
    """Its losses are linear, so points that are shifted evenly cancel out."""
    torch.testing.assert_close(
        velocity(DiracGame(loss="Wasserstein", noise=1.0), POSITIONS), velocity(DiracGame("Wasserstein"), POSITIONS)
    )


def test_the_wasserstein_game_goes_round_in_turns_and_out_at_once():
    """Its steps are linear maps; those in turns keep h theta psi - theta^2 - psi^2, those at once grow by 1 + h^2."""
    rate, game = 0.1, DiracGame("Wasserstein")
    theta, psi = play(game, START, rate=rate, num_steps=200, in_turns=True).unbind(dim=-1)
    kept = theta**2 + psi**2 - rate * theta * psi
    torch.testing.assert_close(kept, torch.full_like(kept, kept[0].item()))
    radii = play(game, START, rate=rate, num_steps=50, in_turns=False).norm(dim=-1)
    torch.testing.assert_close(radii[1:] / radii[:-1], torch.full((50,), math.sqrt(1 + rate**2), **DOUBLE))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("in_turns", [False, True])
def test_with_a_penalty_all_arrive(loss, in_turns):
    path = play(DiracGame(loss, r1_gamma=0.6), START, rate=0.25, num_steps=120, in_turns=in_turns)
    assert path[-1].norm() < 0.02


def test_the_minimax_game_flows_in_circles():
    """Both move with the same factor, at right angles to the position; in time that flows, no distance changes."""
    moves = velocity(DiracGame("minimax"), POSITIONS)
    torch.testing.assert_close((moves * POSITIONS).sum(dim=1), torch.zeros(4, **DOUBLE))


def test_the_non_saturating_game_creeps_inwards_as_one_over_the_root_of_time():
    """d(r^2)/dt = -2 x tanh(x / 2) with x = theta psi; a turn's mean is -r^4 / 8 near the centre, so 1 / r^2 grows by
    1 / 8 per unit of time. At once, steps of h push outwards by h r^2 / 4, and the two balance where r^2 = 2 h."""
    moves, x = velocity(DiracGame(), POSITIONS), POSITIONS.prod(dim=1)
    torch.testing.assert_close((moves * POSITIONS).sum(dim=1), -x * (x / 2).tanh())
    radii = play(DiracGame(), 0.3 * START, rate=0.4, num_steps=300, in_turns=True).norm(dim=-1)
    grown = (1 / radii[-31:].square().mean() - 1 / radii[:31].square().mean()) / (0.4 * 270)  # 31 steps are a turn
    assert grown == pytest.approx(1 / 8, rel=0.05)


def test_non_saturating_players_that_move_at_once_settle_on_a_circle_that_depends_on_the_step():
    path = play(DiracGame(), torch.tensor([[0.3, 0.3], [0.8, 0.8]], **DOUBLE), rate=0.2, num_steps=300, in_turns=False)
    assert path[-63:].norm(dim=-1).mean(dim=0).tolist() == pytest.approx([math.sqrt(2 * 0.2)] * 2, rel=0.1)


def test_one_point_cannot_tell_pairing_from_the_non_saturating_game():
    torch.testing.assert_close(velocity(DiracGame("relativistic"), POSITIONS), velocity(DiracGame(), POSITIONS))


def test_many_paths_are_those_taken_one_by_one_and_end_without_a_graph():
    game = DiracGame("minimax", r1_gamma=0.3, noise=0.5)
    together = play(game, POSITIONS, rate=0.2, num_steps=20, in_turns=True)
    assert together.shape == (21, 4, 2) and not together.requires_grad
    for place, start in enumerate(POSITIONS):
        torch.testing.assert_close(together[:, place], play(game, start, rate=0.2, num_steps=20, in_turns=True))


def test_in_turns_the_line_moves_first():
    first = play(DiracGame("Wasserstein"), START, rate=0.1, num_steps=1, in_turns=True)[1]
    torch.testing.assert_close(first, torch.tensor([1.0 + 0.1 * 0.9, 0.9], **DOUBLE))


@pytest.mark.parametrize("wrong", [{"loss": "hinge"}, {"r1_gamma": -1.0}, {"noise": math.nan}])
def test_other_games_are_refused_in_one_sentence(wrong):
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))} is"):
        DiracGame(**wrong)
