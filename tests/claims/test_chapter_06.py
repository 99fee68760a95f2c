"""What chapter 06 claims, measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from statistics import median

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, softplus

from dcgan_core import recorded
from dcgan_core.data import scale
from dcgan_core.data.glyphs import render
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.models import Generator
from dcgan_core.teaching.chapter_06 import (
    altered_discriminator,
    gradient_flow,
    learn_to_tell_apart,
    share_ranked,
    with_slope,
)
from dcgan_core.train import draw_latents, sample

SEEDS = range(5)


@pytest.fixture(scope="module")
def run() -> recorded.Recorded:
    return recorded.load("glyphs32")


@pytest.fixture(scope="module")
def judge(run) -> nn.Module:
    """The recorded discriminator as it was in training."""
    return copy.deepcopy(run.discriminator).train()


@pytest.fixture(scope="module")
def letters() -> Tensor:
    return scale(torch.from_numpy(render(1_500, image_size=32, seed=1).images))


@pytest.fixture(scope="module")
def fakes(run) -> Tensor:
    return sample(run.generator, draw_latents(1_500, run.config.latent_size, seed=1))


@pytest.fixture(scope="module")
def small(run, letters) -> tuple[Tensor, Tensor]:
    """Real letters and worse fakes of 16 pixels, from latents three times as long as in training."""
    worse = sample(run.generator, 3 * draw_latents(1_500, run.config.latent_size, seed=1))
    return avg_pool2d(letters, 2), avg_pool2d(worse, 2)


@pytest.fixture(scope="module")
def grey(run) -> Tensor:
    torch.manual_seed(0)
    untrained = Generator(image_size=32, channels=1, width=48, latent_size=run.config.latent_size)
    return untrained(draw_latents(64, run.config.latent_size, seed=1)).detach()


def test_a_mixed_batch_has_the_variance_of_its_halves_and_the_distance_of_their_means():
    torch.manual_seed(0)
    real, fake = torch.randn(32, 6, 4, 4) + 1, 2 * torch.randn(32, 6, 4, 4)
    norm = nn.BatchNorm2d(6, momentum=1.0)
    norm(torch.cat([real, fake]))
    means, variances = [], []
    for half in (real, fake):
        means.append(half.mean((0, 2, 3)))
        variances.append(half.var((0, 2, 3), correction=0))
    count = 64 * 16
    expected = (variances[0] + variances[1]) / 2 + ((means[0] - means[1]) / 2) ** 2
    assert torch.allclose(norm.running_mean, (means[0] + means[1]) / 2, atol=1e-5)
    assert torch.allclose(norm.running_var, expected * count / (count - 1), rtol=1e-4)


def test_with_batch_norm_the_logits_of_real_images_depend_on_the_rest_of_their_batch(judge, letters, fakes, grey):
    with torch.no_grad():
        alone = judge(letters[:64])
        beside_fakes = judge(torch.cat([letters[:64], fakes[:64]]))[:64]
        beside_grey = judge(torch.cat([letters[:64], grey]))[:64]
    assert 0.1 < 1 - beside_fakes.mean() / alone.mean() < 0.3, "by a fifth or so"
    assert (beside_grey - alone).abs().mean() > 3 * (beside_fakes - alone).abs().mean(), "a little, and a lot"
    assert (alone > 0).float().mean() > 0.9 and 0.4 < (beside_grey > 0).float().mean() < 0.7
    assert beside_grey.mean().abs() < 0.2 * alone.mean(), "nearly all of their size is gone"


@pytest.mark.parametrize("seed", SEEDS)
def test_without_batch_norm_the_rest_of_the_batch_makes_no_difference(seed, letters, fakes):
    network = altered_discriminator(image_size=32, norm=False, seed=seed)
    with torch.no_grad():
        logits = [network(torch.cat([letters[:32], company[:32]]))[:32] for company in (letters[32:], fakes)]
    assert torch.allclose(*logits, atol=1e-6)


def test_mixing_moves_the_logits_of_real_and_fake_batches_towards_each_other(judge, letters, fakes):
    with torch.no_grad():
        separate = judge(letters[:500]).mean() - judge(fakes[:500]).mean()
        real, fake = judge(torch.cat([letters[:500], fakes[:500]])).chunk(2)
    assert 0 < real.mean() - fake.mean() < separate


def test_the_distance_of_the_means_is_a_large_part_of_the_variance_only_for_poor_fakes(run, letters, fakes, grey):
    shares = []
    with torch.no_grad():
        real = run.discriminator.layers[:3](letters[:64].clone())
        for other in (fakes[:64], grey):
            maps = run.discriminator.layers[:3](other.clone())
            apart = ((real.mean((0, 2, 3)) - maps.mean((0, 2, 3))) / 2) ** 2
            shares.append(apart / torch.cat([real, maps]).var((0, 2, 3), correction=0))
    assert shares[0].max() < 0.05
    assert shares[1].max() > 0.5


def test_a_strided_convolution_is_the_convolution_everywhere_of_which_every_second_value_is_kept(run, letters):
    kernels = run.discriminator.layers[0].weight
    strided = conv2d(letters[:8], kernels, stride=2, padding=1)
    assert torch.allclose(conv2d(letters[:8], kernels, padding=1)[:, :, ::2, ::2], strided, atol=1e-5)


def test_average_pooling_is_a_strided_convolution_and_max_pooling_is_not_linear():
    torch.manual_seed(0)
    a, b = torch.randn(2, 1, 1, 8, 8)
    quarter = torch.full((1, 1, 2, 2), 0.25)
    assert torch.allclose(avg_pool2d(a, 2), conv2d(a, quarter, stride=2), atol=1e-6)
    assert not torch.allclose(max_pool2d(a + b, 2), max_pool2d(a, 2) + max_pool2d(b, 2))


def test_only_a_fitting_kernel_tells_stripes_from_their_shift_and_from_a_constant():
    stripes = torch.tensor([1.0, -1.0] * 4).expand(1, 1, 8, 8)
    patterns = (stripes, -stripes, torch.ones(1, 1, 8, 8))
    fine = torch.tensor([1.0, -1.0, 1.0, -1.0]).expand(1, 1, 4, 4) / 16

    def number_told_apart(reduce) -> int:
        return len({float(reduce(pattern).mean()) for pattern in patterns})

    assert number_told_apart(lambda maps: max_pool2d(maps, 2)) == 1
    assert number_told_apart(lambda maps: avg_pool2d(maps, 2)) == 2
    assert number_told_apart(lambda maps: maps[:, :, ::2, ::2]) == 2
    assert number_told_apart(lambda maps: conv2d(maps, fine, stride=2)) == 3


def test_a_gradient_reaches_one_value_in_four_through_a_maximum_and_all_through_kernel_4_stride_2(run):
    kernel = run.discriminator.layers[0].weight[:1].detach()
    reached = []
    for reduce in (lambda maps: max_pool2d(maps, 2), lambda maps: conv2d(maps, kernel, stride=2, padding=1)):
        torch.manual_seed(0)
        maps = torch.randn(1, 1, 32, 32, requires_grad=True)
        reduce(maps).sum().backward()
        reached.append((maps.grad != 0).float().mean().item())
    assert reached == [0.25, 1.0]


def test_in_the_trained_network_a_relu_would_stop_many_gradients_and_hardly_shorten_the_one_at_the_image(run, fakes):
    relu, stopped = gradient_flow(with_slope(run.discriminator, 0.0), fakes[:128])
    leaky, none = gradient_flow(run.discriminator, fakes[:128])
    assert none == 0
    assert stopped > 0.5
    assert 0.5 < relu / leaky < 1.5


@pytest.mark.parametrize("seed", SEEDS)
def test_an_untrained_relu_discriminator_stops_about_half_of_the_gradients(seed, letters, fakes):
    norms, shares = [], []
    for slope in (0.0, 0.2):
        network = altered_discriminator(slope=slope, seed=seed)
        network.train()(avg_pool2d(letters[:256], 2))
        norm, stopped = gradient_flow(network, avg_pool2d(fakes[:256], 2))
        norms.append(norm)
        shares.append(stopped)
    assert 0.3 < shares[0] < 0.8
    assert shares[1] == 0
    assert 0.5 < norms[0] / norms[1] < 1.5


def test_with_slope_1_and_without_normalisation_the_discriminator_is_one_linear_filter(letters, fakes):
    a, b = avg_pool2d(letters[:16], 2), avg_pool2d(fakes[:16], 2)
    with torch.no_grad():
        linear = altered_discriminator(slope=1.0, norm=False)
        assert torch.allclose(linear(a + b), linear(a) + linear(b), atol=1e-5)
        bent = altered_discriminator(slope=0.2, norm=False)
        assert not torch.allclose(bent(a + b), bent(a) + bent(b), atol=1e-5)


def test_dropout_keeps_the_mean_and_does_nothing_in_eval_mode():
    torch.manual_seed(0)
    maps = torch.rand(4, 8, 2, 2) + 1
    layer = nn.Dropout2d(0.25)
    average = torch.stack([layer(maps) for _ in range(4_000)]).mean(0)
    assert (average / maps - 1).abs().max() < 0.1
    assert torch.equal(layer.eval()(maps), maps)


@pytest.mark.slow
def test_dropout_lowers_memorising_and_changes_the_held_out_score_by_no_more_than_the_seeds_differ(small):
    real, fake = small
    memorised, held_out = {}, {}
    for p in (0.0, 0.25, 0.5):
        networks = [
            learn_to_tell_apart(altered_discriminator(dropout=p, seed=s), real[:100], fake[:1_000], steps=120, seed=s)
            for s in SEEDS
        ]
        memorised[p] = [share_ranked(network, real[:100], real[1_000:]) for network in networks]
        held_out[p] = [share_ranked(network, real[1_000:], fake[1_000:]) for network in networks]
    assert median(memorised[0.0]) > median(memorised[0.25]) > median(memorised[0.5]) > 0.58
    assert median(memorised[0.0]) > median(memorised[0.5]) + 0.03
    for p in (0.25, 0.5):
        assert abs(median(held_out[p]) - median(held_out[0.0])) < max(map(spread, held_out.values())), held_out


def spread(values: list[float]) -> float:
    return max(values) - min(values)


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.5), (0.5, 0.0), (0.3, -0.6)])
def test_batch_norm_at_the_input_removes_brightness_and_contrast_of_the_batch(a, b, letters):
    layer = nn.BatchNorm2d(1)
    assert torch.allclose(layer(a * letters[:64] + b), layer(letters[:64]), atol=1e-2)


def test_after_a_normalised_input_the_trained_discriminator_does_not_see_brightness_and_in_eval_mode_it_does(
    judge, run, letters
):
    norm = nn.BatchNorm2d(1)
    nn.init.constant_(norm.weight, float(letters.std()))
    nn.init.constant_(norm.bias, float(letters.mean()))
    guarded = nn.Sequential(norm, copy.deepcopy(judge)).train()
    with torch.no_grad():
        assert (guarded(letters[:256] + 0.7) - guarded(letters[:256])).abs().max() < 0.05
        assert run.discriminator(letters[:256] + 0.7).mean() < run.discriminator(letters[:256]).mean() - 1


def test_two_separate_batches_hide_the_contrast_of_a_batch_and_one_mixed_batch_does_not(judge, run, letters):
    with torch.no_grad():
        full, dimmed = judge(letters[:256]), judge(0.5 * letters[:256])
        assert (full - dimmed).abs().max() < 0.1
        assert (run.discriminator(0.5 * letters[:256]) - run.discriminator(letters[:256])).abs().mean() > 1
        mixed = judge(torch.cat([letters[:256], 0.5 * letters[:256]])).chunk(2)
    assert (mixed[0] - mixed[1]).abs().mean() > 0.5


def test_the_logit_is_the_sum_of_what_the_positions_of_the_last_maps_add(run, letters):
    network, weights = run.discriminator, run.discriminator.layers[-2].weight
    with torch.no_grad():
        last = network.layers[:-3](letters[:16].clone())
        adds = (last * weights.view(1, *last.shape[1:])).sum(1)
        assert torch.allclose(adds.sum((1, 2)), network(letters[:16]), atol=1e-4)


def gradient_of(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    inputs = inputs.clone().requires_grad_()
    return torch.autograd.grad(function(inputs).sum(), inputs)[0]


def follow(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    for _ in range(8):
        gradient = gradient_of(function, inputs)
        inputs = inputs + gradient / 8 / gradient.flatten(1).norm(dim=1).reshape(-1, *[1] * (inputs.ndim - 1))
    return inputs.detach()


@pytest.mark.parametrize("seed", [2, 3])
def test_following_the_gradient_in_pixels_raises_the_logit_more_and_only_in_latents_makes_better_letters(run, seed):
    latents = draw_latents(500, run.config.latent_size, seed=seed)
    start = run.generator(latents).detach()
    redrawn = run.generator(follow(lambda z: run.discriminator(run.generator(z)), latents)).detach()
    images = {"start": start, "pixels": follow(run.discriminator, start).clamp(-1, 1), "latents": redrawn}
    with torch.no_grad():
        logits = {name: float(run.discriminator(each).mean()) for name, each in images.items()}
    assert logits["start"] + 2 < logits["latents"] < logits["pixels"] - 1
    recognised = {}
    for name, each in images.items():
        recognised[name] = float((measure(letter_classifier(), each)[1].amax(dim=1) >= RECOGNISED_AT).float().mean())
    assert recognised["start"] - 0.05 < recognised["pixels"] < recognised["start"], recognised
    assert recognised["latents"] > recognised["start"] + 0.04, recognised
    moved = {name: (each - start).flatten(1).norm(dim=1).mean() for name, each in images.items()}
    assert moved["pixels"] < 0.2 * moved["latents"], "changes that can hardly be seen"


def test_the_gradient_at_a_fake_is_strongest_along_its_strokes(run, fakes):
    gradient = gradient_of(run.discriminator, fakes[:500]).square()
    near = max_pool2d((fakes[:500] > -0.5).float(), 3, 1, 1) > 0
    assert float((gradient * near).sum() / gradient.sum()) > 1.7 * float(near.float().mean())


@pytest.fixture(scope="module")
def taught(small) -> dict[str, list[nn.Module]]:
    """Five seeds of the small discriminator as it is, and with one change, after sixty steps, in eval mode."""
    real, fake = small
    alterations = {
        "as it is": {},
        "max pooling": {"reduction": "max"},
        "average pooling": {"reduction": "average"},
        "ReLU": {"slope": 0.0},
        "no activation": {"slope": 1.0},
        "no batch norm": {"norm": False},
        "norm at the input": {"norm_at_input": True},
        "average head": {"head": "average"},
    }
    return {
        name: [
            learn_to_tell_apart(
                altered_discriminator(seed=seed, **options),
                real[:1_000],
                fake[:1_000],
                steps=60,
                seed=seed,
                one_batch=name == "one batch",
            )
            for seed in SEEDS
        ]
        for name, options in [*alterations.items(), ("one batch", {})]
    }


@pytest.fixture(scope="module")
def learnt(small, taught) -> dict[str, list[float]]:
    """Their held-out scores."""
    real, fake = small
    return {
        name: [share_ranked(network, real[1_000:], fake[1_000:]) for network in networks]
        for name, networks in taught.items()
    }


def wins(learnt: dict[str, list[float]], change: str) -> int:
    """In how many of the five seeds the changed discriminator scores higher than the one as it is."""
    return sum(changed > usual for changed, usual in zip(learnt[change], learnt["as it is"], strict=True))


@pytest.mark.slow
def test_averaging_each_map_before_the_linear_layer_costs_most_and_brings_the_median_near_guessing(learnt):
    head, usual = median(learnt["average head"]), median(learnt["as it is"])
    assert wins(learnt, "average head") <= 1 and head - 0.5 < 0.5 * (usual - 0.5), learnt
    assert head == min(median(scores) for scores in learnt.values())
    assert spread(learnt["average head"]) == max(map(spread, learnt.values())), "the seeds differ widely"


@pytest.mark.slow
@pytest.mark.parametrize("change", ["one batch", "max pooling", "average pooling", "ReLU", "no batch norm"])
def test_against_fixed_fakes_some_changes_of_the_recipe_learn_faster_in_every_seed(learnt, change):
    assert wins(learnt, change) == 5 and median(learnt[change]) > median(learnt["as it is"]) + 0.03, learnt


@pytest.mark.slow
@torch.no_grad()
def test_discriminators_trained_on_mixed_batches_have_the_lower_median_loss_on_held_out_images(small, taught):
    real, fake = (images[1_000:] for images in small)
    losses = {
        way: median(float(softplus(-network(real)).mean() + softplus(network(fake)).mean()) for network in taught[way])
        for way in ("as it is", "one batch")
    }
    assert losses["one batch"] < losses["as it is"] - 0.05, losses


@pytest.mark.slow
@pytest.mark.parametrize("change", ["norm at the input", "no activation"])
def test_against_fixed_fakes_a_norm_at_the_input_and_no_activation_learn_a_little_worse_in_nearly_every_seed(
    learnt, change
):
    loss = median(learnt["as it is"]) - median(learnt[change])
    assert wins(learnt, change) <= 1 and 0 < loss < spread(learnt["as it is"]), learnt


def test_from_a_logit_of_17_on_sigmoid_and_logarithm_give_infinity_and_no_gradient_in_float32():
    for value, finite in ((16.0, True), (17.0, False), (50.0, False)):
        logit = torch.tensor(value, requires_grad=True)
        loss = -torch.log(1 - torch.sigmoid(logit))
        (slope,) = torch.autograd.grad(loss, logit)
        assert bool(torch.isfinite(loss)) is finite
        assert bool(torch.isfinite(slope)) is finite


def test_bce_loss_after_a_sigmoid_has_no_gradient_where_the_discriminator_is_confident_and_wrong():
    for value in (17.0, 50.0, 1000.0):
        logit = torch.tensor(value, requires_grad=True)
        loss = nn.BCELoss()(torch.sigmoid(logit), torch.tensor(0.0))
        (slope,) = torch.autograd.grad(loss, logit)
        assert float(loss.detach()) == 100
        assert float(slope) == 0


def test_softplus_is_finite_with_gradient_1_where_its_formula_overflows():
    for value in (17.0, 89.0, 1000.0):
        logit = torch.tensor(value, requires_grad=True)
        loss = softplus(logit)
        (slope,) = torch.autograd.grad(loss, logit)
        assert float(loss.detach()) == pytest.approx(value)
        assert float(slope) == pytest.approx(1)
    assert torch.isinf(torch.log(1 + torch.exp(torch.tensor(89.0))))


def test_the_trained_discriminators_logits_do_not_reach_the_overflow(run, letters, fakes):
    with torch.no_grad():
        assert max(run.discriminator(images).abs().max() for images in (letters, fakes)) < 16
