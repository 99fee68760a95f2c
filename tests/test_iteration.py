"""One iteration against the same written by hand, and what Python decides for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from dcgan_core import iteration, steps
from dcgan_core.config import Config
from dcgan_core.data.augmentation import AUGMENTATIONS
from dcgan_core.data.latents import draw_rows
from dcgan_core.iteration import advance, prepare, share_left
from dcgan_core.losses import slope_penalty
from dcgan_core.runs.restoring import restore
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.state import State, descent, draw_latents, sample, start
from dcgan_core.steps import against

RATE = 0.05
BATCH = 8


@pytest.fixture
def config(tiny_config: Config) -> Config:
    """Two discriminator updates an iteration, and a discriminator without batch norm, dropout or anything random."""
    return replace(tiny_config, dropout=0.0, discriminator_norm="none", discriminator_steps=2, ema_halflife_images=0)


@pytest.fixture
def real(config: Config) -> Tensor:
    """One iteration's images, each batch unlike the other."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(config.images_per_step, 1, 16, 16, generator=rng) * 2 - 1
    images[BATCH:] *= 0.3
    return images


def with_plain_descent(config: Config, machine: Machine) -> State:
    """Optimizers whose steps are in proportion to the gradients, so that every term of a loss counts.

    The discriminator's weights are larger than at the start of a run, so that it has slopes worth speaking of.
    """
    state = start(config, machine)
    with torch.no_grad():
        for weight in state.discriminator.parameters():
            weight *= 8
    state.generator_optimizer = torch.optim.SGD(state.generator.parameters(), RATE)
    state.discriminator_optimizer = torch.optim.SGD(state.discriminator.parameters(), RATE)
    return state


def descend(network: nn.Module, loss: Tensor) -> None:
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            weight -= RATE * gradient


def squared_slope(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Sample by sample, as the formula is written: E |grad D(x)|^2."""
    total = torch.zeros(())
    for image in images.detach():
        image = image[None].requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(image).squeeze(), image, create_graph=True)
        total = total + (gradient**2).sum()
    return total / len(images)


def cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def fooled(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    return softplus(-fake_logits).mean()


def by_hand(
    state: State, real: Tensor, *, loss=cross_entropy, generator_loss=fooled, r1=0.0, r2=0.0, view=lambda images: images
) -> tuple[Tensor, Tensor]:
    """Both networks' weights after one iteration, on copies; the discriminator sees the `view` of every image."""
    generator, judge = copy.deepcopy(state.generator), copy.deepcopy(state.discriminator)

    def discriminator(images: Tensor) -> Tensor:
        return judge(view(images))

    rng = torch.Generator()
    rng.set_state(state.latent_rng.get_state())
    latents = draw_rows(rng, [slice(0, len(real))], state.config.latent_size, real.device)
    for number in range(state.config.discriminator_steps):
        rows = slice(number * BATCH, (number + 1) * BATCH)
        fake = generator(latents[rows])
        total = loss(discriminator(real[rows]), discriminator(fake.detach()))
        total = total + r1 / 2 * squared_slope(discriminator, real[rows])
        total = total + r2 / 2 * squared_slope(discriminator, fake)
        descend(judge, total)
    descend(generator, generator_loss(discriminator(fake), discriminator(real[rows])))
    return flat(generator), flat(judge)


def flat(network: nn.Module) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def assert_iteration_is(expected: tuple[Tensor, Tensor], state: State, real: Tensor, machine: Machine) -> None:
    advance(state, real, machine)
    for network, weights in zip((state.generator, state.discriminator), expected, strict=True):
        torch.testing.assert_close(flat(network), weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("r1", "r2"), [(0.0, 0.0), (2.0, 0.0), (0.0, 3.0), (2.0, 3.0)])
def test_an_iteration_with_penalties_is_the_one_written_by_hand(config, real, cpu, r1, r2):
    state = with_plain_descent(replace(config, r1_gamma=r1, r2_gamma=r2), cpu)
    expected = by_hand(state, real, r1=r1, r2=r2)
    assert_iteration_is(expected, state, real, cpu)
    if r1 or r2:
        without = by_hand(with_plain_descent(config, cpu), real)
        with pytest.raises(AssertionError):
            assert_iteration_is(without, with_plain_descent(state.config, cpu), real, cpu)


def paired(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return -torch.stack([(r - f).sigmoid().log() for r, f in zip(real_logits, fake_logits, strict=True)]).mean()


def paired_the_other_way(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    return -torch.stack([(f - r).sigmoid().log() for r, f in zip(real_logits, fake_logits, strict=True)]).mean()


RELATIVISTIC = {"loss": paired, "generator_loss": paired_the_other_way}


def test_a_relativistic_iteration_is_the_one_written_by_hand(config, real, cpu):
    """The generator's real images are those of the last update, judged by the discriminator after it."""
    state = with_plain_descent(replace(config, loss="relativistic"), cpu)
    assert_iteration_is(by_hand(state, real, **RELATIVISTIC), state, real, cpu)


@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
def test_an_iteration_with_smoothed_labels_is_the_one_written_by_hand(config, real, cpu, loss):
    def smoothed(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        real_term = 0.7 * softplus(-real_logits) + 0.3 * softplus(real_logits)
        return real_term.mean() + softplus(fake_logits).mean()

    def caught(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
        return -softplus(fake_logits).mean()

    state = with_plain_descent(replace(config, loss=loss, real_label=0.7), cpu)
    expected = by_hand(state, real, loss=smoothed, generator_loss=caught if loss == "minimax" else fooled)
    assert_iteration_is(expected, state, real, cpu)


def darker_and_to_the_left(images: Tensor) -> Tensor:
    return 0.5 * images.roll(-1, 3) - 0.2


@pytest.mark.parametrize("game", [{}, RELATIVISTIC])
def test_all_that_the_discriminator_judges_has_been_changed_alike(config, real, cpu, monkeypatch, game):
    """Real and fake, in both turns, and in the penalties, whose slopes are those of the whole way from the image."""
    monkeypatch.setitem(AUGMENTATIONS, "colour", darker_and_to_the_left)
    loss = "relativistic" if game else "non-saturating"
    state = with_plain_descent(replace(config, loss=loss, augment=("colour",), r1_gamma=2.0, r2_gamma=3.0), cpu)
    expected = by_hand(state, real, view=darker_and_to_the_left, r1=2.0, r2=3.0, **game)
    assert_iteration_is(expected, state, real, cpu)


def where_nothing_flows_back(images: Tensor) -> Tensor:
    return images if images.requires_grad else darker_and_to_the_left(images)


def without_a_gradient(images: Tensor) -> Tensor:
    return darker_and_to_the_left(images.detach()) + 0 * images


def only_in_the_discriminators_turn():
    calls: list[int] = []

    def change(images: Tensor) -> Tensor:
        calls.append(1)
        return darker_and_to_the_left(images) if len(calls) <= 4 else images

    return change


@pytest.mark.parametrize("mutant", [where_nothing_flows_back, without_a_gradient, only_in_the_discriminators_turn()])
def test_mutant_that_changes_some_images_only_is_caught(config, real, cpu, monkeypatch, mutant):
    monkeypatch.setitem(AUGMENTATIONS, "colour", mutant)
    state = with_plain_descent(replace(config, augment=("colour",)), cpu)
    expected = by_hand(state, real, view=darker_and_to_the_left)
    with pytest.raises(AssertionError):
        assert_iteration_is(expected, state, real, cpu)


def seen_by_the_discriminator(state: State, real: Tensor, machine: Machine) -> list[Tensor]:
    """What each of its passes in one iteration was given."""
    seen: list[Tensor] = []
    handle = state.discriminator.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    advance(state, real, machine)
    handle.remove()
    return seen


def test_noise_is_on_all_that_the_discriminator_sees_and_never_the_same(config, cpu):
    """On images that are 0; the generator's are, as its last layer's weights are."""
    config = replace(config, instance_noise=0.3, loss="relativistic", r1_gamma=1.0, r2_gamma=1.0)
    state = start(config, cpu)
    torch.nn.init.zeros_(state.generator.layers[-2].weight)
    seen = seen_by_the_discriminator(state, torch.zeros(config.images_per_step, 1, 16, 16), cpu)
    assert len(seen) == 2 * 2 + 2  # in each update: real and fake, with their slopes; then fake and real
    for noise in seen:
        assert kstest(noise.flatten().numpy(), "norm", (0, 0.3)).pvalue > 1e-3
    together = torch.stack([noise.flatten() for noise in seen])
    assert (torch.corrcoef(together) - torch.eye(len(seen))).abs().max() < 5 / together.shape[1] ** 0.5


@pytest.mark.parametrize("until", [0.5, 1.0])
def test_noise_fades_as_torchs_linear_schedule_does_and_stays_away(tiny_config, cpu, until):
    config = replace(tiny_config, instance_noise=0.3, instance_noise_until=until)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.3)
    steps = round(until * config.total_steps)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    state = start(config, cpu)
    for _ in range(config.total_steps + 3):
        found = prepare(state, torch.zeros(BATCH, 1, 16, 16), cpu).noise
        assert found.item() == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        schedule.step()


def test_noise_that_has_faded_changes_nothing(config, real, cpu):
    state = with_plain_descent(replace(config, instance_noise=0.3), cpu)
    state.step = state.config.total_steps // 2
    assert_iteration_is(by_hand(state, real), state, real, cpu)


def test_what_is_changed_is_changed_in_float32(tiny_config):
    """Fakes are bfloat16 under autocast; both kinds of images are rounded after the change, by the same layer."""
    machine = choose_machine("cpu", "bfloat16")
    state = start(replace(tiny_config, augment=("colour", "translation"), instance_noise=0.1), machine)
    seen = seen_by_the_discriminator(state, torch.rand(BATCH, 1, 16, 16), machine)
    assert {images.dtype for images in seen} == {torch.float32}


def of_the_first_update(state: State, real: Tensor):
    return lambda _, discriminator, loss, **settings: against(real[:BATCH], discriminator, loss, **settings)


def judged_before_the_update(state: State, real: Tensor):
    logits = state.discriminator(real[BATCH:]).detach()
    return lambda _, discriminator, loss, **settings: lambda fake_logits: loss(fake_logits, logits)


@pytest.mark.parametrize("mutant", [of_the_first_update, judged_before_the_update])
def test_mutant_stale_real_batch_in_the_generators_turn_is_caught(config, real, cpu, monkeypatch, mutant):
    state = with_plain_descent(replace(config, loss="relativistic"), cpu)
    expected = by_hand(state, real, **RELATIVISTIC)
    monkeypatch.setattr(iteration, "against", mutant(state, real))
    with pytest.raises(AssertionError):
        assert_iteration_is(expected, state, real, cpu)


@pytest.mark.parametrize("loss", ["non-saturating", "relativistic"])
def test_only_a_paired_game_judges_real_images_in_the_generators_turn(config, real, cpu, loss):
    state, passes = start(replace(config, loss=loss), cpu), []
    state.discriminator.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    advance(state, real, cpu)
    ordinary = [True] * (2 * 2 + 1)  # real and fake in each update, then the generator's fake
    assert passes == (ordinary if loss == "non-saturating" else [*ordinary[:-1], False, True])


def test_gamma_has_fallen_when_it_is_used(config, real, cpu):
    """Half-way through a run whose gamma falls to a fifth, it is 0.6 of what it was."""
    config = replace(config, r1_gamma=2.0, gamma_final_share=0.2, total_images=config.images_per_step * 10)
    state = with_plain_descent(config, cpu)
    state.step = 5
    assert_iteration_is(by_hand(state, real, r1=0.6 * 2.0), state, real, cpu)


def of_mean_logit(logits: Tensor, samples: Tensor) -> Tensor:
    """The slope of the batch's mean: B^2 times as little."""
    return slope_penalty(logits / BATCH, samples)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(of_mean_logit, id="slope of the mean"),
        pytest.param(lambda logits, samples: slope_penalty(logits[: BATCH // 2], samples), id="half of the batch"),
        pytest.param(lambda logits, samples: 2 * slope_penalty(logits, samples), id="no 1/2"),
        pytest.param(lambda logits, samples: slope_penalty(logits, samples) / samples[0].numel(), id="mean of pixels"),
        pytest.param(lambda logits, samples: slope_penalty(logits, samples).detach(), id="detached"),
    ],
)
@pytest.mark.parametrize("name", ["r1", "r2"])
def test_mutant_penalty_in_the_iteration_is_caught(config, real, cpu, monkeypatch, mutant, name):
    state = with_plain_descent(replace(config, **{f"{name}_gamma": 2.0}), cpu)
    expected = by_hand(state, real, **{name: 2.0})
    monkeypatch.setattr(steps, "slope_penalty", mutant)
    with pytest.raises(AssertionError):
        assert_iteration_is(expected, state, real, cpu)


def test_the_slopes_at_images_cost_no_pass_of_their_own(config, real, cpu):
    state, passes = start(replace(config, r1_gamma=1.0, r2_gamma=1.0), cpu), []
    state.discriminator.register_forward_hook(lambda *_: passes.append(1))
    advance(state, real, cpu)
    assert len(passes) == 2 * 2 + 1


def test_slopes_in_low_precision_are_near_those_in_full_precision(tiny_config):
    """Their penalty's gradient has nearly the same direction and size, for a discriminator that is drawn as by He."""
    config = replace(tiny_config, discriminator_norm="none", discriminator_initialisation="he")
    images = torch.rand(BATCH, 1, 16, 16) * 2 - 1
    found = []
    for precision in ("float32", "bfloat16"):
        machine = choose_machine("cpu", precision)
        discriminator, samples = start(config, machine).discriminator, images.clone().requires_grad_()
        with machine.autocast():
            logits = discriminator(samples)
        slope_penalty(logits, samples).backward()
        weights = [weight.grad.flatten() for weight in discriminator.parameters() if weight.grad is not None]
        found.append(torch.cat(weights))
    full, low = found
    assert torch.cosine_similarity(full, low, dim=0) > 0.995
    assert (low.norm() / full.norm()).item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("final", [0.0, 0.1, 1.0])
def test_gamma_falls_as_torchs_cosine_schedule_does(tiny_config, cpu, final):
    config = replace(tiny_config, r1_gamma=1.0, discriminator_norm="none", gamma_final_share=final)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.total_steps, eta_min=final)
    state = start(config, cpu)
    for _ in range(config.total_steps + 1):
        found = prepare(state, torch.zeros(BATCH, 1, 16, 16), cpu).gamma_share
        assert found.item() == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        schedule.step()
    assert found.item() == pytest.approx(final, abs=1e-6)


def test_after_the_end_of_the_run_nothing_rises_again(tiny_config, cpu):
    falling = {"gamma_final_share": 0.2, "rate_schedule": "cosine", "rate_final_share": 0.3}
    state = start(replace(tiny_config, r1_gamma=1.0, discriminator_norm="none", **falling), cpu)
    state.step = 2 * state.config.total_steps
    inputs = prepare(state, torch.zeros(BATCH, 1, 16, 16), cpu)
    assert (inputs.gamma_share.item(), inputs.rate_share.item()) == pytest.approx((0.2, 0.3))
    assert share_left("linear", 0.25, 0.2) == pytest.approx(0.8)


SCHEDULES = {
    "linear": lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps),
    "cosine": lambda optimizer, steps: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=2e-4),
}


def assert_rates_fall_as_with_torchs_schedule(config: Config, machine: Machine, images: Tensor) -> None:
    """A run with its own schedule, and one with torch's around iterations of a constant rate."""
    state = start(config, machine)
    other = start(replace(config, rate_schedule="constant", rate_final_share=0.0), machine)
    optimizers = (other.generator_optimizer, other.discriminator_optimizer)
    schedules = [SCHEDULES[config.rate_schedule](optimizer, config.total_steps) for optimizer in optimizers]
    for number in range(config.total_steps):
        real = images[number * BATCH : (number + 1) * BATCH]
        torch.manual_seed(number)
        advance(state, real, machine)
        torch.manual_seed(number)
        advance(other, real, machine)
        for schedule in schedules:
            schedule.step()
    for network in ("generator", "discriminator"):
        torch.testing.assert_close(
            flat(getattr(state, network)), flat(getattr(other, network)), rtol=1e-3, atol=1e-5, msg=network
        )


@pytest.fixture
def falling(tiny_config: Config) -> Config:
    return replace(tiny_config, rate_schedule="linear", rate_final_share=0.1, dropout=0.0, total_images=6 * BATCH)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6 * BATCH, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [0, 2])
def test_rates_fall_as_torchs_schedules_let_them(falling, cpu, images, schedule, steps):
    """Also those of the steps that the generator looks ahead."""
    assert_rates_fall_as_with_torchs_schedule(
        replace(falling, rate_schedule=schedule, unrolled_steps=steps), cpu, images
    )


def for_one_player(state: State, share: Tensor) -> None:
    state.generator_optimizer.param_groups[0]["lr"].copy_(state.config.generator_learning_rate * share)


def twice(state: State, share: Tensor) -> None:
    """Each time from the rate of the time before."""
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        optimizer.param_groups[0]["lr"] *= share


@pytest.mark.parametrize("mutant", [for_one_player, twice, lambda state, share: None])
def test_mutant_schedule_is_caught(falling, cpu, images, monkeypatch, mutant):
    monkeypatch.setattr(iteration, "_set_rates", mutant)
    with pytest.raises(AssertionError, match=r"generator|discriminator"):
        assert_rates_fall_as_with_torchs_schedule(falling, cpu, images)


EVERY_MEANS = {
    "loss": "relativistic",
    "discriminator_norm": "none",
    "r1_gamma": 0.5,
    "r2_gamma": 0.5,
    "gamma_final_share": 0.1,
    "augment": ("colour", "translation", "cutout", "flip"),
    "instance_noise": 0.2,
    "rate_schedule": "cosine",
    "dropout": 0.3,
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_with_every_means_a_run_that_was_stopped_goes_on_as_if_it_had_not(tiny_config, images, precision):
    machine = choose_machine("cpu", precision)
    config = replace(tiny_config, **EVERY_MEANS)

    def play(state: State, steps: range) -> dict[str, Tensor]:
        for number in steps:
            losses = advance(state, images[number * BATCH : (number + 1) * BATCH], machine)
            assert torch.stack(losses).isfinite().all()
        return {name: value.clone() for name, value in state.tensors().items()}

    whole = play(start(config, machine), range(6))
    saved = play(start(config, machine), range(3))
    state = start(config, machine)
    restore(state, saved, 3)
    found = play(state, range(3, 6))
    assert [name for name in whole if not torch.equal(whole[name], found[name])] == []


@pytest.mark.parametrize("name", ["r1_gamma", "r2_gamma"])
def test_a_discriminator_whose_slope_is_penalised_is_not_compiled(config, name):
    machine = choose_machine("cpu", "float32", compiled=True)
    with pytest.warns(UserWarning, match="cannot go through a compiled critic"):
        state = start(replace(config, **{name: 0.1}), machine)
    assert state.compiled.keys() == {"generator"}
    assert start(config, machine).compiled.keys() == {"generator", "discriminator"}


def test_the_average_forgets_half_in_its_half_life_of_images(config, real, cpu):
    """While the run is young, a tenth of the images seen is the half-life. Here an iteration shows 16."""
    state = start(replace(config, ema_halflife_images=200), cpu)
    early = [prepare(state, real, cpu).decay.item() for _ in range(4)]
    assert early == pytest.approx([0.5 ** (10 / iteration) for iteration in (1, 2, 3, 4)])
    state.step = 1_000
    assert prepare(state, real, cpu).decay.item() ** (200 / 16) == pytest.approx(0.5)


def test_the_average_is_moved_by_every_iteration_and_stays_where_it_is_switched_off(config, real, cpu):
    state = start(replace(config, ema_halflife_images=160), cpu)
    state.step = 1_000
    before, kept = flat(state.average), 0.5 ** (16 / 160)
    advance(state, real, cpu)
    torch.testing.assert_close(
        flat(state.average), kept * before + (1 - kept) * flat(state.generator), rtol=0, atol=1e-6
    )
    state = start(config, cpu)
    advance(state, real, cpu)
    assert torch.equal(flat(state.average), before)


def test_samples_come_from_the_average_where_there_is_one_and_else_from_the_trained_generator(config, real, cpu):
    for halflife in (0, 10_000):
        state = start(replace(config, ema_halflife_images=halflife), cpu)
        state.step, untrained = 1_000, flat(state.generator)
        advance(state, real, cpu)
        assert not torch.equal(flat(state.sampler), untrained)
        assert torch.equal(flat(state.sampler), flat(state.generator)) == (halflife == 0)


def test_each_network_learns_with_its_own_rate_and_with_both_decay_rates_of_the_config(config, cpu):
    rates = {"generator_learning_rate": 1e-3, "discriminator_learning_rate": 3e-3}
    state = start(replace(config, beta1=0.3, beta2=0.7, **rates), cpu)
    for optimizer, rate in ((state.generator_optimizer, 1e-3), (state.discriminator_optimizer, 3e-3)):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"]) == (rate, (0.3, 0.7))


def test_rates_that_fall_are_each_networks_own(config, real, cpu):
    rates = {"generator_learning_rate": 1e-3, "discriminator_learning_rate": 3e-3}
    state = start(replace(config, rate_schedule="linear", **rates), cpu)
    state.step = 5
    advance(state, real, cpu)
    found = [one.param_groups[0]["lr"].item() for one in (state.generator_optimizer, state.discriminator_optimizer)]
    assert found == pytest.approx([5e-4, 1.5e-3])


def test_progress_is_counted_in_whole_iterations_and_their_images(config, real, cpu):
    """Of 170 images, ten iterations of 16 are shown; after them, all that falls has fallen."""
    state = start(replace(config, total_images=170, rate_schedule="linear"), cpu)
    found = [prepare(state, real, cpu).rate_share.item() for _ in range(11)]
    assert found == pytest.approx([1 - number / 10 for number in range(11)], abs=1e-6)


def test_the_discriminators_loss_is_the_mean_of_its_steps(config, real, cpu, monkeypatch):
    found, right = [], iteration.update_discriminator

    def noted(*given, **named):
        found.append(right(*given, **named).item())
        return torch.tensor(found[-1])

    monkeypatch.setattr(iteration, "update_discriminator", noted)
    loss, _ = advance(start(config, cpu), real, cpu)
    first, second = found
    assert first != second and loss.item() == pytest.approx((first + second) / 2)


def test_weights_are_within_the_limit_whenever_the_critic_judges_again(config, real, cpu):
    """Also when its second step of an iteration begins: the first one takes two passes, real and fake."""
    state, largest = start(replace(config, loss="wasserstein-clipping"), cpu), []

    def look(critic: nn.Module, _) -> None:
        largest.append(flat(critic).abs().max().item())

    state.discriminator.register_forward_pre_hook(look)
    advance(state, real, cpu)
    assert len(largest) == 5 and min(largest[:2]) > state.config.clip_limit
    assert max(largest[2:]) == pytest.approx(state.config.clip_limit)


def test_the_gradient_penalty_counts_as_much_as_the_config_says(config, real, cpu):
    """A step of plain descent goes as much further along the penalty's gradient as its weight is larger."""

    def after(weight: float) -> Tensor:
        changes = {"loss": "wasserstein-penalty", "discriminator_steps": 1, "penalty_weight": weight}
        state = with_plain_descent(replace(config, **changes), cpu)
        torch.manual_seed(0)
        advance(state, real[:BATCH], cpu)
        return flat(state.discriminator)

    two, four, eight = (after(weight) for weight in (2.0, 4.0, 8.0))
    assert (four - two).abs().max() > 1e-3
    torch.testing.assert_close(eight - two, 3 * (four - two), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("loss", ["minimax", "non-saturating"])
def test_looking_ahead_in_the_minimax_game_the_generator_climbs_what_the_discriminator_descends(
    config, real, cpu, loss
):
    """In the other game, its loss ahead is that of the fakes alone. By hand, with plain descent, two steps ahead."""
    state = with_plain_descent(replace(config, loss=loss, unrolled_steps=2, discriminator_steps=1), cpu)
    generator, judge = copy.deepcopy(state.generator), copy.deepcopy(state.discriminator)
    rng = torch.Generator()
    rng.set_state(state.latent_rng.get_state())
    real = real[:BATCH]
    fake = generator(draw_rows(rng, [slice(0, BATCH)], state.config.latent_size, real.device))
    descend(judge, cross_entropy(judge(real), judge(fake.detach())))
    ahead = {name: weight.detach().requires_grad_() for name, weight in judge.named_parameters()}
    for _ in range(2):
        value = cross_entropy(functional_call(judge, ahead, real), functional_call(judge, ahead, fake))
        gradients = torch.autograd.grad(value, list(ahead.values()), create_graph=True)
        ahead = {name: ahead[name] - RATE * gradient for name, gradient in zip(ahead, gradients, strict=True)}
    fake_logits = functional_call(judge, ahead, fake)
    if loss == "minimax":
        descend(generator, -cross_entropy(functional_call(judge, ahead, real), fake_logits))
    else:
        descend(generator, fooled(fake_logits, fake_logits))
    assert_iteration_is((flat(generator), flat(judge)), state, real, cpu)


def test_a_step_in_float16_is_that_of_the_unscaled_gradient(tiny_config):
    state = start(tiny_config, choose_machine("cpu", "float16"))
    weight = nn.Parameter(torch.ones(3))
    descent(state)(weight.square().sum(), torch.optim.SGD([weight], 0.5))
    assert torch.equal(weight.detach(), torch.zeros(3))


@pytest.mark.parametrize("training", [True, False])
def test_sampling_gives_back_the_mode_that_it_found(config, cpu, training):
    generator = start(config, cpu).generator.train(training)
    sample(generator, draw_latents(3, config.latent_size, seed=0))
    assert {module.training for module in generator.modules()} == {training}


def test_fixed_latents_leave_the_random_numbers_of_training_alone():
    before = torch.get_rng_state()
    draw_latents(5, 8, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
