"""What chapter 01 claims, measured."""

from __future__ import annotations

import warnings
from statistics import median

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from dcgan_core.data import Dataset, load
from dcgan_core.teaching.chapter_01 import cnn_accuracy, pick_labelled, train_small_cnn
from dcgan_core.teaching.plots import show_dots

SEEDS = range(5)

# With one image a letter, scikit-learn asks whether the letters are numbers.
pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes")


@pytest.fixture(scope="module")
def letters() -> Dataset:
    return load("glyphs")


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    test = load("glyphs", split="test")
    return Dataset(test.name, test.images[:1000], test.labels[:1000], test.class_names)


@pytest.fixture(scope="module")
def clusterings(letters) -> list[KMeans]:
    table = pixels(letters.images[:4000])
    return [KMeans(26, n_init=1, max_iter=30, random_state=seed).fit(table) for seed in SEEDS]


def pixels(images: torch.Tensor) -> np.ndarray:
    return images.flatten(1).numpy() / 255


def neighbour(letters: Dataset, held_out: Dataset, num_labels: int, seed: int) -> float:
    chosen = pick_labelled(letters.labels, num_labels, seed=seed)
    model = KNeighborsClassifier(1).fit(pixels(letters.images[chosen]), letters.labels[chosen])
    return model.score(pixels(held_out.images), held_out.labels)


def purity(clusters: np.ndarray, labels: np.ndarray) -> float:
    return sum(np.bincount(labels[clusters == one]).max() for one in set(clusters)) / len(labels)


def test_labelled_subsets_have_equally_many_of_each_letter_and_depend_on_the_seed(letters):
    first, again, other = (pick_labelled(letters.labels, 260, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.bincount(letters.labels[first]).tolist() == [10] * 26


def test_more_labels_buy_more_accuracy_and_each_label_less_and_less_of_it(letters, held_out):
    scores = [median(neighbour(letters, held_out, count, seed) for seed in SEEDS) for count in (26, 260, 2600)]
    assert scores[0] < scores[1] < scores[2]
    assert (scores[1] - scores[0]) / 234 > 2 * (scores[2] - scores[1]) / 2340


@pytest.fixture(scope="module")
def with_26_labels(letters, held_out, one_thread) -> dict[str, list[float]]:
    """Accuracy of each method for each seed with one random label per letter."""
    scores: dict[str, list[float]] = {"neighbour": [], "regression": [], "network": []}
    for seed in SEEDS:
        chosen = pick_labelled(letters.labels, 26, seed=seed)
        x, y = letters.images[chosen], letters.labels[chosen]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lbfgs stops before it has converged
            regression = LogisticRegression(max_iter=50).fit(pixels(x), y)
        scores["neighbour"].append(neighbour(letters, held_out, 26, seed))
        scores["regression"].append(regression.score(pixels(held_out.images), held_out.labels))
        scores["network"].append(cnn_accuracy(train_small_cnn(x, y, seed=seed), held_out.images, held_out.labels))
    return scores


def test_with_one_label_a_letter_every_method_errs_between_a_quarter_and_three_quarters_of_the_time(with_26_labels):
    """The median of the seeds of each of the three methods."""
    for name, values in with_26_labels.items():
        assert 1 / 4 < median(values) < 3 / 4, (name, values)
        assert max(values) - min(values) > 0.02, (name, values)  # "the spread is wide", wider than the quiz's 0.02


def test_with_a_hundred_labels_a_letter_the_network_solves_the_problem(letters, held_out):
    chosen = pick_labelled(letters.labels, 2600, seed=0)
    network = train_small_cnn(letters.images[chosen], letters.labels[chosen])
    assert cnn_accuracy(network, held_out.images, held_out.labels) > 0.97


def test_clusters_of_pixels_are_far_from_pure_and_far_from_chance(letters, clusterings):
    truth = letters.labels[:4000].numpy()
    found = median(purity(one.labels_, truth) for one in clusterings)
    chance = purity(np.random.default_rng(0).permutation(clusterings[0].labels_), truth)
    assert 5 * chance < found < 0.8


def test_labels_spent_on_the_centres_of_clusters_help_a_method_that_compares_pixels_and_a_network_does_better_without(
    letters, held_out, clusterings, with_26_labels
):
    truth, table = letters.labels[:4000].numpy(), pixels(letters.images[:4000])
    spent = []
    for clustering in clusterings:
        answers = truth[clustering.transform(table).argmin(axis=0)]
        guessed = answers[clustering.predict(pixels(held_out.images))]
        spent.append(float((guessed == held_out.labels.numpy()).mean()))
    assert median(spent) > median(with_26_labels["neighbour"]) + 0.03, (spent, with_26_labels)
    assert median(spent) > median(with_26_labels["regression"]) + 0.03, (spent, with_26_labels)
    assert median(with_26_labels["network"]) > median(spent) + 0.01, (spent, with_26_labels)


def test_with_all_labels_pixels_are_good_enough(letters, held_out):
    everything = KNeighborsClassifier(1).fit(pixels(letters.images), letters.labels)
    assert everything.score(pixels(held_out.images), held_out.labels) > 0.98


def test_the_figure_of_draws_shows_each_of_them_and_the_median_of_each_group():
    draws = {"first": [3.0, 1.0, 8.0], "second": [4.0, 8.0]}
    axes = show_dots(draws, xlabel="accuracy")
    shown = [line.get_xdata().tolist() for line in axes.lines]
    assert shown == [[3.0, 1.0, 8.0], [3.0, 3.0], [4.0, 8.0], [6.0, 6.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert [text.get_text() for text in axes.texts] == ["3.00", "6.00"]
    assert axes.yaxis_inverted(), "the first group stands at the top"
    assert [text.get_text() for text in show_dots(draws, xlabel="updates", digits=0).texts] == ["3", "6"]
