"""How often each player moves in one iteration of a run, counted at the optimizers themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcgan_core.config import Config
from dcgan_core.losses import GAMES
from dcgan_core.runtime import Machine
from dcgan_core.steps import update_discriminator, update_generator
from dcgan_core.train import State, advance, start

CRITIC_STEPS = 5
BATCH = 4


@pytest.fixture
def config(tiny_config: Config) -> Config:
    """A Wasserstein game with five critic updates on batches of 4."""
    return replace(
        tiny_config,
        loss="wasserstein-penalty",
        discriminator_norm="layer",
        discriminator_steps=CRITIC_STEPS,
        batch_size=BATCH,
        dropout=0.0,
    )


@pytest.fixture
def real(config: Config) -> Tensor:
    """One iteration's images; the mean of each image says which it is."""
    images = torch.arange(config.images_per_step) / config.images_per_step
    return images.view(-1, 1, 1, 1).expand(-1, 1, config.image_size, config.image_size).contiguous()


def moves(state: State, iterate, real: Tensor, machine: Machine, num_iterations: int = 1) -> str:
    """D for each step of the critic's optimizer and G for each one of the generator's, in order."""
    made: list[str] = []
    handles = [
        optimizer.register_step_post_hook(lambda *_, name=name: made.append(name))
        for name, optimizer in (("D", state.discriminator_optimizer), ("G", state.generator_optimizer))
    ]
    for _ in range(num_iterations):
        iterate(state, real, machine)
    for handle in handles:
        handle.remove()
    return "".join(made)


def assert_critic_moves_five_times_for_each_move_of_the_generator(state, iterate, real, machine) -> None:
    found = moves(state, iterate, real, machine, num_iterations=2)
    assert found == 2 * (CRITIC_STEPS * "D" + "G"), f"moves {found}"


def test_critic_is_updated_five_times_and_then_the_generator_once(config, real, cpu):
    assert_critic_moves_five_times_for_each_move_of_the_generator(start(config, cpu), advance, real, cpu)


def updated_once(state: State, real: Tensor, machine: Machine) -> None:
    """The five batches as one, as if discriminator_steps were read nowhere."""
    steps = state.config
    state.config = replace(steps, discriminator_steps=1, batch_size=BATCH * CRITIC_STEPS)
    advance(state, real, machine)
    state.config = steps


def inverted(state: State, real: Tensor, machine: Machine) -> None:
    """The generator five times for one update of the critic."""
    updated_once(state, real, machine)
    for _ in range(CRITIC_STEPS - 1):
        latents = torch.randn(BATCH, state.config.latent_size)
        update_generator(
            discriminator=state.discriminator,
            optimizer=state.generator_optimizer,
            loss_function=GAMES[state.config.loss].generator,
            fake=state.generator(latents),
        )


def generator_first(state: State, real: Tensor, machine: Machine) -> None:
    latents = torch.randn(BATCH, state.config.latent_size)
    game = GAMES[state.config.loss]
    update_generator(state.discriminator, state.generator_optimizer, game.generator, state.generator(latents))
    for part in real.chunk(CRITIC_STEPS):
        update_discriminator(
            state.discriminator, state.discriminator_optimizer, game.discriminator, part, state.generator(latents)
        )


@pytest.mark.parametrize(
    ("mutant", "found"), [(updated_once, "DGDG"), (inverted, "DGGGGG"), (generator_first, "GDDDDDG")]
)
def test_mutant_schedule_is_caught(mutant, found, config, real, cpu):
    with pytest.raises(AssertionError, match=f"moves {found}"):
        assert_critic_moves_five_times_for_each_move_of_the_generator(start(config, cpu), mutant, real, cpu)


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_number_of_critic_updates_is_that_of_the_config(num_steps, tiny_config, cpu):
    config = replace(tiny_config, discriminator_steps=num_steps, batch_size=BATCH)
    real = torch.zeros(config.images_per_step, 1, config.image_size, config.image_size)
    assert moves(start(config, cpu), advance, real, cpu) == num_steps * "D" + "G"


def test_each_critic_update_sees_real_images_of_its_own_and_all_are_seen_once(config, real, cpu):
    state, seen = start(config, cpu), []

    def look(module, inputs, output) -> None:
        seen.append(inputs[0].detach().flatten(1).mean(dim=1))

    handle = state.discriminator.register_forward_hook(look)
    advance(state, real, cpu)
    handle.remove()
    wanted = real.flatten(1).mean(dim=1)
    parts = [batch for batch in seen if len(batch) == BATCH and torch.isin(batch, wanted).all()]
    assert torch.equal(torch.cat(parts), wanted)


def test_progress_counts_every_real_image_and_one_step_for_each_iteration(config, real, cpu):
    state = start(config, cpu)
    advance(state, real, cpu)
    assert (state.step, state.images) == (1, BATCH * CRITIC_STEPS)


def test_clipped_critic_stays_within_its_limit_after_every_update(tiny_config, cpu):
    config = replace(tiny_config, loss="wasserstein-clipping", discriminator_steps=2, batch_size=BATCH)
    state = start(config, cpu)
    real = torch.zeros(config.images_per_step, 1, config.image_size, config.image_size)
    for _ in range(2):
        advance(state, real, cpu)
    largest = max(parameter.abs().max().item() for parameter in state.discriminator.parameters())
    assert largest == pytest.approx(config.clip_limit)


def test_unclipped_critic_leaves_that_limit(tiny_config, cpu):
    config = replace(tiny_config, loss="wasserstein-penalty", discriminator_norm="layer", batch_size=BATCH)
    state = start(config, cpu)
    advance(state, torch.zeros(BATCH, 1, config.image_size, config.image_size), cpu)
    assert max(parameter.abs().max().item() for parameter in state.discriminator.parameters()) > config.clip_limit
