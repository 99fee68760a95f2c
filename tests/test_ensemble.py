"""Many seeds as one batch: the same numbers as one seed after the other with ordinary networks."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

pytest.importorskip("scipy")  # the laboratory needs it; what trains a GAN does not

from dcgan_core.config import Config, InvalidInput
from dcgan_core.laboratory import ensemble, stacked
from dcgan_core.laboratory.ensemble import MIXTURES, PointConfig, advance, build, start, train
from dcgan_core.laboratory.mixtures import PointDiscriminator, PointGenerator, mode_statistics
from dcgan_core.laboratory.stacked import stack
from dcgan_core.losses import GAMES, gradient_penalty
from dcgan_core.steps import clip_weights, update_discriminator
from dcgan_core.unrolled import update_generator_unrolled

TINY = PointConfig(
    latent_size=3,
    generator_width=8,
    discriminator_width=8,
    batch_size=16,
    total_steps=7,
    snapshot_every_steps=3,
    snapshot_samples=50,
    discriminator_learning_rate=3e-3,
)
SEEDS = (3, 0, 8)
DOUBLE = torch.float64


def one_seed(config: PointConfig, seed: int) -> tuple[Tensor, Tensor]:
    """Samples (T, N, 2) and losses (2, total_steps) of ordinary networks and optimizers, one seed alone."""
    rng = torch.Generator().manual_seed(seed)
    generator, discriminator = (network.double() for network in build(config, rng))
    draw = partial(torch.randn, generator=rng, dtype=DOUBLE)
    mixture, game = MIXTURES[config.mixture](), GAMES[config.loss]

    def adam(network: torch.nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), rate, (config.beta1, config.beta2), fused=False, foreach=False)

    generator_optimizer = adam(generator, config.generator_learning_rate)
    discriminator_optimizer = adam(discriminator, config.discriminator_learning_rate)

    def penalty(critic, real, fake):
        return config.penalty_weight * gradient_penalty(critic, real, fake, rng=rng)

    watched = draw(config.snapshot_samples, config.latent_size)
    samples, losses = [generator(watched).detach()], []
    for step in range(1, config.total_steps + 1):
        for _ in range(config.discriminator_steps):
            real = mixture.sample(config.batch_size, rng=rng, dtype=DOUBLE)
            fake = generator(draw(config.batch_size, config.latent_size))
            discriminator_loss = update_discriminator(
                discriminator=discriminator,
                optimizer=discriminator_optimizer,
                loss_function=game.discriminator,
                real=real,
                fake=fake,
                penalty=penalty if config.loss == "wasserstein-penalty" else None,
                r1=torch.tensor(config.r1_gamma) if config.r1_gamma else None,
                r2=torch.tensor(config.r2_gamma) if config.r2_gamma else None,
            )
            if config.loss == "wasserstein-clipping":
                clip_weights(discriminator, config.clip_limit)
        generator_loss = update_generator_unrolled(
            discriminator=discriminator,
            optimizer=generator_optimizer,
            loss_function=game.generator,
            real=real,
            fake=fake,
            num_steps=config.unrolled_steps,
            discriminator_optimizer=discriminator_optimizer,
            discriminator_loss_function=game.discriminator,
            zero_sum=config.loss == "minimax",
            paired=config.loss == "relativistic",
        )
        losses.append(torch.stack([discriminator_loss, generator_loss]))
        if step % config.snapshot_every_steps == 0 or step == config.total_steps:
            samples.append(generator(watched).detach())
    return torch.stack(samples), torch.stack(losses, dim=1)


def assert_same_as_one_after_the_other(config: PointConfig, train: Callable[..., ensemble.History] = train) -> None:
    together = train(config, SEEDS, dtype=DOUBLE)
    for position, seed in enumerate(SEEDS):
        samples, losses = one_seed(config, seed)
        for found, expected in ((together.samples[:, position], samples), (together.losses[..., position], losses)):
            assert found.shape == expected.shape
            assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9), (seed, (found - expected).abs().max())


@pytest.mark.parametrize("loss", GAMES)
def test_many_seeds_together_are_the_same_as_one_after_the_other(loss):
    assert_same_as_one_after_the_other(replace(TINY, loss=loss, discriminator_steps=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"mixture": "grid"},
        {"activation": "tanh", "generator_depth": 1, "discriminator_depth": 3},
        {"beta1": 0.9, "beta2": 0.9, "discriminator_steps": 3},
        {"spectral_norm": True},
        {"minibatch_std": True},
        {"minibatch_std": True, "batch_size": 15, "spectral_norm": True, "unrolled_steps": 1},
        {"unrolled_steps": 3, "beta1": 0.9},
        {"unrolled_steps": 2, "loss": "minimax"},
        {"unrolled_steps": 2, "loss": "relativistic"},
        {"penalty_weight": 3.0, "loss": "wasserstein-penalty"},
        {"clip_limit": 0.1, "loss": "wasserstein-clipping"},
        {"r1_gamma": 0.3, "batch_size": 15, "discriminator_steps": 2},
        {"r1_gamma": 0.1, "r2_gamma": 0.4, "loss": "relativistic", "beta1": 0.0},
        {"r2_gamma": 0.2, "spectral_norm": True},
    ],
)
def test_every_option_means_the_same_together_as_alone(changes):
    assert_same_as_one_after_the_other(replace(TINY, **changes))


def test_the_players_are_built_as_the_config_says():
    """Linear layers by number and width, the activation between them, and the discriminator's options."""
    config = PointConfig(latent_size=5, generator_depth=1, generator_width=6, activation="tanh")
    config = replace(config, discriminator_depth=3, discriminator_width=7, minibatch_std=True, spectral_norm=True)
    generator, discriminator = build(config, torch.Generator().manual_seed(0))

    def sizes(network: torch.nn.Module) -> list[tuple[int, int]]:
        linear = [layer for layer in network.layers if isinstance(layer, torch.nn.Linear)]
        return [(layer.in_features, layer.out_features) for layer in linear]

    assert sizes(generator) == [(5, 6), (6, 2)]
    assert sizes(discriminator) == [(2, 7), (7, 7), (7, 7), (8, 1)]
    for network, num_activations in ((generator, 1), (discriminator, 3)):
        assert sum(isinstance(layer, torch.nn.Tanh) for layer in network.layers) == num_activations
    linear = [layer for layer in discriminator.layers if isinstance(layer, torch.nn.Linear)]
    assert all(torch.nn.utils.parametrize.is_parametrized(layer) for layer in linear)
    plain = build(TINY, torch.Generator().manual_seed(0))[1]
    assert [type(layer).__name__ for layer in plain.layers] == ["Linear", "ReLU"] * 2 + ["Linear"]
    assert not any(torch.nn.utils.parametrize.is_parametrized(layer) for layer in plain.layers)


def test_points_and_images_play_by_the_same_rules_unless_told_otherwise():
    """The games' settings have one default in `PointConfig` and `Config`; modes are counted in 2,500 samples."""
    shared = ("loss", "penalty_weight", "clip_limit", "spectral_norm", "minibatch_std")
    shared += ("unrolled_steps", "discriminator_steps", "beta1", "beta2", "r1_gamma", "r2_gamma")
    for name in shared:
        assert getattr(PointConfig(), name) == getattr(Config(), name), name
    assert PointConfig().snapshot_samples == 2500


def test_the_preset_that_collapses_differs_from_the_one_that_covers_by_its_activation_and_its_slow_discriminator():
    covers, collapses = (dataclasses.asdict(preset) for preset in (ensemble.COVERS, ensemble.COLLAPSES))
    assert {name for name in covers if covers[name] != collapses[name]} == {"activation", "discriminator_learning_rate"}
    assert collapses["discriminator_learning_rate"] < collapses["generator_learning_rate"] / 5


def averaging(*arguments, **options):
    """The mean over the seeds instead of the sum: each seed's gradient is divided by their number."""
    return train_with("vmap", lambda loss: lambda *logits: vmap(loss)(*logits) / len(SEEDS), *arguments, **options)


def sharing_random_numbers(config, seeds, **options):
    return train(config, [seeds[0]] * len(seeds), **options)


def not_clipping(*arguments, **options):
    return train_with("clip_weights", lambda *_: None, *arguments, **options)


def punishing_at_one_place_for_all(*arguments, **options):
    def penalty(critic, real, fake, mix):
        return gradient_penalty(critic, real, fake, mix=mix[:1].expand_as(mix))

    return train_with("gradient_penalty", penalty, *arguments, **options)


def punishing_the_mean_over_the_seeds(*arguments, **options):
    def penalty(critic, real, fake, mix):
        return gradient_penalty(critic, real, fake, mix=mix) / len(SEEDS)

    return train_with("gradient_penalty", penalty, *arguments, **options)


def pairing_with_the_points_of_another_seed(*arguments, **options):
    def update(*, real, **settings):
        return update_generator_unrolled(real=real.roll(1, 0), **settings)

    return train_with("update_generator_unrolled", update, *arguments, **options)


def normalising_all_seeds_by_the_first(config, seeds, **options):
    def forward(norm, weight):
        largest = torch.linalg.matrix_norm(weight, 2)  # (S,)
        return weight / largest[:1, None, None]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked.StackedSpectralNorm, "forward", forward)
        return train(config, seeds, **options)


def comparing_points_of_different_seeds(config, seeds, **options):
    def forward(layer, batches):
        return layer.layer(batches.transpose(0, 1).flatten(0, 1)).unflatten(0, (-1, len(seeds))).transpose(0, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stacked.OfEach, "forward", forward)
        return train(config, seeds, **options)


def train_with(name, mutant, *arguments, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, name, mutant)
        return train(*arguments, **options)


@pytest.mark.parametrize(
    ("changes", "mutant"),
    [
        ({"loss": "non-saturating"}, averaging),
        ({"loss": "non-saturating"}, sharing_random_numbers),
        ({"loss": "wasserstein-clipping"}, not_clipping),
        ({"loss": "wasserstein-penalty"}, punishing_at_one_place_for_all),
        ({"loss": "wasserstein-penalty"}, punishing_the_mean_over_the_seeds),
        ({"loss": "relativistic"}, pairing_with_the_points_of_another_seed),
        ({"spectral_norm": True}, normalising_all_seeds_by_the_first),
        ({"minibatch_std": True}, comparing_points_of_different_seeds),
    ],
)
def test_mutants_that_mix_up_the_seeds_are_caught(changes, mutant):
    with pytest.raises(AssertionError):
        assert_same_as_one_after_the_other(replace(TINY, **changes), train=mutant)


def test_a_stack_normalises_every_weight_to_the_largest_singular_value_of_one():
    state = start(replace(TINY, spectral_norm=True), SEEDS)
    for _ in range(3):
        advance(state)
    for layer in state.discriminator[::2]:
        if hasattr(layer, "weight"):
            largest = torch.linalg.matrix_norm(layer.weight, 2)
            torch.testing.assert_close(largest, torch.ones(3), rtol=0.05, atol=0)


def test_a_seed_does_not_depend_on_which_others_it_shares_the_batch_with():
    together, alone = train(TINY, (5, 6, 7), dtype=DOUBLE), train(TINY, (6,), dtype=DOUBLE)
    torch.testing.assert_close(together.samples[:, 1:2], alone.samples)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_stack_is_vmap_over_its_networks(activation):
    networks = [PointGenerator(latent_size=3, width=8, activation=activation) for _ in range(4)]
    parameters, buffers = stack_module_state(networks)
    latents = torch.randn(4, 10, 3)

    def one(parameters, buffers, latents):
        return functional_call(networks[0], (parameters, buffers), (latents,))

    torch.testing.assert_close(stack(networks)(latents), vmap(one)(parameters, buffers, latents))


def test_a_stack_owns_its_weights():
    networks = [PointDiscriminator(width=4) for _ in range(2)]
    before = [parameter.clone() for network in networks for parameter in network.parameters()]
    with torch.no_grad():
        for parameter in stack(networks).parameters():
            parameter.add_(1)
    after = [parameter for network in networks for parameter in network.parameters()]
    assert all(map(torch.equal, before, after))


def test_a_seed_that_diverges_disturbs_no_other():
    state, healthy = start(TINY, (1, 2)), start(TINY, (2,))
    with torch.no_grad():
        next(state.generator.parameters())[0] = torch.nan
    for _ in range(3):
        advance(state)
        advance(healthy)
    sick, well = ensemble.sample(state, state.draw_latents(20))
    assert sick.isnan().all()
    torch.testing.assert_close(well, ensemble.sample(healthy, healthy.draw_latents(20))[0])


def test_snapshots_show_the_same_latents_at_the_stated_steps():
    history = train(TINY, SEEDS)
    assert history.steps.tolist() == [0, 3, 6, 7]
    assert history.samples.shape == (4, 3, 50, 2) and history.losses.shape == (2, 7, 3)
    assert not history.samples.requires_grad and not history.losses.requires_grad, "no graph is kept"
    expected = mode_statistics(MIXTURES["ring"](), history.samples)
    assert torch.equal(history.statistics.counts, expected.counts) and history.statistics.covered.shape == (4, 3)
    halted = train(replace(TINY, generator_learning_rate=1e-12), SEEDS)
    torch.testing.assert_close(halted.samples[0], halted.samples[-1])


def test_a_look_at_chosen_moments_sees_the_players_and_changes_nothing():
    seen = []
    history = train(TINY, SEEDS, at=(0, 2, 7), look=lambda ensemble: seen.append(ensemble.step))
    assert history.steps.tolist() == seen == [0, 2, 7]
    usual = train(TINY, SEEDS)
    assert torch.equal(history.samples[-1], usual.samples[-1]) and torch.equal(history.losses, usual.losses)


def test_training_leaves_the_global_random_numbers_alone():
    before = torch.get_rng_state()
    train(TINY, SEEDS)
    assert torch.equal(before, torch.get_rng_state())


def test_progress_is_shown_when_asked_for(capsys):
    train(TINY, (0,), progress=True)
    assert "7/7" in capsys.readouterr().err


def test_every_field_has_a_default_and_a_help_text():
    lines = inspect.getsource(PointConfig).splitlines()
    for field in dataclasses.fields(PointConfig):
        (number,) = (i for i, line in enumerate(lines) if line.startswith(f"    {field.name}: "))
        assert lines[number + 1].strip().startswith('"""') and lines[number + 1].endswith('."""'), field.name


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("mixture", "spiral", "one of ring, grid"),
        ("activation", "elu", "one of relu, tanh"),
        ("loss", "hinges", "one of non-saturating, "),
        ("batch_size", 0, "1 or more"),
        ("total_steps", 0, "1 or more"),
        ("generator_depth", 0, "1 or more"),
        ("discriminator_depth", 0, "1 or more"),
        ("snapshot_every_steps", 0, "1 or more"),
        ("snapshot_samples", 0, "1 or more"),
        ("discriminator_steps", 0, "1 or more"),
        ("unrolled_steps", -1, "0 or more"),
        ("clip_limit", 0.0, "more than 0"),
        ("r1_gamma", -1.0, "0 or more"),
        ("r2_gamma", float("inf"), "0 or more"),
        ("generator_learning_rate", 1.0, "between 0 and 1"),
        ("beta1", 1.0, "at least 0 and less than 1"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(name, value, allowed):
    with pytest.raises(InvalidInput, match=f"^{name} is {value!r}, but must be {allowed}") as caught:
        PointConfig(**{name: value})
    assert str(caught.value).endswith(".")


def test_looking_ahead_is_refused_where_a_critic_is_limited():
    with pytest.raises(InvalidInput, match=r"^unrolled_steps is 2, but looking ahead is not defined"):
        PointConfig(loss="wasserstein-penalty", unrolled_steps=2)
    with pytest.raises(
        InvalidInput, match=r"^unrolled_steps is 2, but .* without r2_gamma: set one of the two to 0\.$"
    ):
        PointConfig(r2_gamma=0.1, unrolled_steps=2)


@pytest.mark.gpu
def test_on_the_gpu_every_seed_draws_what_it_draws_on_the_cpu():
    here, there = (
        train(replace(TINY, total_steps=2), SEEDS, device=device, dtype=DOUBLE) for device in ("cpu", "cuda")
    )
    torch.testing.assert_close(here.samples, there.samples)


def test_a_penalty_with_its_mix_given_is_the_one_that_draws_it():
    critic = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1), torch.nn.Flatten(0))
    real, fake = torch.randn(6, 3), torch.randn(6, 3)
    drawn = gradient_penalty(critic, real, fake, rng=torch.Generator().manual_seed(4))
    mix = torch.rand(6, 1, generator=torch.Generator().manual_seed(4))
    assert torch.equal(gradient_penalty(critic, real, fake, mix=mix), drawn)
    assert not torch.equal(gradient_penalty(critic, real, fake, mix=1 - mix), drawn)
