"""Reports: real images score as real ones, worse ones worse, and every number says how many images it is of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Dataset, glyphs, named, scale
from dcgan_core.metrics import Judge, copies, evaluation, features, judge_for
from dcgan_core.metrics.classifiers import non_classes
from dcgan_core.metrics.features import letter_classifier
from dcgan_core.metrics.general import NUM_GENERAL_FEATURES
from dcgan_core.runtime import choose_machine

LIGHT = {
    *("frechet_distance", "classes_covered", "recognised", "class_divergence", "class_counts", "num_classes"),
    *("num_samples", "num_reference", "features", "real_distance", "matched_distance", "num_matched", "caution"),
}
HEAVY = {
    *("kid", "kid_error", "precision", "recall", "one_nn_accuracy", "num_compared"),
    *("copies", "real_copies", "num_training"),
}


def letters(num_images: int, seed: int = 5) -> Tensor:
    return scale(torch.from_numpy(glyphs.render(num_images, seed=seed).images))


@pytest.fixture(scope="module")
def judge() -> Judge:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(named.NUM_GLYPHS, "test", 600)  # as in the book, but sooner
        return judge_for(Config())


@pytest.fixture(scope="module")
def real_report(judge) -> dict:
    return judge.full_report(letters(600))


def test_full_report_is_the_light_one_and_more(judge, real_report):
    light = judge.report(letters(600))
    assert set(light) == LIGHT and set(real_report) == LIGHT | HEAVY
    assert light.items() <= real_report.items()
    json.dumps(real_report, allow_nan=False)


def test_fresh_real_images_score_as_real_ones(real_report):
    assert abs(real_report["kid"]) < 5 * real_report["kid_error"]
    assert real_report["precision"] > 0.85 and real_report["recall"] > 0.85
    assert 0.4 < real_report["one_nn_accuracy"] < 0.6
    assert real_report["classes_covered"] == 26 and real_report["recognised"] > 0.95
    assert real_report["class_divergence"] < 0.1
    assert (real_report["num_samples"], real_report["num_reference"], real_report["num_compared"]) == (600, 600, 600)


def test_what_is_no_letter_scores_worse_in_every_number(judge, real_report):
    torch.manual_seed(0)
    report = judge.full_report(non_classes(letters(600)))
    for worse_when_high in ("frechet_distance", "kid", "one_nn_accuracy", "class_divergence"):
        assert report[worse_when_high] > real_report[worse_when_high], worse_when_high
    for worse_when_low in ("precision", "recall", "recognised"):
        assert report[worse_when_low] < real_report[worse_when_low], worse_when_low
    assert report["kid"] > 10 * report["kid_error"]


def test_a_generator_that_makes_one_letter_only_keeps_precision_and_loses_recall(judge, real_report):
    made = glyphs.render(2_600, seed=5)
    report = judge.full_report(scale(torch.from_numpy(made.images[made.letter == 7])))
    assert report["classes_covered"] <= 3 and report["class_divergence"] > 3
    assert report["precision"] > 0.7 and report["recall"] < 0.2
    assert report["one_nn_accuracy"] > 0.6


def test_sets_are_compared_at_equal_sizes(judge):
    report = judge.full_report(letters(50))
    assert (report["num_samples"], report["num_reference"], report["num_compared"]) == (50, 600, 50)
    assert judge.full_report(letters(700))["num_compared"] == 600


@pytest.mark.parametrize("num_images", [2, 3, 4, 5, 19])
def test_few_images_have_a_report_too(judge, num_images):
    report = judge.full_report(letters(num_images))
    json.dumps(report, allow_nan=False)
    assert (report["kid"] is None) == (num_images < 4)
    assert (report["precision"] is None) == (num_images < 4)


def test_nothing_recognised_has_no_class_divergence(judge):
    report = judge.report(-torch.ones(10, 1, 32, 32))
    assert (report["recognised"], report["classes_covered"], report["class_divergence"]) == (0, 0, None)


def test_a_judge_moves_to_a_device_as_a_copy_and_once(judge):
    moved = judge.to(torch.device("meta"))
    assert {weight.device.type for weight in moved.classifier.parameters()} == {"meta"}
    assert {weight.device.type for weight in judge.classifier.parameters()} == {"cpu"}
    assert moved.to(torch.device("meta")) is moved and judge.to(torch.device("cpu")) is judge
    assert moved.reference is judge.reference


@pytest.mark.gpu
def test_on_a_gpu_the_report_is_that_of_the_cpu(judge):
    """As in training, which lets the card round to TF32, and with samples at which the classifier is often unsure."""
    device = choose_machine("cuda").device
    torch.manual_seed(0)
    images = torch.cat([letters(400), non_classes(letters(200))])
    here, there = judge.report(images), judge.to(device).report(images.to(device))
    assert there.keys() == here.keys()
    assert there["frechet_distance"] == pytest.approx(here["frechet_distance"], rel=1e-3)
    assert sum(abs(a - b) for a, b in zip(there["class_counts"], here["class_counts"], strict=True)) <= 1
    assert (there["num_samples"], there["num_reference"]) == (600, 600)


@pytest.mark.gpu
def test_on_a_gpu_features_are_in_full_float32(judge):
    """A generator of a folder's images may be at a distance of 0.0005, which TF32's rounding would hide."""
    device = choose_machine("cuda").device
    images = letters(500)
    there = judge.to(device).measure(images.to(device))[0]
    assert there.device.type == "cpu" and torch.backends.cuda.matmul.allow_tf32
    torch.testing.assert_close(there, judge.measure(images)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_on_a_gpu_the_judge_can_be_made_on_the_device(tiny_folder):
    config = Config(data=str(tiny_folder), image_size=16)
    device = choose_machine("cuda").device
    here, there = judge_for(config), judge_for(config, device=device)
    assert next(there.classifier.parameters()).is_cuda
    torch.testing.assert_close(there.reference_features, here.reference_features, rtol=1e-4, atol=1e-4)


def test_the_reference_is_shuffled_always_the_same_way(judge):
    """The images of a folder come sorted by name, and MNIST's harder half comes last."""
    order = evaluation._random_order(1000)
    assert torch.equal(order, evaluation._random_order(1000))
    assert torch.equal(order.sort().values, torch.arange(1000)) and not torch.equal(order, torch.arange(1000))


def test_other_features_replace_the_distances_but_not_the_classes(judge):
    def brightness(images: Tensor) -> Tensor:
        return images.mean((2, 3))

    reference = brightness(letters(600, seed=9))
    other = replace(
        judge, embed=brightness, reference=evaluation.moments(reference), reference_features=reference
    ).full_report(letters(300))
    usual = judge.full_report(letters(300))
    assert other["frechet_distance"] != usual["frechet_distance"] and other["kid"] != usual["kid"]
    assert other["class_counts"] == usual["class_counts"]


def test_inception_is_asked_for_before_anything_slow_is_done(monkeypatch):
    def missing() -> None:
        raise InvalidInput("not there.")

    monkeypatch.setattr(evaluation, "inception", missing)
    monkeypatch.setattr(evaluation, "load_for", None)
    with pytest.raises(InvalidInput, match="not there"):
        judge_for(Config(), features="inception")


def test_inception_features_are_used_where_they_can_be_had(monkeypatch, tiny_folder):
    monkeypatch.setattr(evaluation, "inception", lambda: lambda images: images.flatten(1)[:, :4])
    judge = judge_for(Config(data=str(tiny_folder), image_size=16), features="inception")
    assert judge.reference_features.shape == (4, 4)
    assert judge.report(torch.rand(20, 1, 16, 16))["features"] == "inception"


@pytest.fixture
def asked(monkeypatch) -> list[dict]:
    """What `load` is asked for; its answer is a data set that no classifier comes with, its images sorted by class."""
    found: list[dict] = []

    def load(**wanted) -> Dataset:
        found.append(wanted)
        made = glyphs.render(40, seed=glyphs.SPLITS.index(wanted["split"]))
        order = made.letter.argsort()
        images, labels = torch.from_numpy(made.images[order]), torch.from_numpy(made.letter[order])
        return Dataset(f"somebody's {wanted['split']}", images, labels, tuple(glyphs.LETTERS))

    monkeypatch.setattr(named, "load", load)
    monkeypatch.setattr(evaluation, "ENOUGH_PER_CLASS", 0)
    return found


@pytest.fixture
def taught(monkeypatch) -> list[str]:
    """The names of the data sets that a classifier is asked for."""
    found: list[str] = []

    def classifier_for(dataset: Dataset, cache):
        found.append(dataset.name)
        return letter_classifier(), "a test"

    monkeypatch.setattr(evaluation, "classifier_for", classifier_for)
    return found


def test_the_reference_is_the_held_out_part_of_the_runs_own_seed_and_settings(asked, taught):
    judge_for(Config(data="somebody's", data_root="there", image_size=64, channels=3, seed=7))
    expected = {"name": "somebody's", "root": "there", "image_size": 64, "channels": 3, "seed": 7}
    assert asked[0] == expected | {"split": "test", "fit": "crop", "held_out": 0.1, "say": False}


def test_a_classifier_that_has_to_be_trained_never_sees_the_reference(asked, taught):
    judge = judge_for(Config(data="somebody's"))
    assert taught == ["somebody's train"]
    images = scale(torch.from_numpy(glyphs.render(40, seed=glyphs.SPLITS.index("test")).images))
    expected = evaluation.moments(judge.measure(images)[0])
    torch.testing.assert_close(judge.reference.mean, expected.mean, rtol=1e-4, atol=1e-4)


def test_the_first_images_of_the_reference_are_not_the_first_of_the_data_set(asked, taught):
    """Which are of the same class, here and in many a folder; a comparison with few samples takes the first ones."""
    judge = judge_for(Config(data="somebody's"))
    sorted_images = scale(named.load(split="test").images)
    in_order = judge.measure(sorted_images)[0]
    assert (judge.reference_features - in_order).abs().max() > 0.1
    torch.testing.assert_close(
        judge.reference_features.sum(dim=1).sort().values, in_order.sum(dim=1).sort().values, rtol=1e-4, atol=1e-3
    )


def test_precision_and_recall_do_not_depend_on_how_much_of_the_reference_is_left_over(judge):
    short = replace(judge, reference_features=judge.reference_features[:50])
    first, second = (one.full_report(letters(50)) for one in (judge, short))
    for name in ("kid", "precision", "recall", "one_nn_accuracy"):
        assert first[name] == second[name], name


def test_held_out_images_are_as_far_from_one_another_as_fresh_real_ones_from_them(judge):
    """And what is no letter is much further; both are read at the same number of images."""
    torch.manual_seed(0)
    real, wrong = judge.report(letters(300)), judge.report(non_classes(letters(300)))
    assert real["num_matched"] == wrong["num_matched"] == 300 and real["real_distance"] == wrong["real_distance"]
    assert real["matched_distance"] == pytest.approx(real["real_distance"], rel=0.25)
    assert wrong["matched_distance"] > 5 * wrong["real_distance"]


def test_distances_that_are_read_together_are_of_equal_numbers_however_many_samples_there_are(judge):
    """Against all 600 letters, 5,000 fresh ones score better than any 300 held-out ones do, for their number alone."""
    report = judge.report(letters(5_000))
    assert report["num_matched"] == 300
    assert report["frechet_distance"] < 0.7 * report["real_distance"]
    assert report["matched_distance"] == pytest.approx(report["real_distance"], rel=0.25)


def test_the_distance_between_real_images_is_that_of_two_random_parts(judge):
    found = []
    for seed in range(10, 20):
        part, rest = judge.reference_features[evaluation._random_order(600, seed)].split([100, 500])
        found.append(evaluation.frechet_distance(evaluation.moments(part), evaluation.moments(rest)))
    assert judge.report(letters(100))["real_distance"] == pytest.approx(sum(found) / len(found), rel=0.35)


@pytest.mark.parametrize("num_images", [2, 3])
def test_a_reference_that_cannot_be_halved_has_no_scale(judge, num_images):
    short = judge.reference_features[:num_images]
    report = replace(judge, reference_features=short).report(letters(20))
    assert (report["real_distance"], report["matched_distance"], report["num_matched"]) == (None, None, None)


@pytest.mark.parametrize(
    ("num_samples", "num_reference", "said"),
    [(999, 2_000, "999 samples"), (2_000, 600, "600 held-out images"), (1_000, 1_000, None), (50, 60, "50 samples")],
)
def test_a_distance_of_few_images_comes_with_a_caution(judge, num_samples, num_reference, said):
    reference = judge.reference_features.repeat(4, 1)[:num_reference]
    caution = replace(judge, reference_features=reference).report(letters(num_samples))["caution"]
    assert caution is None if said is None else said in caution and "kid" in caution


@pytest.fixture(scope="module")
def suspicious() -> Judge:
    """A judge that knows the training images, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(named.NUM_GLYPHS, "test", 600)
        patch.setitem(named.NUM_GLYPHS, "train", 2_000)
        return judge_for(Config(), training=True)


def test_a_generator_that_replays_its_training_images_is_found_out(suspicious):
    """By no other number: all of them call it perfect."""
    training = scale(torch.from_numpy(glyphs.render(2_000, seed=0).images))
    torch.manual_seed(0)
    replay = (training[:300] + 0.05 * torch.randn(300, 1, 32, 32)).clamp(-1, 1)
    found = suspicious.full_report(replay)
    assert found["copies"] > 0.95 and found["real_copies"] < 0.05 and found["num_training"] == 2_000
    half = suspicious.full_report(torch.cat([replay[:100], letters(100)]))
    assert half["copies"] == pytest.approx(0.5, abs=0.06)
    fresh = suspicious.full_report(letters(300))
    assert fresh["copies"] < 0.06


def test_copies_are_only_searched_by_who_knows_the_training_images(real_report):
    assert real_report["copies"] is real_report["real_copies"] is real_report["num_training"] is None


def test_images_of_a_folder_are_measured_by_general_features(tiny_folder):
    judge = judge_for(Config(data=str(tiny_folder), image_size=16, channels=3))
    assert judge.reference_features.shape[1] == NUM_GENERAL_FEATURES
    report = judge.report(torch.rand(20, 3, 16, 16))
    assert report["features"] == "general features" and report["num_classes"] is None


def test_classes_of_a_folder_are_counted_by_a_classifier_and_its_distances_measured_by_general_features(
    asked, monkeypatch
):
    monkeypatch.setattr(evaluation, "classifier_for", lambda dataset, cache: (letter_classifier(), "folder classifier"))
    judge = judge_for(Config(data="somebody's"))
    report = judge.report(letters(30))
    assert judge.reference_features.shape[1] == NUM_GENERAL_FEATURES and report["features"] == "general features"
    assert report["recognised"] > 0.9 and report["num_classes"] == 26
    moved = judge.to(torch.device("meta"))
    assert {weight.device.type for weight in moved.embed.parameters()} == {"meta"}
    assert {weight.device.type for weight in judge.embed.parameters()} == {"cpu"}


def test_only_a_part_of_the_images_is_ever_in_floats(monkeypatch):
    """Four times their size, were it all of them, beside copies: an evaluation took nine times the images' memory."""
    images = torch.from_numpy(glyphs.render(500, seed=1).images).repeat(6, 1, 1, 1)
    monkeypatch.setattr(evaluation, "load_for", lambda *_, **__: Dataset("a folder", images, None, ()))
    sizes: list[int] = []

    def watched(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return scale(pixels)

    monkeypatch.setattr(copies, "scale", watched)
    monkeypatch.setattr(features, "scale", watched)
    judge = judge_for(Config(data="a folder"), training=True)
    assert max(sizes) <= 1_000 and sum(sizes) == 3 * len(images), "features, and both sorts of thumbnails"
    assert len(judge.training) == len(judge.held_out) == judge.num_reference == 3_000
