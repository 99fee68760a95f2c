"""What one update changes, and what it leaves exactly as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dcgan_core.losses import (
    critic_loss,
    discriminator_loss,
    gradient_penalty,
    non_saturating_generator_loss,
    zero_centred_penalty,
)
from dcgan_core.models import Discriminator, Generator
from dcgan_core.steps import against, clip_weights, frozen, update_discriminator, update_generator

RATE = 0.1


class Players:
    """Two small networks with batch norm, their optimizers, and a batch of each kind."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.generator = Generator(image_size=16, channels=1, width=4, latent_size=8)
        self.discriminator = Discriminator(image_size=16, channels=1, width=4)
        self.generator_optimizer = torch.optim.SGD(self.generator.parameters(), RATE)
        self.discriminator_optimizer = torch.optim.SGD(self.discriminator.parameters(), RATE)
        self.real = torch.rand(6, 1, 16, 16) * 2 - 1
        self.latents = torch.randn(6, 8)

    def step_discriminator(self, update=update_discriminator) -> Tensor:
        fake = self.generator(self.latents)
        return update(self.discriminator, self.discriminator_optimizer, discriminator_loss, self.real, fake)

    def step_generator(self, update=update_generator, loss=non_saturating_generator_loss) -> Tensor:
        return update(self.discriminator, self.generator_optimizer, loss, self.generator(self.latents))


@pytest.fixture
def players() -> Players:
    return Players()


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def everything(network: nn.Module) -> dict[str, Tensor | None]:
    """Weights, batch-norm statistics, and the gradients left behind."""
    gradients = {f"{name} gradient": parameter.grad for name, parameter in network.named_parameters()}
    found = {**network.state_dict(), **gradients}
    return {name: None if value is None else value.clone() for name, value in found.items()}


def assert_same(before: dict[str, Tensor | None], after: dict[str, Tensor | None]) -> None:
    def equal(first: Tensor | None, second: Tensor | None) -> bool:
        return first is second is None or (first is not None and second is not None and torch.equal(first, second))

    assert [name for name in before if not equal(before[name], after[name])] == []


def assert_all_changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert [name for name in before if torch.equal(before[name], after[name])] == []


def assert_discriminator_step_leaves_generator_alone(players: Players, update) -> None:
    fake = players.generator(players.latents)
    before = everything(players.generator)
    update(players.discriminator, players.discriminator_optimizer, discriminator_loss, players.real, fake)
    assert_same(before, everything(players.generator))


def assert_generator_step_leaves_discriminator_alone(players: Players, update) -> None:
    players.step_discriminator()  # leaves gradients behind
    before = everything(players.discriminator)
    players.step_generator(update)
    assert_same(before, everything(players.discriminator))


def update_discriminator_without_detach(discriminator, optimizer, loss_function, real, fake):
    optimizer.zero_grad()
    loss_function(discriminator(real), discriminator(fake)).backward()
    optimizer.step()


def update_generator_without_freezing(discriminator, optimizer, loss_function, fake):
    optimizer.zero_grad()
    loss_function(discriminator(fake)).backward()
    optimizer.step()


def update_generator_with_all_but_statistics_frozen(discriminator, optimizer, loss_function, fake):
    discriminator.requires_grad_(False)
    update_generator_without_freezing(discriminator, optimizer, loss_function, fake)
    discriminator.requires_grad_(True)


def test_discriminator_step_leaves_generator_unchanged(players):
    assert_discriminator_step_leaves_generator_alone(players, update_discriminator)


def test_mutant_without_detach_is_caught(players):
    with pytest.raises(AssertionError, match="gradient"):
        assert_discriminator_step_leaves_generator_alone(players, update_discriminator_without_detach)


def test_generator_step_leaves_discriminator_unchanged(players):
    assert_generator_step_leaves_discriminator_alone(players, update_generator)


@pytest.mark.parametrize("mutant", [update_generator_without_freezing, update_generator_with_all_but_statistics_frozen])
def test_mutant_without_freezing_is_caught(players, mutant):
    with pytest.raises(AssertionError, match="running_mean"):
        assert_generator_step_leaves_discriminator_alone(players, mutant)


def against_without_freezing(real, discriminator, loss_function):
    real_logits = discriminator(real).detach()
    return lambda fake_logits: loss_function(fake_logits, real_logits)


def assert_real_images_are_judged_as_they_are_now_and_leave_no_trace(players: Players, against) -> None:
    players.step_discriminator()
    before = everything(players.discriminator)
    expected = copy.deepcopy(players.discriminator)(players.real)  # train mode: by the statistics of this batch
    seen = []
    loss = against(players.real, players.discriminator, lambda fake_logits, real_logits: seen.append(real_logits))
    assert_same(before, everything(players.discriminator))
    loss(torch.zeros(6))
    torch.testing.assert_close(seen[0], expected.detach(), rtol=0, atol=0)
    assert not seen[0].requires_grad


def test_real_images_are_judged_as_they_are_now_and_leave_no_trace(players):
    assert_real_images_are_judged_as_they_are_now_and_leave_no_trace(players, against)


def test_mutant_whose_real_images_leave_statistics_behind_is_caught(players):
    with pytest.raises(AssertionError, match="running_mean"):
        assert_real_images_are_judged_as_they_are_now_and_leave_no_trace(players, against_without_freezing)


def test_each_step_changes_every_weight_of_its_own_player(players):
    before = weights(players.discriminator)
    players.step_discriminator()
    assert_all_changed(before, weights(players.discriminator))
    before = weights(players.generator)
    players.step_generator()
    assert_all_changed(before, weights(players.generator))


def test_a_generator_loss_that_raises_leaves_the_discriminator_as_it_was(players):
    def broken(logits: Tensor) -> Tensor:
        raise ZeroDivisionError

    players.step_discriminator()
    before = everything(players.discriminator)
    with pytest.raises(ZeroDivisionError):
        players.step_generator(loss=broken)
    assert_same(before, everything(players.discriminator))
    before = everything(players.discriminator)
    players.step_discriminator()
    assert_all_changed(before, everything(players.discriminator))


def test_discriminator_step_is_gradient_descent_on_its_loss(players):
    """Against the same written by hand: two separate passes, the gradient of the sum, one step against it."""
    judge = copy.deepcopy(players.discriminator)
    fake = players.generator(players.latents).detach()
    loss = discriminator_loss(judge(players.real), judge(fake))
    gradients = torch.autograd.grad(loss, list(judge.parameters()))
    expected = [weight - RATE * gradient for weight, gradient in zip(judge.parameters(), gradients, strict=True)]

    returned = players.step_discriminator()
    assert returned == loss.detach() and not returned.requires_grad
    torch.testing.assert_close(list(players.discriminator.parameters()), expected)


def test_generator_step_is_gradient_descent_on_its_loss(players):
    judge = copy.deepcopy(players.discriminator)
    loss = non_saturating_generator_loss(judge(players.generator(players.latents)))
    gradients = torch.autograd.grad(loss, list(players.generator.parameters()))
    expected = [
        weight - RATE * gradient for weight, gradient in zip(players.generator.parameters(), gradients, strict=True)
    ]

    returned = players.step_generator()
    assert returned == loss.detach() and not returned.requires_grad
    torch.testing.assert_close(list(players.generator.parameters()), expected)


def test_gradients_do_not_pile_up_from_step_to_step(players):
    twin = copy.deepcopy(players)
    for _ in range(3):
        players.step_discriminator()
        players.step_generator()
        twin.step_discriminator()
        twin.step_generator()
        for parameter in [*twin.generator.parameters(), *twin.discriminator.parameters()]:
            parameter.grad = None
    assert_same(weights(players.generator), weights(twin.generator))
    assert_same(weights(players.discriminator), weights(twin.discriminator))


def test_real_and_fake_pass_the_discriminator_separately(players):
    """Passed as one batch, batch norm would mix their statistics, and count one batch instead of two."""
    players.step_discriminator()
    counts = {int(value) for name, value in players.discriminator.state_dict().items() if "num_batches" in name}
    assert counts == {2}


def test_frozen_lets_gradients_through_and_uses_the_statistics_of_the_batch(players):
    images = players.generator(players.latents).detach().requires_grad_()
    twin = copy.deepcopy(players.discriminator)
    free = torch.autograd.grad(twin(images).sum(), images)[0]
    with frozen(players.discriminator):
        still = torch.autograd.grad(players.discriminator(images).sum(), images)[0]
    torch.testing.assert_close(still, free)


def test_frozen_gives_back_exactly_what_it_took(players):
    """A layer that was frozen before stays frozen after, and a network in eval mode stays in eval mode."""
    players.discriminator.eval()
    first = next(players.discriminator.parameters()).requires_grad_(False)
    with frozen(players.discriminator):
        assert not any(parameter.requires_grad for parameter in players.discriminator.parameters())
    assert [parameter for parameter in players.discriminator.parameters() if not parameter.requires_grad] == [first]
    assert not players.discriminator.training


def test_autocast_is_used_for_the_passes_and_leaves_the_losses_in_float32(players):
    seen = []
    players.discriminator.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    fake = players.generator(players.latents)
    for update, batches in ((update_discriminator, (players.real, fake)), (update_generator, (fake,))):
        is_first = update is update_discriminator
        loss = update(
            players.discriminator,
            players.discriminator_optimizer if is_first else players.generator_optimizer,
            discriminator_loss if is_first else non_saturating_generator_loss,
            *batches,
            autocast=torch.autocast("cpu", torch.bfloat16),
        )
        assert loss.dtype == torch.float32
    assert seen == [torch.bfloat16] * 3


def a_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Any function of the three that has a gradient for every weight."""
    sizes = sum(parameter.square().sum() for parameter in discriminator.parameters())
    return 3 * sizes + (real.mean() - fake.mean()) ** 2


def assert_penalty_is_minimised_but_not_returned(players: Players, update) -> None:
    judge = copy.deepcopy(players.discriminator)
    fake = players.generator(players.latents)
    loss = discriminator_loss(judge(players.real), judge(fake.detach()))
    total = loss + a_penalty(judge, players.real, fake.detach())
    gradients = torch.autograd.grad(total, list(judge.parameters()))
    expected = [weight - RATE * gradient for weight, gradient in zip(judge.parameters(), gradients, strict=True)]
    returned = update(
        players.discriminator,
        players.discriminator_optimizer,
        discriminator_loss,
        players.real,
        fake,
        penalty=a_penalty,
    )
    assert returned == loss.detach(), "returned"
    for weight, value in zip(players.discriminator.parameters(), expected, strict=True):
        torch.testing.assert_close(weight, value, msg="minimised")


def test_a_penalty_is_added_to_what_is_minimised_but_not_to_what_is_returned(players):
    assert_penalty_is_minimised_but_not_returned(players, update_discriminator)


def update_that_forgets_the_penalty(*arguments, penalty):
    return update_discriminator(*arguments)


def update_that_returns_the_penalty(discriminator, optimizer, loss_function, real, fake, *, penalty):
    before = penalty(discriminator, real, fake.detach()).detach()
    return before + update_discriminator(discriminator, optimizer, loss_function, real, fake, penalty=penalty)


@pytest.mark.parametrize(
    ("mutant", "message"),
    [(update_that_forgets_the_penalty, "minimised"), (update_that_returns_the_penalty, "returned")],
)
def test_mutant_penalty_is_caught(players, mutant, message):
    with pytest.raises(AssertionError, match=message):
        assert_penalty_is_minimised_but_not_returned(players, mutant)


def test_the_penalty_sees_detached_float32_images_outside_autocast(players):
    seen = []

    def penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        seen.append((real.dtype, fake.dtype, fake.requires_grad, torch.is_autocast_enabled("cpu")))
        return gradient_penalty(discriminator, real, fake)

    critic = Discriminator(image_size=16, channels=1, width=4, norm="layer")
    update_discriminator(
        discriminator=critic,
        optimizer=torch.optim.SGD(critic.parameters(), RATE),
        loss_function=critic_loss,
        real=players.real,
        fake=players.generator(players.latents).bfloat16(),
        penalty=penalty,
        autocast=torch.autocast("cpu", torch.bfloat16),
    )
    assert seen == [(torch.float32, torch.float32, False, False)]
    assert all(parameter.grad is None for parameter in players.generator.parameters())


@pytest.mark.parametrize("r1", [None, 2.0])
@pytest.mark.parametrize("r2", [None, 3.0])
@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_all_penalties_are_minimised_together_with_the_loss(players, r1, r2, weight):
    """Each at its own images; by hand they are added up from three ordinary forward passes."""
    critic = Discriminator(image_size=16, channels=1, width=4, norm="none", initialisation="he")
    fake = players.generator(players.latents)
    mix = torch.full((len(fake), 1, 1, 1), 0.3)

    def penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return weight * gradient_penalty(discriminator, real, fake, mix=mix)

    by_hand = copy.deepcopy(critic)
    real, detached = players.real.clone(), fake.detach()
    total = discriminator_loss(by_hand(real), by_hand(detached)) + penalty(by_hand, real, detached)
    for gamma, samples in ((r1, real), (r2, detached)):
        total = total + (gamma or 0) * zero_centred_penalty(by_hand, samples)
    total.backward()

    loss = update_discriminator(
        discriminator=critic,
        optimizer=torch.optim.SGD(critic.parameters(), RATE),
        loss_function=discriminator_loss,
        real=players.real,
        fake=fake,
        penalty=penalty if weight else None,
        r1=None if r1 is None else torch.tensor(r1),
        r2=None if r2 is None else torch.tensor(r2),
    )
    assert not loss.requires_grad
    assert not players.real.requires_grad and players.real.grad is None
    assert all(parameter.grad is None for parameter in players.generator.parameters())
    for found, expected in zip(critic.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(found.grad, expected.grad, rtol=1e-4, atol=1e-6)


def test_clipping_moves_only_the_weights_beyond_the_limit_and_only_to_it(players):
    before = weights(players.discriminator)
    clip_weights(players.discriminator, 0.01)
    for name, value in weights(players.discriminator).items():
        by_hand = [max(-0.01, min(0.01, number)) for number in before[name].flatten().tolist()]
        torch.testing.assert_close(value.flatten(), torch.tensor(by_hand), rtol=0, atol=0)
    after = torch.cat([value.flatten() for value in weights(players.discriminator).values()])
    assert after.abs().max() == torch.tensor(0.01) and (after.abs() < 0.01).any()


def test_clipping_leaves_statistics_and_what_learns_as_they_were(players):
    players.step_discriminator()
    before = {name: value.clone() for name, value in players.discriminator.named_buffers()}
    clip_weights(players.discriminator, 1e-3)
    assert_same(before, dict(players.discriminator.named_buffers()))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in players.discriminator.parameters())


def test_a_spectral_norm_that_was_in_eval_mode_stays_in_it():
    """There it must not go on estimating, so that an image is judged the same every time."""
    judge = Discriminator(image_size=16, channels=1, width=4, spectral_norm=True).eval()
    with frozen(judge):
        pass
    assert not any(module.training for module in judge.modules())
