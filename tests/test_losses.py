"""Losses against the formula in the paper, against each other, and at the edge of what floats can hold."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dcgan_core.losses import GAMES, discriminator_loss, minimax_generator_loss, non_saturating_generator_loss


def textbook_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return -(real_logits.sigmoid().log() + (1 - fake_logits.sigmoid()).log()).mean()


def textbook_minimax_loss(fake_logits: Tensor) -> Tensor:
    return (1 - fake_logits.sigmoid()).log().mean()


def textbook_non_saturating_loss(fake_logits: Tensor) -> Tensor:
    return -fake_logits.sigmoid().log().mean()


GENERATOR_LOSSES = [minimax_generator_loss, non_saturating_generator_loss]
TEXTBOOK = {
    minimax_generator_loss: textbook_minimax_loss,
    non_saturating_generator_loss: textbook_non_saturating_loss,
}


def logits(num: int = 101, seed: int = 0) -> Tensor:
    return torch.randn(num, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 4


def value_and_gradient(loss, at: float, dtype: torch.dtype = torch.float32) -> tuple[float, float]:
    logit = torch.tensor([at], dtype=dtype, requires_grad=True)
    value = loss(logit)
    value.backward()
    return value.item(), logit.grad.item()


def assert_finite_at_extreme_logits(loss) -> None:
    for at in (-1e4, -200.0, 200.0, 1e4):
        assert all(map(math.isfinite, value_and_gradient(loss, at))), f"not finite at {at}"


def test_discriminator_loss_is_the_formula_of_the_paper():
    real, fake = logits(seed=1), logits(seed=2)
    torch.testing.assert_close(discriminator_loss(real, fake), textbook_discriminator_loss(real, fake))


@pytest.mark.parametrize("loss", GENERATOR_LOSSES)
def test_generator_loss_is_the_formula_of_the_paper(loss):
    fake = logits()
    torch.testing.assert_close(loss(fake), TEXTBOOK[loss](fake))


@pytest.mark.parametrize("loss", GENERATOR_LOSSES)
def test_generator_loss_has_the_derivative_of_the_formula(loss):
    fake = logits().requires_grad_()
    assert torch.autograd.gradcheck(loss, fake)


def test_losses_of_a_discriminator_that_cannot_tell():
    undecided = torch.zeros(7, dtype=torch.float64)
    assert discriminator_loss(undecided, undecided).item() == pytest.approx(2 * math.log(2))
    assert minimax_generator_loss(undecided).item() == pytest.approx(-math.log(2))
    assert non_saturating_generator_loss(undecided).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("loss", GENERATOR_LOSSES)
def test_generator_loss_and_gradient_are_finite_where_the_discriminator_is_sure(loss):
    assert_finite_at_extreme_logits(loss)


def test_discriminator_loss_and_gradient_are_finite_where_it_is_sure():
    assert_finite_at_extreme_logits(lambda logit: discriminator_loss(logit, -logit))
    assert_finite_at_extreme_logits(lambda logit: discriminator_loss(logit, logit))


@pytest.mark.parametrize("mutant", [textbook_minimax_loss, textbook_non_saturating_loss])
def test_mutant_log_of_sigmoid_overflows(mutant):
    with pytest.raises(AssertionError, match="not finite"):
        assert_finite_at_extreme_logits(mutant)


def test_a_wrong_and_sure_discriminator_pays_its_logit():
    wrong = torch.tensor([1e4], dtype=torch.float64)
    assert discriminator_loss(-wrong, wrong).item() == 2e4
    assert discriminator_loss(wrong, -wrong).item() == 0


def test_minimax_gradient_vanishes_where_the_non_saturating_one_does_not():
    _, minimax = value_and_gradient(minimax_generator_loss, -20.0, torch.float64)
    _, non_saturating = value_and_gradient(non_saturating_generator_loss, -20.0, torch.float64)
    assert minimax == pytest.approx(-1 / (1 + math.exp(20)))
    assert non_saturating == pytest.approx(-1, abs=1e-8)


@pytest.mark.parametrize("at", [-20.0, -1.0, 0.0, 1.0, 20.0])
def test_both_generator_losses_push_the_logit_the_same_way(at):
    assert all(value_and_gradient(loss, at, torch.float64)[1] < 0 for loss in GENERATOR_LOSSES)


def test_minimax_players_play_a_zero_sum_game():
    fake = logits()
    certain = torch.full_like(fake, 1e4)  # real images that cost the discriminator nothing
    assert GAMES["minimax"].generator(fake) == -GAMES["minimax"].discriminator(certain, fake)


def test_minimax_and_non_saturating_are_played_against_the_same_discriminator_loss():
    assert GAMES["minimax"].discriminator is GAMES["non-saturating"].discriminator is discriminator_loss
    assert GAMES["non-saturating"].generator is non_saturating_generator_loss


def test_losses_are_means_over_the_batch():
    real, fake = logits(seed=1), logits(seed=2)
    torch.testing.assert_close(discriminator_loss(real.repeat(3), fake.repeat(3)), discriminator_loss(real, fake))
    assert discriminator_loss(real, fake).shape == ()
