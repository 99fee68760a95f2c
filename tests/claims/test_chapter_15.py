"""What chapter 15 claims: of the recorded run that it uses, with other draws than the page has; and of its record."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
import torch

from dcgan_core import recorded
from dcgan_core.data import Dataset, load, unscale
from dcgan_core.laboratory.few_labels import draw, probe
from dcgan_core.laboratory.outcomes import median_interval
from dcgan_core.laboratory.pretraining import untrained, with_statistics_of
from dcgan_core.laboratory.representations import on_one_scale, patch_dictionary, pixels, pooled_layers
from dcgan_core.laboratory.supervised import NUM_OTHERS, accuracy, labelled_by, train_network
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
def test_on_letters_an_augmented_network_beats_a_plain_one_and_with_ten_labels_every_linear_classifier(
    letters, held_out, found
):
    run, test = recorded.load("glyphs32"), (held_out.images[:NUM_TEST], held_out.labels[:NUM_TEST])
    machine = choose_machine("cpu")
    accuracies: dict[bool, list[float]] = {False: [], True: []}
    for seed in list(DRAWS)[:3]:
        rows = draw(letters.labels, 10, seed)
        for augment, seen in accuracies.items():
            network = train_network((letters.images[rows], letters.labels[rows]), run.config, machine, augment)
            seen.append(accuracy(network, test))
    assert min(accuracies[True]) > max(accuracies[False])
    assert median(accuracies[True]) > max(median(found[name, 10]) for name in ("discriminator", "k-means patches"))


@pytest.mark.slow
def test_with_one_label_a_letter_generated_images_help_a_network_and_real_ones_help_more(letters, held_out):
    run, machine = recorded.load("glyphs32"), choose_machine("cpu")
    test = held_out.images[:NUM_TEST], held_out.labels[:NUM_TEST]
    gained: dict[str, list[float]] = {"generated": [], "real": []}
    for seed in list(DRAWS)[:3]:
        rows, config = draw(letters.labels, 1, seed), replace(run.config, seed=seed)
        given = letters.images[rows], letters.labels[rows]
        teacher = train_network(given, config, machine, augment=True)
        order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(seed))
        latents = draw_latents(NUM_OTHERS, config.latent_size, seed=seed)
        others = {"generated": unscale(sample(run.generator, latents)), "real": letters.images[order[:NUM_OTHERS]]}
        for name, images in others.items():
            network = train_network(given, config, machine, augment=True, others=labelled_by(teacher, images))
            gained[name].append(accuracy(network, test) - accuracy(teacher, test))
    assert min(gained["generated"]) > 0 and min(gained["real"]) > 0
    assert median(gained["real"]) > median(gained["generated"])


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


def wins(data: str, one: str, other: str, per_class: int) -> int:
    """In how many of twenty draws of the record one method is better."""
    found = differences(recorded_labels(), data, one, other, per_class)
    assert len(found) == 20
    return sum(each > 0 for each in found)


def test_in_the_record_the_discriminator_is_better_than_pixels_and_on_digits_than_all_networks_and_components():
    assert {"letters", "digits"} <= set(shown(recorded_labels()))
    for per_class in (1, 3, 10):
        assert wins("letters", "discriminator", "pixels", per_class) == 20
    for rival in ("pixels", "principal components", "untrained", "autoencoder"):
        for per_class in (1, 10):
            assert wins("digits", "discriminator", rival, per_class) >= 19


def test_in_the_record_k_means_on_patches_is_better_than_the_discriminator_in_most_draws():
    for data in ("letters", "digits"):
        for per_class in (1, 10):
            assert wins(data, "k-means patches", "discriminator", per_class) >= 15
    assert round(100 * median(draws_of(recorded_labels(), "letters", "k-means patches", 1))) == 61


def test_in_the_record_an_autoencoder_is_no_better_than_random_weights_on_digits():
    for per_class in (1, 3, 10):
        assert median(differences(recorded_labels(), "digits", "autoencoder", "untrained", per_class)) < 0


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


def test_hidden_labels_add_about_a_point_at_most_where_there_is_one_label_and_less_with_more():
    lines = [line for line in recorded_labels() if line["kind"] == "probe" and line["data"] in ("letters", "digits")]
    for line in lines:
        gained = median(b - a for a, b in zip(line["inside"], line["hidden"], strict=True))
        assert -0.005 <= gained < (0.015 if line["per_class"] < 3 else 0.008), line["features"]


def test_from_thirty_labels_on_there_is_little_left_to_win_on_letters():
    assert median(draws_of(recorded_labels(), "letters", "discriminator", 30)) > 0.985
