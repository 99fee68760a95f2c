"""Tests for a script that trains a GAN: copy them into a project of your own, and change the names to yours.

Each gets the script as a module. With pytest, write a fixture `script` that imports yours. Each states one fact, in a
way that does not depend on the others: a test that fails points at one mistake. They take a few updates of small
networks on random pixels, so they need neither data nor time.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dcgan_core.metrics import letter_classifier

SMALL = 1e-4  # a rate at which a step goes straight downhill


def pixels(num_images: int, seed: int = 0) -> Tensor:
    """Random images, uint8 (N, 1, 16, 16), that are bright in one half."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 64, (num_images, 1, 16, 16), generator=rng)
    images[:, :, :8] += 190
    return images.to(torch.uint8)


def begun(script: Any, rate: float | None = None) -> Any:
    """A training that has not made an update yet."""
    script.BATCH_SIZE = 8
    training = script.Training(pixels(32), pixels(16, seed=1), seed=0)
    for optimizer in (training.generator_optimizer, training.discriminator_optimizer):
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] if rate is None else rate
    return training


def weights(network: nn.Module) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in network.state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


# Turns


def test_the_discriminators_turn_changes_the_discriminator(script: Any) -> None:
    training = begun(script)
    before = weights(training.discriminator)
    training.update_discriminator(training.batch())
    assert not same(weights(training.discriminator), before)


def test_the_discriminators_turn_leaves_no_gradient_in_the_generator(script: Any) -> None:
    training = begun(script)
    training.update_discriminator(training.batch())
    assert all(weight.grad is None or not weight.grad.any() for weight in training.generator.parameters())


def test_the_generators_turn_leaves_the_discriminator_alone(script: Any) -> None:
    training = begun(script)
    before = weights(training.discriminator)
    training.update_generator(8)
    assert same(weights(training.discriminator), before)


@torch.no_grad()
def _gap(judge: nn.Module, real: Tensor, fake: Tensor) -> float:
    return float(judge(real).mean() - judge(fake).mean())


def test_the_discriminators_turn_tells_real_from_fake_better(script: Any) -> None:
    training = begun(script, rate=SMALL)
    real, state = training.batch(), training.rng.get_state()
    with torch.no_grad():
        fake = training.generator(training.latents(8))
    training.rng.set_state(state)  # the turn draws the same latents again
    before = _gap(training.discriminator, real, fake)
    training.update_discriminator(real)
    assert _gap(training.discriminator, real, fake) >= before


def test_the_generators_turn_makes_its_fakes_more_convincing(script: Any) -> None:
    training = begun(script, rate=SMALL)
    judge, state = copy.deepcopy(training.discriminator), training.rng.get_state()
    latents = training.latents(8)
    training.rng.set_state(state)
    with torch.no_grad():
        before = judge(training.generator(latents)).mean()
        with torch.enable_grad():
            training.update_generator(8)
        assert judge(training.generator(latents)).mean() >= before


def test_a_turn_forgets_the_gradients_of_earlier_turns(script: Any) -> None:
    training = begun(script, rate=0.0)
    state, found = training.rng.get_state(), []
    for _ in range(2):  # twice the same turn
        training.rng.set_state(state)
        training.update_discriminator(training.batch())
        found.append([weight.grad.clone() for weight in training.discriminator.parameters()])
    assert same(*found)


# Networks and losses


def test_logits_have_no_bounds(script: Any) -> None:
    discriminator = script.make_discriminator()
    last = [layer for layer in discriminator.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight *= 1000
        assert discriminator(torch.randn(8, 1, 16, 16)).abs().max() > 1


def _images_with_layer_times_ten(script: Any, place: int) -> tuple[Tensor, Tensor]:
    """Images of a generator before and after one of its layers has weights ten times as large."""
    torch.manual_seed(0)
    generator, latents = script.make_generator(), torch.randn(8, script.LATENT_SIZE)
    layers = [layer for layer in generator.modules() if isinstance(layer, (nn.Linear, nn.ConvTranspose2d))]
    with torch.no_grad():
        before = generator(latents)
        layers[place].weight *= 10
        return before, generator(latents)


def test_batch_normalisation_takes_any_scale_away(script: Any) -> None:
    before, after = _images_with_layer_times_ten(script, 0)
    assert (after - before).abs().max() < 0.1 * before.std()


def test_only_tanh_limits_the_contrast(script: Any) -> None:
    before, after = _images_with_layer_times_ten(script, -1)
    assert after.std() > 1.5 * before.std()


def test_constructed_weights_are_drawn_as_the_paper_says(script: Any) -> None:
    for layer in script.make_generator().modules():
        if isinstance(layer, (nn.Linear, nn.ConvTranspose2d)):
            assert 0.015 < layer.weight.std() < 0.025


class _Sum(nn.Module):
    """A discriminator whose slope is 1 at every pixel."""

    def __init__(self, level: float = 0.0) -> None:
        super().__init__()
        self.slope, self.level = nn.Parameter(torch.ones(())), level

    def forward(self, images: Tensor) -> Tensor:
        return self.slope * images.flatten(1).sum(dim=1) + self.level


def test_the_penalty_adds_up_over_the_pixels(script: Any) -> None:
    small, large = (script.penalty(_Sum(), torch.zeros(4, 1, size, size)).item() for size in (8, 16))
    assert abs(large / small - 4) < 1e-4


def test_the_penalty_depends_on_slopes_alone(script: Any) -> None:
    low, high = (script.penalty(_Sum(level), torch.zeros(4, 1, 16, 16)).item() for level in (0.0, 5.0))
    assert abs(high / low - 1) < 1e-4


def test_the_penalty_has_a_gradient(script: Any) -> None:
    assert script.penalty(_Sum(), torch.zeros(4, 1, 16, 16)).requires_grad


# Data, samples and numbers


def test_real_images_fill_the_range_of_tanh(script: Any) -> None:
    assert script.scale(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_every_epoch_has_an_order_of_its_own(script: Any) -> None:
    training = begun(script)
    first = training.batch()
    training.step += len(training.images) // script.BATCH_SIZE
    assert not torch.equal(training.batch(), first)


def test_the_average_follows_the_running_statistics(script: Any) -> None:
    training = begun(script)
    training.update(training.batch())
    for now, average in zip(training.generator.modules(), training.average.modules(), strict=True):
        if isinstance(now, nn.BatchNorm2d):
            assert now.running_mean is not None and average.running_mean is not None
            assert 0 < average.running_mean.abs().sum() < now.running_mean.abs().sum()


def test_a_latent_gives_the_same_image_in_any_company(script: Any) -> None:
    training = begun(script)
    latents = torch.randn(8, script.LATENT_SIZE)
    assert torch.allclose(training.sample(latents)[:1], training.sample(latents[:1]), atol=1e-5)


def test_bright_edges_stay_bright_in_the_picture(script: Any) -> None:
    image = torch.full((1, 1, 16, 16), -1.0)
    image[..., 8:] = 1
    saved = script.picture(image).int()
    assert saved[:, 27:].min() > 200 and saved[:, :21].max() < 55


def test_a_faint_image_is_saved_as_a_faint_one(script: Any) -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[..., 8:] = 0.1
    saved = script.picture(image).int()
    assert saved.max() - saved.min() < 30


def test_the_distance_agrees_with_an_independent_one(script: Any) -> None:
    sets = [pixels(40, seed).float() / 127.5 - 1 for seed in (0, 1)]
    sets[1] = sets[1].flip(2)
    with torch.no_grad():
        features = [letter_classifier().features(images).double().numpy() for images in sets]
    difference = features[0].mean(axis=0) - features[1].mean(axis=0)
    first, second = (np.cov(each, rowvar=False) for each in features)
    roots = np.sqrt(np.abs(np.linalg.eigvals(first @ second)))
    expected = difference @ difference + np.trace(first) + np.trace(second) - 2 * roots.sum()
    assert abs(script.distance(*sets) / expected - 1) < 0.01


# Around the loop


def test_a_stopped_training_goes_on_as_if_it_had_never_stopped(script: Any) -> None:
    never, again = begun(script), begun(script)
    never.train(2)
    again.restore(never.state())
    never.generator.zero_grad()  # gradients are cleared before they are used, so they are no part of the state
    never.discriminator.zero_grad()
    for training in (never, again):
        training.train(2)
    assert same(weights(never.generator), weights(again.generator))


def test_the_best_generator_is_kept(script: Any) -> None:
    training = begun(script)
    for measured in (5.0, 3.0, 4.0):
        training.keep_best(measured)
    assert training.best_distance == 3 and training.best


def _accumulator(weight: Tensor) -> Any:
    """The node of autograd that adds up this weight's gradient: it lives as long as a graph needs it."""
    graph: Any = weight.view_as(weight).grad_fn
    return graph.next_functions[0][0]


def test_the_record_says_how_the_updates_were_made(script: Any) -> None:
    training = begun(script)

    def strict(turns: Any) -> Any:  # as a GPU is, where an accumulator from before breaks the recording
        for weight in training.generator.parameters():
            _accumulator(weight).metadata["from before"] = True
        if any("from before" in _accumulator(weight).metadata for weight in training.generator.parameters()):
            raise RuntimeError("a graph from before the recording is still alive")
        return turns

    def refuses(turns: Any) -> Any:
        raise RuntimeError("no graph today")

    training.prepare(strict)
    assert training.made == "recorded"
    training.prepare(refuses)
    assert "no graph today" in training.made
