"""The judge: it knows letters it has never seen, and is not flattered by what is no letter."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.data import Dataset, glyphs, scale
from dcgan_core.metrics import RECOGNISED_AT, Classifier, classifiers, features
from dcgan_core.metrics.classifiers import NUM_FEATURES, imperfect, non_classes, train_classifier
from dcgan_core.metrics.features import (
    SHIPPED,
    WEIGHTS,
    StackedClassifier,
    accuracy,
    classifier_for,
    is_shipped,
    letter_classifier,
    measure,
    measure_pixels,
    shipped_classifier,
)
from dcgan_core.metrics.general import NUM_GENERAL_FEATURES, general


def held_out(num_images: int = 2_000, **options) -> Dataset:
    """Letters that neither the training nor the report of the shipped classifier has seen."""
    letters = glyphs.render(num_images, seed=1, split="test", **options)
    return Dataset("glyphs", torch.from_numpy(letters.images), torch.from_numpy(letters.letter), tuple(glyphs.LETTERS))


def recognised(images: torch.Tensor) -> float:
    _, probabilities = measure(letter_classifier(), images)
    return float((probabilities.amax(1) >= RECOGNISED_AT).float().mean())


@pytest.fixture(scope="module")
def letters() -> Dataset:
    return held_out()


def test_shipped_classifier_knows_held_out_letters(letters):
    assert accuracy(letter_classifier(), letters) >= 0.99
    assert recognised(scale(letters.images)) >= 0.97


def test_shipped_classifier_knows_letters_in_colour_and_in_another_size():
    assert accuracy(letter_classifier(), held_out(800, image_size=64, channels=3)) >= 0.97


def test_shipped_classifier_is_unsure_of_what_is_no_letter(letters):
    torch.manual_seed(0)
    assert recognised(non_classes(scale(letters.images))) <= 0.1


def test_blank_images_and_noise_are_not_letters():
    noise = torch.rand(100, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blank = torch.linspace(-1, 1, 100).reshape(-1, 1, 1, 1).expand(-1, 1, 32, 32)
    assert recognised(noise) <= 0.05
    assert recognised(blank) == 0


def test_a_dim_letter_is_the_same_letter(letters):
    images = scale(letters.images[:300])
    bright, _ = measure(letter_classifier(), images)
    dim, _ = measure(letter_classifier(), (images + 1) * 0.4 - 1)
    torch.testing.assert_close(dim, bright, rtol=1e-3, atol=1e-3)


def test_what_measuring_asks_of_a_card_is_undone():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = True
    try:
        with pytest.raises(KeyError), features.full_float32():
            assert not (matmul.allow_tf32 or cudnn.allow_tf32 or cudnn.benchmark)
            raise KeyError
        assert matmul.allow_tf32 and cudnn.allow_tf32 and cudnn.benchmark
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


def test_a_letter_that_can_hardly_be_seen_is_not_stretched_to_a_full_one(letters):
    assert recognised(scale(letters.images[:300]) * 0.1) > 0.7
    assert recognised(scale(letters.images[:300]) * 0.02) < 0.05


def test_a_grey_classifier_looks_at_the_mean_of_the_channels():
    images = scale(held_out(20, channels=3).images)
    colour, _ = measure(letter_classifier(), images)
    grey, _ = measure(letter_classifier(), images.mean(dim=1, keepdim=True))
    assert torch.equal(colour, grey)


@pytest.mark.parametrize("image_size", [16, 64, 128])
def test_images_are_brought_to_size_as_pillow_would_by_bilinear_means(image_size):
    images = scale(held_out(20, image_size=image_size).images)
    resized = [Image.fromarray(image[0].numpy()).resize((32, 32), Image.Resampling.BILINEAR) for image in images]
    expected, _ = measure(letter_classifier(), torch.from_numpy(np.stack(resized))[:, None])
    torch.testing.assert_close(measure(letter_classifier(), images)[0], expected, rtol=1e-3, atol=1e-3)


def test_measuring_does_not_depend_on_batch_mates(letters):
    images = scale(letters.images[:60])
    together, probabilities = measure(letter_classifier(), images)
    alone, _ = measure(letter_classifier(), images, chunk=7)
    torch.testing.assert_close(together, alone)
    assert together.shape == (60, NUM_FEATURES) and probabilities.shape == (60, 26)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(60))


def test_measuring_switches_to_eval_mode():
    classifier = letter_classifier().train()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    measure(classifier, torch.randn(8, 1, 32, 32).clamp(-1, 1))
    assert not classifier.training
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_non_classes_are_as_many_of_the_same_kind(letters):
    images = scale(letters.images[:50])
    others = non_classes(images)
    assert others.shape == images.shape and others.min() >= -1 and others.max() <= 1
    assert not any(torch.equal(other, image) for other, image in zip(others, images, strict=True))


@pytest.mark.parametrize(("channels", "image_size"), [(1, 32), (3, 16)])
def test_imperfect_images_stay_in_range_and_close_to_the_original(channels, image_size):
    torch.manual_seed(0)
    images = scale(held_out(200, channels=channels, image_size=image_size).images)
    bent = imperfect(images)
    assert bent.shape == images.shape and bent.min() >= -1 and bent.max() <= 1
    own = (bent - images).square().mean()
    assert 0 < own < (bent - images.roll(1, 0)).square().mean() / 2


def test_the_first_half_of_non_classes_shows_two_letters_in_one_and_the_other_half_is_noise(letters):
    torch.manual_seed(0)
    images = scale(letters.images[:20])
    pairs, noise = non_classes(images).chunk(2)
    for image, pair in zip(images, pairs, strict=False):
        others = [other for other in images if not torch.equal(other, image)]
        assert any(torch.equal(pair, torch.maximum(image, other)) for other in others)
    assert noise.min() < -0.8 and noise.max() > 0.8


def test_noise_has_grains_of_every_size_from_a_pixel_to_an_eighth():
    """Neighbours differ by 2/3 where each pixel is drawn for itself; half as much where grains are twice as large."""
    torch.manual_seed(0)
    noise = [non_classes(torch.zeros(20, 1, 32, 32))[10:] for _ in range(40)]
    steps = torch.stack([(one[..., 1:] - one[..., :-1]).abs().mean() for one in noise]).sort().values
    assert steps[-1].item() == pytest.approx(2 / 3, rel=0.05) and steps[0].item() < steps[-1].item() / 8
    assert (steps[1:] / steps[:-1]).log().gt(0.4).sum() == 3, "four sizes"


INNER = (..., slice(6, -6), slice(6, -6))  # where nothing comes in from outside


def test_imperfect_images_are_dimmed_and_noisy_each_by_its_own_amount():
    """Of mid-grey: 0 becomes u - 1 with u from 0.6 to 1, and noise with a deviation from 0 to 0.2."""
    torch.manual_seed(0)
    worn = imperfect(torch.zeros(300, 1, 32, 32))[100:][INNER]
    levels, deviations = worn.mean((1, 2, 3)), worn.std((1, 2, 3))
    for values, low, high in ((levels, -0.4, 0.0), (deviations, 0.0, 0.2)):
        width = high - low
        assert abs(values.min() - low) < 0.05 * width and abs(values.max() - high) < 0.05 * width
        assert values.mean().item() == pytest.approx(low + width / 2, abs=0.1 * width)
    assert abs(torch.corrcoef(torch.stack([levels, deviations]))[0, 1]) < 0.2


def test_the_first_third_of_imperfect_images_is_coarse_and_no_other_is():
    torch.manual_seed(0)
    worn = imperfect(torch.zeros(300, 1, 32, 32))[INNER]
    rough = (worn[..., 1:] - worn[..., :-1]).abs().mean((1, 2, 3)) / worn.std((1, 2, 3))
    assert rough[:100].max() < 0.75 < 1 < rough[100:].min()  # of independent pixels, 2 / sqrt(pi) = 1.13


def test_imperfect_images_are_bent_by_up_to_about_a_pixel_and_a_half():
    """Where a ramp's values come from says how far they have moved; the same random numbers on grey say the rest."""
    where = ((torch.arange(32) + 0.5) / 32 * 1.6 - 0.8).expand(300, 1, 32, 32)  # 0.05 a pixel
    moved = []
    for ramp in (where, where.mT):
        torch.manual_seed(0)
        bent = imperfect(ramp.clone())[100:][INNER]
        torch.manual_seed(0)
        grey = imperfect(torch.zeros(300, 1, 32, 32))[100:][INNER]
        brightness = 1 + grey.mean((1, 2, 3), keepdim=True)
        moved.append(((bent - grey) / brightness - ramp[100:][INNER]) / 0.05)
    pixels = torch.stack(moved).square().mean((0, 2, 3, 4)).sqrt()  # (200,): of each image
    assert pixels.min() < 0.1 and 1.2 < pixels.max() < 2.5
    assert 0.5 < pixels.mean() < 0.9


def test_what_comes_in_from_outside_is_black():
    torch.manual_seed(0)
    worn = imperfect(torch.full((300, 1, 32, 32), -1.0))
    assert worn[..., 0].mean().item() == pytest.approx(worn[..., 16].mean().item(), abs=0.01)


@pytest.fixture(scope="module")
def three_letters() -> Dataset:
    """600 letters A, B and C as a labelled data set of another name."""
    letters = held_out(8_000, image_size=16)
    assert letters.labels is not None
    chosen = (letters.labels < 3).nonzero().flatten()[:600]
    return Dataset("abc", letters.images[chosen], letters.labels[chosen], ("A", "B", "C"))


def trained(dataset: Dataset, **options) -> Classifier:
    assert dataset.labels is not None
    return train_classifier(dataset.images, dataset.labels, num_classes=3, progress=False, **options)


def part(dataset: Dataset, chosen: slice) -> Dataset:
    assert dataset.labels is not None
    return replace(dataset, images=dataset.images[chosen], labels=dataset.labels[chosen])


@pytest.fixture(scope="module")
def abc_classifier(three_letters) -> Classifier:
    classifier = trained(part(three_letters, slice(400)), total_images=8_000)
    assert not classifier.training, "it judges from now on"
    return classifier


def test_a_classifier_learns_another_data_set(three_letters, abc_classifier):
    assert accuracy(abc_classifier, part(three_letters, slice(400, None))) >= 0.97


def test_a_classifier_is_taught_to_be_unsure_of_what_is_no_class(three_letters, abc_classifier):
    """Without non-classes in its short training it would be sure of 3 in 4 pairs, and of half of the noise."""

    def share_sure_of(images: Tensor) -> float:
        _, probabilities = measure(abc_classifier, images)
        return float((probabilities.amax(1) >= RECOGNISED_AT).double().mean())

    torch.manual_seed(0)
    images = scale(three_letters.images[400:])
    pairs, noise = non_classes(images).chunk(2)
    assert share_sure_of(images) > 0.95
    assert share_sure_of(pairs) < 0.62 and share_sure_of(noise) < 0.05


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing(three_letters, monkeypatch):
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    trained(part(three_letters, slice(10)), total_images=400)
    assert len(rates) == 40 and max(rates) == pytest.approx(3e-3, rel=0.01)
    assert 5 < rates.index(max(rates)) < 20 and rates[0] < max(rates) / 20 and rates[-1] < max(rates) / 1000


def test_every_image_is_shown_sooner_or_later_and_none_twice_in_an_epoch(three_letters, monkeypatch):
    """Of 250 images in batches of 100, fifty are left over, another fifty each time."""
    shown = []
    monkeypatch.setattr(classifiers, "imperfect", lambda images: shown.append(images) or images)
    trained(part(three_letters, slice(250)), total_images=2_000)
    epochs = [torch.cat(shown[i : i + 2]).flatten(1) for i in range(0, 20, 2)]
    assert all(len(epoch.unique(dim=0)) == 200 for epoch in epochs)
    assert len(torch.cat(epochs).unique(dim=0)) == 250


def test_training_a_classifier_follows_from_its_seed_and_leaves_the_random_numbers_alone(three_letters):
    few = part(three_letters, slice(200))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = trained(few, total_images=200).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    second, other = (trained(few, total_images=200, seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_glyphs_are_judged_by_the_shipped_classifier(letters, tmp_path):
    classifier, name = classifier_for(letters, tmp_path)
    assert torch.equal(classifier.head.weight, letter_classifier().head.weight)
    assert name == "letter classifier" and list(tmp_path.iterdir()) == []


def test_a_classifier_is_trained_once_and_kept(three_letters, tmp_path, monkeypatch):
    trainings = []

    def quickly(*arguments, **options):
        trainings.append(1)
        return train_classifier(*arguments, **options, total_images=200, progress=False)

    monkeypatch.setattr(features, "train_classifier", quickly)
    few = part(three_letters, slice(200))
    (first, name), (second, _) = (classifier_for(few, tmp_path / "kept") for _ in range(2))
    assert trainings == [1] and name == "abc classifier"
    for one, other in zip(measure(first, scale(few.images)), measure(second, scale(few.images)), strict=True):
        assert torch.equal(one, other)
    classifier_for(replace(few, images=few.images.expand(-1, 3, -1, -1)), tmp_path / "kept")
    assert trainings == [1, 1], "grey and colour cannot share a classifier"


def test_a_damaged_classifier_is_replaced_or_refused_in_one_sentence(three_letters, tmp_path, monkeypatch):
    """A run that was killed while it kept its classifier must not break every later evaluation."""
    monkeypatch.setattr(features, "train_classifier", lambda *_, **__: Classifier(channels=1, num_classes=3))
    few = part(three_letters, slice(200))
    classifier_for(few, tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    try:
        classifier, _ = classifier_for(few, tmp_path)
    except InvalidInput as error:
        assert kept.name in str(error)
    else:
        assert classifier.num_classes == 3


def test_images_without_labels_are_measured_by_the_network_that_ships(letters, tmp_path):
    unlabelled = replace(letters, name="folder", labels=None, class_names=())
    before = torch.get_rng_state()
    network, name = classifier_for(unlabelled, tmp_path)
    assert torch.equal(before, torch.get_rng_state()) and not list(tmp_path.iterdir())
    assert (name, network.num_classes) == ("general features", 1)
    found, probabilities = measure(network, scale(letters.images[:50]))
    torch.testing.assert_close(found, general().features(scale(letters.images[:50])))
    assert found.shape == (50, NUM_GENERAL_FEATURES) and torch.equal(probabilities, torch.ones(50, 1))


def test_a_folder_whose_images_change_gets_another_classifier(three_letters, tmp_path, monkeypatch):
    """And one whose path has separators in it gets one at all."""
    monkeypatch.setattr(features, "train_classifier", lambda images, labels, num_classes: small(num_classes))

    def small(num_classes: int) -> Classifier:
        return Classifier(channels=1, num_classes=num_classes)

    few = replace(part(three_letters, slice(40)), name="photos/of/letters")
    other = replace(few, images=few.images.clone())
    other.images[3, 0, 5, 5] ^= 1
    for dataset, num_files in ((few, 1), (few, 1), (other, 2), (replace(few, labels=few.labels.flip(0)), 3)):
        classifier_for(dataset, tmp_path)
        assert len(list(tmp_path.iterdir())) == num_files


@pytest.mark.parametrize("num_images", [150, 400, 40])
def test_training_shows_a_number_of_images_that_does_not_grow_with_the_data(three_letters, num_images, monkeypatch):
    shown = []
    monkeypatch.setattr(classifiers, "imperfect", lambda images: shown.append(len(images)) or images)
    trained(part(three_letters, slice(num_images)), total_images=600)
    assert sum(shown) == 600


shipped_names = [name for name in SHIPPED if is_shipped(name)]


def test_letters_mnist_and_fashion_mnist_ship_with_the_package():
    assert {"glyphs", "mnist", "fashion-mnist"} <= set(shipped_names)
    assert not is_shipped("cifar10") and not is_shipped("a/folder")


@pytest.mark.parametrize("name", shipped_names)
def test_a_shipped_classifier_comes_small_and_with_a_report(name):
    path = WEIGHTS / f"{SHIPPED[name]}.safetensors"
    report = json.loads(path.with_suffix(".json").read_text())
    classifier = shipped_classifier(name)
    assert path.stat().st_size < 200_000
    assert report["num_parameters"] == sum(parameter.numel() for parameter in classifier.parameters())
    assert report["command"] == f"python -m dcgan_core.metrics.make_weights {SHIPPED[name]}"
    assert report["accuracy_on_held_out_images"] >= {"fashion-mnist": 0.88}.get(name, 0.99)
    assert report["num_held_out_images"] == 10_000


@pytest.mark.parametrize("name", shipped_names)
def test_a_shipped_classifier_is_used_and_none_is_trained(name, letters, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "train_classifier", None)
    classifier, called = classifier_for(replace(letters, name=name), tmp_path)
    assert torch.equal(classifier.head.weight, shipped_classifier(name).head.weight)
    assert called == ("letter classifier" if name == "glyphs" else f"{name} classifier")
    assert list(tmp_path.iterdir()) == []


def test_stacked_images_are_judged_channel_by_channel():
    torch.manual_seed(0)
    stacked = StackedClassifier(Classifier(channels=1, num_classes=10).eval())
    images = torch.rand(7, 3, 32, 32) * 2 - 1
    found, probabilities = measure(stacked, images)
    singles = [measure(stacked.single, images[:, channel : channel + 1]) for channel in range(3)]
    torch.testing.assert_close(found, torch.cat([single[0] for single in singles], dim=1))
    a, b, c = (single[1] for single in singles)
    for digits in ((0, 0, 0), (9, 9, 9), (1, 2, 3), (7, 0, 4)):
        product = a[:, digits[0]] * b[:, digits[1]] * c[:, digits[2]]
        torch.testing.assert_close(probabilities[:, digits[0] * 100 + digits[1] * 10 + digits[2]], product)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(7))
    assert stacked.num_classes == 1000


def test_stacked_mnist_is_judged_by_the_mnist_classifier(letters, tmp_path):
    images = letters.images[:20].expand(-1, 3, -1, -1)
    stacked = replace(letters, name="stacked-mnist", images=images, labels=letters.labels[:20])
    classifier, name = classifier_for(stacked, tmp_path)
    assert name == "stacked-mnist classifier" and is_shipped("stacked-mnist")
    _, probabilities = measure(classifier, scale(stacked.images))
    _, single = measure(shipped_classifier("mnist"), scale(stacked.images[:, :1]))
    assert torch.equal(probabilities.argmax(1), single.argmax(1) * 111)


def test_the_network_for_all_images_is_the_same_whatever_was_drawn_before(letters, tmp_path):
    unlabelled = replace(letters, name="somebody's", labels=None)
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        networks.append(features.classifier_for(unlabelled, tmp_path)[0].state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())


@pytest.mark.parametrize(("size", "channels", "expected"), [(16, 1, 128), (128, 3, 42), (256, 3, 10), (4_096, 3, 1)])
def test_a_network_is_shown_fewer_images_at_a_time_the_larger_they_are(monkeypatch, size, channels, expected):
    """So that measuring takes some tens of megabytes, whatever their size."""
    seen = []
    monkeypatch.setattr("dcgan_core.metrics.features._measured", lambda _, parts: seen.extend(map(len, parts)))
    pixels = torch.zeros(1, channels, size, size, dtype=torch.uint8).expand(expected + 1, -1, -1, -1)
    measure_pixels(None, pixels)
    assert seen == [expected, 1]
