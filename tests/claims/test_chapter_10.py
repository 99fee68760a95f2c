"""What chapter 10 claims, measured; its recorded study, read."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from dcgan_core.data import Batches, Dataset, load, scale
from dcgan_core.iteration import advance as advance_images
from dcgan_core.laboratory import ModeStatistics, median_interval, mode_statistics, ring
from dcgan_core.laboratory.ensemble import (
    COLLAPSES,
    COVERS,
    Ensemble,
    History,
    PointConfig,
    advance,
    sample,
    start,
    train,
)
from dcgan_core.laboratory.protocol import image_config
from dcgan_core.losses import GAMES
from dcgan_core.metrics import coverage, letter_classifier, shipped_classifier
from dcgan_core.metrics.features import measure
from dcgan_core.runtime import choose_machine
from dcgan_core.state import draw_latents
from dcgan_core.state import sample as draw_images
from dcgan_core.state import start as start_images
from dcgan_core.steps import update_generator
from dcgan_core.teaching import chapter_10
from dcgan_core.teaching.chapter_10 import FACTORS, PRESETS, describe, favourites, games, recorded_study, watch

SEEDS = range(5)
EQUILIBRIUM = 2 * math.log(2)

pytestmark = pytest.mark.usefixtures("one_thread")


# Counting


@pytest.fixture(scope="module")
def samplers() -> dict[str, ModeStatistics]:
    rng = torch.Generator().manual_seed(0)
    data, order, noise = ring(), torch.arange(2_500), torch.randn(2_500, 2, generator=rng)
    angle, radius = 2 * math.pi * torch.rand(2_500, generator=rng), 2 + 0.2 * torch.randn(2_500, generator=rng)
    halfway = (order % 8 + 0.5) * math.pi / 4
    made = {
        "data": data.sample(2_500, rng=rng),
        "one mode": data.points(0 * order, noise),
        "nearly one mode": data.points((order % 8) * (order < 40), noise),
        "smear": radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1),
        "between": 2 * torch.stack([halfway.cos(), halfway.sin()], dim=1),
    }
    return {name: mode_statistics(data, points) for name, points in made.items()}


def test_the_data_itself_is_not_perfect_by_two_of_three_numbers(samplers):
    data = samplers["data"]
    assert data.covered == 8 and 0.98 < data.good < 0.995 and 0 < data.kl < 0.01


def test_each_number_praises_a_sampler_that_another_one_exposes(samplers):
    assert samplers["one mode"].good > 0.98 and samplers["one mode"].covered == 1
    assert samplers["nearly one mode"].covered == 8 and samplers["nearly one mode"].kl > 1.5
    assert samplers["smear"].covered == 8 and samplers["smear"].kl < 0.3 and samplers["smear"].good < 0.05
    assert samplers["between"].covered == 0 and samplers["between"].good == 0


# Against a judge that stands still


def freeze(game: Ensemble, num_steps: int) -> None:
    """Only the generator learns."""
    loss, num_seeds = GAMES["non-saturating"].generator, len(game.rngs)
    for _ in range(num_steps):
        fake = game.generator(game.draw_latents(game.config.batch_size))
        update_generator(game.discriminator, game.generator_optimizer, lambda logits: num_seeds * loss(logits), fake)


@pytest.mark.slow
def test_against_a_frozen_discriminator_every_seed_loses_its_modes_and_in_the_game_it_does_not():
    game = start(replace(COVERS, mixture="grid"), SEEDS)
    for _ in range(1_000):
        advance(game)
    latents = game.draw_latents(2_500)
    before = sample(game, latents)
    for _ in range(200):
        advance(game)
    played = sample(game, latents)
    freeze(game, 1_000)
    frozen = sample(game, latents)
    counts = [mode_statistics(game.mixture, points).covered for points in (before, played, frozen)]
    assert counts[0].min() >= 9 and counts[1].min() >= 9 and counts[2].max() <= 8
    shares = [favourites(game.mixture, points)[1].median() for points in (before, frozen)]
    assert shares[0] < 0.15 and shares[1] > 0.4


# The ring


@pytest.fixture(scope="module")
def corners() -> dict[str, History]:
    return {
        "covers": play(COVERS),
        "lottery": play(replace(COVERS, activation="relu")),
        "slow tanh": play(replace(COLLAPSES, activation="tanh")),
        "collapses": play(COLLAPSES),
    }


def play(config, **changes) -> History:
    config = replace(config, **changes)
    return train(replace(config, snapshot_every_steps=config.total_steps // 10), SEEDS)


def favourites_of(history: History) -> Tensor:
    """At ten looks after the start: (10, S)."""
    return favourites(ring(), history.samples)[0][1:]


def test_the_cluster_rotates(corners):
    """Most samples at one mode, at nearly every look; and three modes or more in ten looks, in every seed.

    The favourite of evenly spread samples changes, too, but it has few of them.
    """
    shares = {name: favourites(ring(), corners[name].samples)[1][1:] for name in ("collapses", "covers")}
    assert shares["collapses"].median() > 0.7 > 0.4 > shares["covers"][-5:].max()
    assert min(describe(corners["collapses"])["favourites"]) >= 3


def test_collapsed_samples_are_one_cluster_and_covering_ones_are_not(corners):
    """Medians over the seeds at the last look: of the share of samples nearest to one mode."""
    shares = {name: statistics.median(describe(corners[name])["crowd"]) for name in corners}
    assert shares["collapses"] > 0.7 > 0.3 > shares["covers"]


def test_one_check_tells_little_of_a_wandering_cluster(corners):
    """The same seed covers a mode at one look and none at another, in most seeds."""
    covered = corners["collapses"].statistics.covered[1:]
    assert ((covered.amin(dim=0) == 0) & (covered.amax(dim=0) > 0)).sum() >= 3


def test_each_of_the_two_differences_alone_does_not_make_the_collapse(corners):
    covered = {name: history.statistics.covered[-1].double() for name, history in corners.items()}
    assert covered["collapses"].median() <= 2 and covered["slow tanh"].median() >= 4
    assert covered["covers"].median() >= 7 and covered["covers"].min() >= 6


def test_with_relu_and_equal_rates_the_seed_decides(corners):
    covered = corners["lottery"].statistics.covered[-1]
    assert covered.max() - covered.min() >= 3


def loss_of(history: History) -> float:
    return statistics.median(describe(history)["discriminator_loss"])


def test_a_collapsed_game_and_one_that_covers_most_modes_have_the_equilibriums_loss(corners):
    for name in ("collapses", "slow tanh"):
        assert loss_of(corners[name]) == pytest.approx(EQUILIBRIUM, abs=0.06)
    covered = [corners[name].statistics.covered[-1].median() for name in ("collapses", "slow tanh")]
    assert covered[1] - covered[0] >= 3


def test_the_game_that_covers_everything_has_a_loss_below_the_equilibriums(corners):
    assert loss_of(corners["covers"]) < EQUILIBRIUM - 0.03


@pytest.fixture(scope="module")
def settled() -> History:
    return play(COLLAPSES, discriminator_learning_rate=3e-3, total_steps=2_000)


@pytest.mark.slow
def test_with_a_fast_discriminator_the_collapse_settles_and_with_a_slow_one_it_wanders(settled, corners):
    """Changes of the favourite over the last five looks; a mode may change places with one that is as full."""
    changes = {
        name: (favourites_of(one)[-5:].diff(dim=0) != 0).sum(dim=0)
        for name, one in (("settled", settled), ("wandering", corners["collapses"]))
    }
    assert changes["settled"].median() == 0 and changes["wandering"].median() >= 2


@pytest.mark.slow
def test_settled_samples_are_good_whether_or_not_modes_are_missing(settled, corners):
    assert settled.statistics.good[-1].median() > 0.3 > corners["covers"].statistics.good[-1].median()
    assert settled.statistics.covered[-1].min() <= 5, "some seed misses modes"


@pytest.mark.slow
def test_a_settled_collapse_has_a_loss_far_below_that_of_a_wandering_one(settled, corners):
    missing = settled.statistics.covered[-1] <= 5
    losses = torch.tensor(describe(settled)["discriminator_loss"])[missing]
    assert losses.max() < loss_of(corners["collapses"]) - 0.25


@pytest.mark.slow
def test_on_the_grid_the_collapsing_settings_cover_at_most_three_modes_at_every_check_and_the_covering_ones_many():
    found = {preset: play(preset, mixture="grid").statistics.covered[1:] for preset in (COLLAPSES, COVERS)}
    assert found[COLLAPSES].median(dim=1).values.max() <= 3 and found[COVERS][-1].median() >= 10


# The recorded study


def covered(preset: str, factor: str, value: str) -> list[float]:
    return recorded_study()[0][preset][factor][value]["covered"]


def median(preset: str, factor: str, value: str, measure: str = "covered") -> float:
    return statistics.median(recorded_study()[0][preset][factor][value][measure])


def test_record_is_of_the_study_as_it_is_defined_now():
    results, provenance = recorded_study()
    presets = {name: PointConfig(**preset) for name, preset in provenance["presets"].items()}
    assert presets == PRESETS, "fields that came later, and change nothing, may be missing there"
    found = {
        (preset, factor, value) for preset in results for factor in results[preset] for value in results[preset][factor]
    }
    assert found == set(games())
    for key in games():
        preset, factor, value = key
        assert len(results[preset][factor][value]["covered"]) == provenance["seeds"] == 8


def test_recorded_presets_are_the_same_in_every_factor():
    results, _ = recorded_study()
    for name, preset in PRESETS.items():
        own = [
            results[name][factor][value]
            for factor, values in FACTORS.items()
            for value, changes in values.items()
            if replace(preset, **changes) == preset
        ]
        assert len(own) == len(FACTORS) and all(one == own[0] for one in own)


@pytest.mark.slow
def test_a_slice_of_the_study_played_now_has_the_recorded_medians_up_to_two_modes(corners):
    for name, key in (("covers", ("COVERS", "tanh")), ("collapses", ("COLLAPSES", "ReLU"))):
        now = float(corners[name].statistics.covered[-1].median())
        assert abs(now - median(key[0], "activation", key[1])) <= 2


def test_recorded_relu_with_equal_rates_goes_from_none_to_all_eight():
    assert min(covered("COVERS", "activation", "ReLU")) == 0 and max(covered("COVERS", "activation", "ReLU")) == 8


@pytest.mark.parametrize(
    ("factor", "value", "least"),
    [
        *(("latent size", "2", 8), ("latent size", "256", 8), ("hidden layers", "3", 8), ("updates", "4,000", 8)),
        *(("discriminator's rate", "0.0003", 6), ("discriminator's rate", "0.003", 6)),
        *(("generator's rate", "0.0003", 6), ("generator's rate", "0.003", 6), ("hidden layers", "1", 6)),
    ],
)
def test_recorded_covering_preset_is_robust(factor, value, least):
    assert median("COVERS", factor, value) >= least


def test_recorded_slow_generator_is_undertrained():
    assert median("COVERS", "generator's rate", "0.0001") == 4
    assert median("COVERS", "generator's rate", "0.0001", "good") < 0.005


STUBBORN = (
    *(("latent size", "2"), ("latent size", "256"), ("hidden layers", "1"), ("hidden layers", "3")),
    *(("generator's rate", value) for value in ("0.0001", "0.0003", "0.003")),
    *(("updates", "4,000"), ("discriminator updates", "5")),
)


@pytest.mark.parametrize(("factor", "value"), STUBBORN)
def test_recorded_collapse_is_stubborn(factor, value):
    """The slowest rate of the generator makes the two rates equal, at 0.0001."""
    assert median("COLLAPSES", factor, value) <= 1


def test_recorded_collapse_gives_way_to_tanh_and_to_faster_discriminators():
    assert median("COLLAPSES", "activation", "tanh") == 6
    for rate in ("0.001", "0.003"):
        found = covered("COLLAPSES", "discriminator's rate", rate)
        assert statistics.median(found) >= 3 and max(found) == 8 and min(found) <= 3, "and the seeds part"


def test_recorded_five_discriminator_updates_buy_good_samples_with_modes():
    one, five = (recorded_study()[0]["COVERS"]["discriminator updates"][value] for value in ("1", "5"))
    assert statistics.median(five["good"]) > 3 * statistics.median(one["good"])
    assert median_interval(five["good"])[1] > median_interval(one["good"])[2]
    assert median_interval(five["covered"])[2] < median_interval(one["covered"])[1]


def test_recorded_time_makes_the_covering_games_samples_good():
    assert median("COVERS", "updates", "4,000", "good") > 0.5 > 0.1 > median("COVERS", "updates", "1,000", "good")


def test_recorded_losses_go_with_the_modes_weakly_and_with_opposite_signs():
    ranks = []
    for factors in recorded_study()[0].values():
        played = [one for values in factors.values() for one in values.values()]
        unique = {tuple(one["discriminator_loss"]): one["covered"] for one in played}
        losses, modes = (np.ravel(list(part)) for part in (unique, unique.values()))
        ranks.append(spearmanr(losses, modes).statistic)
    assert ranks[0] > 0 > ranks[1] and max(map(abs, ranks)) < 0.5


# Letters


@pytest.fixture(scope="module")
def letters() -> Dataset:
    return load("glyphs", image_size=16)


def letter_counts(letters: Dataset, seed: int, **changes) -> list[tuple[int, float, Tensor]]:
    """Letters covered, share recognised, and recognised samples of each letter, at six looks over 300 updates."""
    config = replace(image_config("letters", "non-saturating", 1e-3, seed), **changes)
    machine = choose_machine("cpu", "float32")
    state, latents = start_images(config, machine), draw_latents(400, config.latent_size, seed=1)
    batches, found = Batches(letters.images, batch_size=64, seed=seed), []
    for step in range(1, 301):
        advance_images(state, batches(state.step), machine)
        if step % 50 == 0:
            _, probabilities = measure(letter_classifier(), draw_images(state.sampler, latents))
            one = coverage(probabilities)
            found.append((one.classes_covered, one.recognised, torch.tensor(one.class_counts)))
    return found


@pytest.mark.slow
def test_the_changed_game_covers_fewer_letters_than_the_usual_one_and_most_it_draws_are_one_letter(letters):
    """In three seeds; the share is of the recognised samples at looks that have ten or more, in the median."""
    usual, changed, share = [], [], []
    for seed in range(3):
        usual.append(letter_counts(letters, seed)[-1][0])
        looks = letter_counts(letters, seed, discriminator_norm="none", discriminator_learning_rate=1e-4)
        changed.append(looks[-1][0])
        share += [float(counts.max() / counts.sum()) for _, _, counts in looks if counts.sum() >= 10]
    assert max(changed) < min(usual)
    assert len(share) >= 3 and statistics.median(share) > 0.6


# A thousand modes


def test_counting_the_most_probable_class_finds_hundreds_of_digits_where_there_is_none():
    images = scale(load("stacked-digits", image_size=16, channels=3, split="test").images[:1_500])
    rng = torch.Generator().manual_seed(0)
    judge = shipped_classifier("stacked-digits")
    reached, sure = {}, {}
    for name, shown in (
        ("digits", images),
        ("overlaid", torch.maximum(images, images.roll(1, dims=0))),
        ("noise", torch.rand(images.shape, generator=rng) * 2 - 1),
    ):
        _, probabilities = measure(judge, shown)
        reached[name] = coverage(probabilities, recognised_at=0.0).classes_covered
        sure[name] = coverage(probabilities).recognised
    assert reached["overlaid"] > 400 and sure["overlaid"] < 0.03
    assert reached["noise"] < 50 and sure["noise"] == 0, "noise fools it less"
    assert sure["digits"] > 0.98 and reached["digits"] > 700


def test_of_as_many_samples_as_modes_more_than_a_third_of_the_modes_is_missed_by_chance():
    draws = torch.randint(1_000, (50, 1_000), generator=torch.Generator().manual_seed(0))
    hit = statistics.mean(len(set(row)) for row in draws.tolist())
    assert hit == pytest.approx(1_000 * (1 - (1 - 1 / 1_000) ** 1_000), rel=0.01) and hit < 667


# The chapter's own machinery


def test_watching_a_seed_is_training_it():
    config = replace(COVERS, total_steps=4, snapshot_every_steps=1)
    watched, trained = watch(config, 3, num_looks=8, num_points=20), train(config, [3])
    assert watched.steps == trained.steps.tolist()
    assert torch.equal(watched.points, trained.samples[:, 0, :20])
    assert torch.equal(watched.losses, trained.losses[..., 0])
    assert torch.equal(watched.statistics.covered, trained.statistics.covered[:, 0])
    assert watched.surface.min() >= 0 and watched.surface.max() <= 1 and watched.surface.shape == (5, 40, 40)


def test_the_favourite_is_the_mode_of_the_cluster_whether_it_is_good_or_not():
    mode, share = favourites(ring(), torch.tensor([[[0.0, 1.5], [0.0, 1.4], [0.1, 1.6], [2.0, 0.0]]]))
    assert mode.tolist() == [2] and share.tolist() == [0.75]


def test_a_study_writes_every_game_and_plays_equal_ones_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chapter_10, "PRESETS", {"A": replace(COVERS, total_steps=2)})
    monkeypatch.setattr(
        chapter_10, "FACTORS", {"beta1": {"0": {"beta1": 0.0}, "0.5": {"beta1": 0.5}}, "again": {"x": {}}}
    )
    threads = torch.get_num_threads()
    chapter_10.record(tmp_path / "study.json", seeds=range(2))
    torch.set_num_threads(threads)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert '"again":{"x":{"covered":[' in (tmp_path / "study.json").read_text()
