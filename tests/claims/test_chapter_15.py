"""What chapter 15 claims: of the recorded run that it uses, with other draws than the page has; and of its record."""

from __future__ import annotations

from statistics import median

import pytest
import torch

from dcgan_core import recorded
from dcgan_core.data import Dataset, load, unscale
from dcgan_core.laboratory.few_labels import draw, probe
from dcgan_core.laboratory.labels import AUGMENTED, BUDGETS, CLASS_GAMES, GENERATED, METHODS, PLAIN, UNLABELLED
from dcgan_core.laboratory.outcomes import median_interval
from dcgan_core.laboratory.pretraining import untrained, with_statistics_of
from dcgan_core.laboratory.representations import on_one_scale, patch_dictionary, pixels, pooled_layers
from dcgan_core.laboratory.supervised import NUM_OTHERS, accuracy, labelled_by, train_network
from dcgan_core.metrics.features import shipped_classifier
from dcgan_core.runtime import choose_machine
from dcgan_core.state import draw_latents, sample
from dcgan_core.teaching.chapter_15 import differences, draws_of, recorded_labels, shown

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWS = range(100, 106)  # the chapter's begin with 0
NUM_IMAGES, NUM_TEST = 4_000, 1_500


@pytest.fixture(scope="module")
def letters() -> Dataset:
    found = load("glyphs")
    return Dataset("glyphs", found.images[:NUM_IMAGES], found.labels[:NUM_IMAGES], found.class_names)


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    return load("glyphs", split="test")


@pytest.fixture(scope="module")
def found(letters, held_out) -> dict[tuple[str, int], list[float]]:
    """The accuracy of each draw, by method and labels in each class: of the run that the chapter uses."""
    run = recorded.load("glyphs32")
    methods = {
        "discriminator": pooled_layers(with_statistics_of(run.discriminator, letters.images)),
        "untrained": pooled_layers(with_statistics_of(untrained(run.config), letters.images)),
        "k-means patches": patch_dictionary(letters.images, num_patches=10_000),
        "pixels": pixels,
    }
    seen: dict[tuple[str, int], list[float]] = {}
    for name, represent in methods.items():
        own, others = represent(letters.images), represent(held_out.images[: 2 * NUM_TEST])
        features, judged = on_one_scale(own, own), on_one_scale(others, own)
        test, hidden = (
            (judged[part], held_out.labels[: 2 * NUM_TEST][part]) for part in (slice(NUM_TEST), slice(NUM_TEST, None))
        )
        for per_class in (1, 10):
            rows = [draw(letters.labels, per_class, seed) for seed in DRAWS]
            given = [(features[each], letters.labels[each]) for each in rows]
            seen[name, per_class] = [probe(each, hidden, test).inside for each in given]
    return seen


def better(found, one: str, other: str, per_class: int) -> list[float]:
    return [a - b for a, b in zip(found[one, per_class], found[other, per_class], strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("per_class", [1, 10])
@pytest.mark.parametrize("rival", ["untrained", "pixels"])
def test_on_letters_training_has_made_better_features_than_random_weights_and_pixels(found, rival, per_class):
    gained = better(found, "discriminator", rival, per_class)
    assert median(gained) > 0.03 and sum(each > 0 for each in gained) >= len(gained) - 1, gained


@pytest.mark.slow
@pytest.mark.parametrize("per_class", [1, 10])
def test_on_letters_the_discriminator_is_not_better_than_k_means_on_patches(found, per_class):
    assert median(better(found, "discriminator", "k-means patches", per_class)) < 0.01


@pytest.mark.slow
def test_much_of_the_accuracy_is_there_before_the_first_step(found):
    for per_class in (1, 10):
        over_guessing = [median(found[name, per_class]) - 1 / 26 for name in ("untrained", "discriminator")]
        assert over_guessing[0] > 0.75 * over_guessing[1]


def test_the_running_means_are_of_a_mixture(letters):
    run = recorded.load("glyphs32")
    own = with_statistics_of(run.discriminator, letters.images)
    shifts = (own.layers[3].running_mean - run.discriminator.layers[3].running_mean).abs()
    assert shifts.max() > 0.2


@pytest.mark.slow
def test_in_the_draw_of_the_page_generated_letters_help_a_network_and_so_do_real_ones(letters, held_out):
    run, machine = recorded.load("glyphs32"), choose_machine("cpu")
    test = held_out.images[:NUM_TEST], held_out.labels[:NUM_TEST]
    rows = draw(load("glyphs").labels[:5_000], 1, seed=0)
    given = load("glyphs").images[rows], load("glyphs").labels[rows]
    teacher = train_network(given, run.config, machine, augment=True)
    order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(0))
    made = unscale(sample(run.generator, draw_latents(NUM_OTHERS, run.config.latent_size, seed=0)))
    named, guesses = labelled_by(teacher, made)
    assert len(guesses[:26].unique()) < 16, "the surest are of a few letters"
    assert accuracy(shipped_classifier("glyphs"), (named, guesses)) > 0.5
    for others in (made, letters.images[order[:NUM_OTHERS]]):
        network = train_network(given, run.config, machine, augment=True, others=labelled_by(teacher, others))
        assert accuracy(network, test) > accuracy(teacher, test)


def test_the_medians_that_the_answer_names_are_those_of_the_record():
    lines = recorded_labels()
    for method, per_class, said in (
        ("discriminator", 1, (57, 56, 58)),
        ("pixels", 1, (48, 47, 49)),
        ("discriminator", 10, (95, 94, 95)),
        ("pixels", 10, (88, 88, 89)),
    ):
        found = draws_of(lines, "letters", method, per_class)
        assert len(found) == 20
        assert tuple(round(100 * each) for each in median_interval(found)) == said, method


def wins(data: str, one: str, other: str, per_class: int, draws: int = 20) -> int:
    """In how many of the draws of the record one method is better."""
    found = differences(recorded_labels(), data, one, other, per_class)
    assert len(found) == draws, (data, one, other, per_class)
    return sum(each > 0 for each in found)


def gained(data: str, one: str, other: str, per_class: int) -> float:
    """By how many points one method is more accurate than another, in the median of the draws."""
    return 100 * median(differences(recorded_labels(), data, one, other, per_class))


def test_in_the_record_training_is_worth_something_on_letters_and_digits():
    for data in ("letters", "digits"):
        for rival in ("pixels", "principal components", "untrained", "autoencoder"):
            for per_class in (1, 10):
                assert wins(data, "discriminator", rival, per_class) >= 19
    for per_class in BUDGETS:
        assert wins("letters", "discriminator", "pixels", per_class) == 20
        assert wins("digits", "discriminator", "pixels", per_class) == 20
        assert gained("digits", "discriminator", "pixels", per_class) > 5


def test_in_the_record_training_is_worth_nothing_on_clothes():
    for per_class in (1, 3, 10, 30):
        assert 8 <= wins("clothes", "discriminator", "untrained", per_class) <= 12
        assert abs(gained("clothes", "discriminator", "untrained", per_class)) < 0.5


def test_in_the_record_k_means_on_patches_is_ahead_of_the_discriminator_on_all_three():
    for data in shown(recorded_labels()):
        for per_class in (1, 3, 10, 30, 100):
            assert wins(data, "k-means patches", "discriminator", per_class) >= 13
            assert gained(data, "k-means patches", "discriminator", per_class) > 0
    assert round(100 * median(draws_of(recorded_labels(), "letters", "k-means patches", 1))) == 61


def test_in_the_record_an_augmented_network_is_far_ahead_on_letters_with_few_labels():
    for per_class in (1, 3, 10):
        assert wins("letters", AUGMENTED, "discriminator", per_class, 5) == 5
        assert gained("letters", AUGMENTED, "discriminator", per_class) > 2.5


def test_in_the_record_the_deepest_layer_is_as_good_as_all_three_on_letters_and_not_elsewhere():
    assert (
        abs(gained("letters", "layer 3", "discriminator", 1))
        < 1
        > abs(gained("letters", "layer 3", "discriminator", 10))
    )
    for data, per_class in (("letters", 1), ("letters", 10)):
        assert wins(data, "layer 3", "layer 1", per_class) >= 18 <= wins(data, "layer 3", "layer 2", per_class)
    assert wins("digits", "discriminator", "layer 3", 10) >= 18
    assert wins("clothes", "discriminator", "layer 3", 10) >= 13


def test_in_the_record_features_are_learnt_between_8192_and_32768_images_on_letters_and_digits_and_never_on_clothes():
    for per_class in (1, 10):
        assert abs(gained("letters", "after 8192", "untrained", per_class)) < 1
        assert gained("digits", "after 2048", "untrained", per_class) < -0.5
        assert gained("letters", "after 32768", "after 8192", per_class) > 2
        assert gained("digits", "after 32768", "after 8192", per_class) > 4
        for data in ("letters", "digits"):
            assert -1 < gained(data, "discriminator", "after 32768", per_class) < 2
        assert 0.5 < gained("letters", "longer run", "discriminator", per_class) < 2.5
        for moment in ("after 2048", "after 8192", "after 32768", "discriminator"):
            assert abs(gained("clothes", moment, "untrained", per_class)) < 3


def test_in_the_record_own_statistics_are_worth_little_on_letters_and_a_point_or_two_on_digits():
    for per_class in (1, 10):
        assert abs(gained("letters", "discriminator", "statistics as trained", per_class)) < 0.5
        assert 0.5 < gained("digits", "discriminator", "statistics as trained", per_class) < 2.5
        assert wins("digits", "discriminator", "statistics as trained", per_class) >= 17


def test_in_the_record_other_images_help_a_network_with_few_labels_and_real_ones_more_than_generated_ones():
    for data in ("letters", "digits"):
        for per_class in (1, 3):
            assert (
                gained(data, GENERATED, AUGMENTED, per_class) > 1
                and wins(data, GENERATED, AUGMENTED, per_class, 5) >= 4
            )
            assert wins(data, UNLABELLED, AUGMENTED, per_class, 5) == 5
            assert wins(data, UNLABELLED, GENERATED, per_class, 5) >= 4
        for per_class in (30, 100):
            for added in (GENERATED, UNLABELLED):
                assert abs(gained(data, added, AUGMENTED, per_class)) < 0.5


@pytest.mark.slow
def test_the_deepest_layer_knows_most_and_is_as_good_as_all_three(letters, held_out, found):
    run = recorded.load("glyphs32")
    represent = pooled_layers(with_statistics_of(run.discriminator, letters.images))
    own, others = represent(letters.images), represent(held_out.images[:NUM_TEST])
    by_layer = {}
    for layer in range(3):
        features, judged = (on_one_scale(each[layer : layer + 1], own[layer : layer + 1]) for each in (own, others))
        test = judged, held_out.labels[:NUM_TEST]
        rows = [draw(letters.labels, 10, seed) for seed in DRAWS]
        by_layer[layer] = median(probe((features[each], letters.labels[each]), test, test).inside for each in rows)
    assert by_layer[0] < by_layer[1] < by_layer[2]
    assert by_layer[2] > median(found["discriminator", 10]) - 0.005


def test_hidden_labels_add_two_points_at_most_where_there_is_one_label_and_less_with_more():
    for line in recorded_labels():
        if line["kind"] == "probe" and line["features"] in METHODS:
            more = median(b - a for a, b in zip(line["inside"], line["hidden"], strict=True))
            assert -0.005 <= more < (0.02 if line["per_class"] < 3 else 0.008), line["features"]


def test_from_thirty_labels_on_there_is_little_left_to_win_on_letters():
    assert median(draws_of(recorded_labels(), "letters", "discriminator", 30)) > 0.985


def test_in_the_record_neither_kind_of_pseudo_labelled_images_helps_on_clothes():
    for per_class in BUDGETS:
        for added in (GENERATED, UNLABELLED):
            assert gained("clothes", added, AUGMENTED, per_class) < 1


def test_in_the_record_the_gains_with_one_label_on_letters_are_those_of_the_text():
    assert round(gained("letters", UNLABELLED, AUGMENTED, 1), 1) == 7.6
    assert round(gained("letters", GENERATED, AUGMENTED, 1), 1) == 2.0


def test_in_the_record_a_gan_for_each_digit_makes_right_labels_and_a_worse_network():
    right = draws_of(recorded_labels(), "digits", f"right, {CLASS_GAMES}", 10)
    assert round(100 * median(right)) == 99
    worse = [-100 * each for each in differences(recorded_labels(), "digits", CLASS_GAMES, AUGMENTED, 10)]
    assert len(worse) == 5 and min(worse) > 0.9 and max(worse) < 3.5
    assert wins("digits", AUGMENTED, CLASS_GAMES, 100, 5) == 4


def test_in_the_record_augmentation_helps_digits_and_costs_on_clothes_with_a_hundred_labels():
    assert round(gained("digits", AUGMENTED, PLAIN, 10)) == 12
    costs = [100 * each for each in differences(recorded_labels(), "clothes", PLAIN, AUGMENTED, 100)]
    assert len(costs) == 5 and min(costs) > 2 and max(costs) < 3.5
    ahead = [100 * each for each in differences(recorded_labels(), "clothes", "k-means patches", AUGMENTED, 100)]
    assert min(ahead) > 6.9 and wins("clothes", "k-means patches", PLAIN, 100, 5) == 5
