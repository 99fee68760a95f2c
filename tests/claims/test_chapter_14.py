"""Chapter 14's sentences, measured on the recorded generator with latents other than the chapter's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import median

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn.functional import normalize

from dcgan_core import recorded
from dcgan_core.data import glyphs, scale
from dcgan_core.metrics import RECOGNISED_AT, letter_classifier, nearest_neighbours, precision_recall
from dcgan_core.metrics.features import measure as classify
from dcgan_core.teaching.directions import LATENT_RIDGE, STEP, StyleJudge
from dcgan_core.teaching.walks import linear, spherical
from dcgan_core.train import draw_latents, sample

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = 3_000  # seeds from here on; the chapter's are below
GENERATOR = recorded.load("glyphs32").generator.requires_grad_(False)
SIZE = GENERATOR.latent_size


def draw(count: int, seed: int) -> Tensor:
    return draw_latents(count, SIZE, seed=SEED + seed)


def letters_of(latents: Tensor) -> tuple[Tensor, Tensor]:
    """The letter (N,) of each latent's image, and whether it is recognised (N,)."""
    confidence, letter = classify(letter_classifier(), sample(GENERATOR, latents))[1].max(dim=1)
    return letter, confidence >= RECOGNISED_AT


def recognised(latents: Tensor) -> Tensor:
    return letters_of(latents)[1].double()


@cache
def judge() -> StyleJudge:
    return StyleJudge(2_000)


def rendered(count: int, **choices) -> Tensor:
    return scale(torch.from_numpy(glyphs.render(count, **choices).images))


def test_latents_lie_in_a_thin_shell_and_middles_are_normal_with_half_the_variance():
    first, last = draw(5_000, 0), draw(5_000, 1)
    assert ((first.norm(dim=1) > 8) & (first.norm(dim=1) < 12)).double().mean() > 0.98
    assert torch.cosine_similarity(first, last).std() == pytest.approx(0.1, abs=0.01)
    assert linear(first, last, 0.5).var() == pytest.approx(0.5, abs=0.01)


def test_the_sphere_is_better_by_a_few_letters_in_a_hundred_as_short_latents_are_worse():
    first, last = draw(4_000, 2), draw(4_000, 3)
    gain = recognised(spherical(first, last, 0.5)) - recognised(linear(first, last, 0.5))
    assert 0.01 < gain.mean() < 0.06
    short = (recognised(first) - recognised(first * 0.5**0.5)).mean()
    assert 0.01 < short < 0.06, "a straight middle is as good as a latent that is shrunk as far"


@cache
def walks(steps: int) -> Tensor:
    starts, ends = draw(30, 4), draw(30, 5)
    way = torch.stack([linear(starts, ends, step / steps) for step in range(steps + 1)], dim=1)
    return sample(GENERATOR, way.flatten(0, 1)).unflatten(0, (30, steps + 1))


def test_walks_have_no_jumps_and_an_uneven_pace():
    moved = {steps: walks(steps).diff(dim=1).flatten(2).norm(dim=2) for steps in (32, 128)}
    largest = {steps: each.amax(dim=1).median() for steps, each in moved.items()}
    assert 3 < largest[32] / largest[128] < 4.2
    assert 1.9 < (moved[128].amax(dim=1) / moved[128].mean(dim=1)).median() < 3.2


def test_a_walk_meets_about_four_letters_and_hardly_one_is_recognised_throughout():
    confidence, letter = classify(letter_classifier(), walks(128).flatten(0, 1))[1].max(dim=1)
    kinds = [len(set(each)) for each in letter.reshape(30, -1).tolist()]
    assert 3 < sum(kinds) / 30 < 5
    sure = (confidence >= RECOGNISED_AT).reshape(30, -1)
    assert sure.all(dim=1).double().mean() <= 0.1 and 0.55 < sure.double().mean() < 0.8


@cache
def pool_of_arithmetic() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Latents, their letters, how bold they are, and whether both are certain."""
    pool = draw(6_000, 6)
    letter, sure = letters_of(pool)
    weight = judge()(sample(GENERATOR, pool))[:, 0]
    return pool, letter, weight, sure & (weight.abs() > 0.3)


def arithmetic(count: int) -> tuple[float, float, float, float]:
    """Shares of bold, of the right letter and of both, and the length, of bold X - regular X + regular Y."""
    pool, letter, weight, sure = pool_of_arithmetic()
    rng = torch.Generator().manual_seed(SEED)

    def mean_of(wanted: int, bold: bool) -> Tensor:
        fits = (sure & (letter == wanted) & ((weight > 0) == bold)).nonzero()[:, 0]
        return pool[fits[torch.randperm(len(fits), generator=rng)[:count]]].mean(dim=0)

    x = torch.randint(26, (300,), generator=rng)
    y = (x + torch.randint(1, 26, (300,), generator=rng)) % 26
    sums = [
        mean_of(a, True) - mean_of(a, False) + mean_of(b, False) for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    made = sample(GENERATOR, torch.stack(sums))
    right, bold = judge().letters(made) == y, judge()(made)[:, 0] > 0
    shares = (each.double().mean().item() for each in (bold, right, bold & right))
    return *shares, torch.stack(sums).norm(dim=1).mean().item()  # type: ignore[return-value]


def test_arithmetic_works_in_about_one_of_eight_cases_with_single_latents_a_third_with_three_and_half_with_ten():
    one, three, ten = (arithmetic(count) for count in (1, 3, 10))
    assert 0.08 < one[2] < 0.18 and 0.25 < three[2] < 0.45 and 0.42 < ten[2] < 0.65
    assert one[1] + 0.2 < three[1] and three[1] + 0.15 < ten[1], "the letter gets right"
    assert ten[0] - one[0] < 0.2, "hardly more get bold"
    assert one[3] == pytest.approx(300**0.5, abs=0.4) and three[3] == pytest.approx(10, abs=0.4)


def rises(latents: Tensor, scores: Tensor) -> Tensor:
    return torch.from_numpy(Ridge(LATENT_RIDGE).fit(latents.double(), scores).coef_.T)


@cache
def trial_latents() -> tuple[Tensor, Tensor]:
    """200 latents, and their letters."""
    trial = draw(200, 7)
    return trial, judge().letters(sample(GENERATOR, trial))


def effect(vector: Tensor) -> tuple[list[float], float]:
    trial, letter = trial_latents()
    back, forward = (sample(GENERATOR, trial + way * STEP * vector) for way in (-1, 1))
    change = ((judge()(forward) > 0).double() - (judge()(back) > 0).double()).mean(dim=0)
    kept = torch.cat([judge().letters(each) == letter for each in (back, forward)]).double().mean()
    return change.tolist(), kept.item()


@cache
def from_few(num_labels: int) -> list[tuple[float, float]]:
    """For weight, slant and serif: styles changed and letters kept, medians of five draws of labelled samples."""
    found: list[list[tuple[float, float]]] = [[], [], []]
    for seed in range(5):
        latents = draw(num_labels, 20 + seed)
        vectors = normalize(rises(latents, judge()(sample(GENERATOR, latents)).sign()).float(), dim=0)
        for place in range(3):
            change, kept = effect(vectors[:, place])
            found[place].append((change[place], kept))
    return [(median(a for a, _ in each), median(b for _, b in each)) for each in found]


@pytest.mark.slow
def test_few_labels_are_enough_for_weight_and_a_thousand_for_all_three():
    weight, slant, serif = from_few(20)
    assert weight[0] > 0.22 and slant[0] < weight[0] and serif[0] < weight[0]
    assert from_few(200)[0][0] > 0.6
    assert all(change > 0.5 for change, _ in from_few(1_000))
    assert from_few(1_000)[0][0] > from_few(1_000)[1][0] > from_few(1_000)[2][0]


@pytest.mark.slow
def test_letters_are_lost_whatever_the_labels_and_random_steps_lose_more_than_half_as_many():
    by_chance = effect(normalize(draw(200, 8), dim=1))[1]
    kept = [many[1] for many in from_few(1_000)]
    for few, many in zip(from_few(20), from_few(1_000), strict=True):
        assert many[1] <= few[1] + 0.03 and 0.55 < many[1] < 0.75
    assert sum(kept) / 3 < by_chance - 0.03 and 0.15 < 1 - by_chance < 0.3, (by_chance, kept)
    assert 1 - by_chance > 0.5 * (1 - sum(kept) / 3), (by_chance, kept)
    assert kept[2] == min(kept), "serifs cost most"


@pytest.mark.slow
def test_raw_directions_are_entangled_and_cut_ones_far_less():
    latents = draw(3_000, 9)
    raw = rises(latents, judge()(sample(GENERATOR, latents)).clamp(-1.5, 1.5))
    unit = normalize(raw, dim=0)
    cosines = (unit.T @ unit).tolist()
    assert cosines[0][1] > 0.12 and cosines[0][2] < -0.12, "bolder is more slanted and less serifed"
    cut = normalize(raw @ torch.linalg.inv(raw.T @ raw), dim=0)
    others: dict[str, list[float]] = {"raw": [], "cut": []}
    for name, vectors in (("raw", unit), ("cut", cut)):
        for place in range(3):
            change, kept = effect(vectors[:, place].float())
            assert change[place] > 0.55 and 0.45 < kept < 0.8
            others[name] += [abs(each) for other, each in enumerate(change) if other != place]
    assert sum(others["cut"]) < 0.5 * sum(others["raw"])


def invert(targets: Tensor, starts: Tensor, prior: float = 0.0) -> tuple[Tensor, Tensor]:
    latents = starts.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([latents], lr=0.1)
    for step in range(101):
        made = GENERATOR(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])
        errors = (made - targets[:, None]).square().mean(dim=(2, 3, 4))
        if step < 100:
            optimizer.zero_grad()
            (errors + prior * latents.square().mean(dim=2)).sum().backward()
            optimizer.step()
    return latents.detach(), errors.detach()


TARGETS = 12


@cache
def starts() -> Tensor:
    return draw(TARGETS * 4, 10).unflatten(0, (TARGETS, 4))


def test_the_search_finds_the_image_and_not_the_latent_and_a_flat_valley_lies_between():
    true = draw(TARGETS, 11)
    targets = sample(GENERATOR, true)
    latents, errors = invert(targets, starts())
    best = errors.amin(dim=1)
    assert best.median() < 0.012 and errors.max() > 0.1 and best.median() < 0.7 * errors[:, 0].median()
    found = latents[range(TARGETS), errors.argmin(dim=1)]
    assert torch.cosine_similarity(found, true).median() < 0.35
    assert 10 < (found - true).norm(dim=1).median() < 16
    peaks = []
    for share in torch.linspace(0, 1, 11).tolist():
        made = sample(GENERATOR, linear(true, found, share))
        peaks.append((made - targets).square().mean(dim=(1, 2, 3)))
    assert torch.stack(peaks).amax(dim=0).median() < 0.04, "a tenth of the error between two letters"


@pytest.fixture(scope="module")
def wanted() -> dict[str, Tensor]:
    held_out = rendered(TARGETS, seed=SEED, split="test")
    digits = rendered(TARGETS, seed=SEED, characters=glyphs.DIGITS)
    return {"letters": held_out, "digits": digits, "moved": held_out.roll(6, dims=3)}


@pytest.mark.slow
def test_held_out_letters_and_digits_come_nearer_than_the_nearest_training_letter_and_moved_ones_do_not(
    wanted,
):
    training = rendered(20_000, seed=0).flatten(1)
    best, nearest = {}, {}
    for name, images in wanted.items():
        best[name] = invert(images, starts())[1].amin(dim=1).median()
        pixels = images.flatten(1)
        nearest[name] = nearest_neighbours(pixels, training).distances.square().median() / pixels.shape[1]
    assert best["letters"] < 0.7 * nearest["letters"] and best["digits"] < 0.7 * nearest["digits"]
    assert 1.5 * best["letters"] < best["digits"] < 3 * best["letters"], "about twice the error"
    assert best["moved"] > 5 * best["digits"]


def test_the_prior_makes_latents_shorter_and_the_error_no_worse(wanted):
    free, pulled = (invert(wanted["letters"], starts(), prior) for prior in (0.0, 0.01))
    assert free[0].norm(dim=2).median() > 10.5 > pulled[0].norm(dim=2).median() + 0.5
    assert pulled[1].amin(dim=1).median() < 1.3 * free[1].amin(dim=1).median()


def test_shrinking_latents_lowers_recall_and_precision_and_stretching_them_precision_only():
    real = classify(letter_classifier(), rendered(500, split="test", seed=SEED))[0]

    def medians(factor: float, measure: Callable = precision_recall) -> tuple[float, float]:
        pairs = []
        for seed in range(5):
            images = sample(GENERATOR, factor * draw(500, 30 + seed))
            pairs.append(measure(real, classify(letter_classifier(), images)[0]))
        return median(p for p, _ in pairs), median(r for _, r in pairs)

    found = {factor: medians(factor) for factor in (0.4, 0.6, 0.8, 1.0, 2.0)}
    assert found[0.4][1] < found[0.6][1] < found[1.0][1]
    assert found[0.4][0] < found[0.6][0] < found[1.0][0]
    assert found[0.8][0] < found[1.0][0] + 0.05, "no precision is gained"
    assert found[2.0][0] < found[1.0][0] and found[2.0][1] > found[1.0][1] - 0.05


def test_precision_of_the_same_generator_is_about_twice_as_high_with_400_samples_as_with_2000():
    real = classify(letter_classifier(), rendered(2_000, split="test", seed=SEED))[0]
    fake = classify(letter_classifier(), sample(GENERATOR, draw(2_000, 40)))[0]
    few, many = (precision_recall(real[:count], fake[:count])[0] for count in (400, 2_000))
    assert 1.5 < few / many < 2.5, (few, many)
