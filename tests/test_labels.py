"""The study of what few labels buy: features without labels, the choice of C, networks, and what is never looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from dcgan_core import models
from dcgan_core.data import glyphs, scale
from dcgan_core.laboratory import labels as study
from dcgan_core.laboratory import pretraining, supervised
from dcgan_core.laboratory.few_labels import STRENGTHS, WITHOUT_CHOICE, accuracies, draw, probe
from dcgan_core.laboratory.kept import kept, under
from dcgan_core.laboratory.outcomes import read
from dcgan_core.laboratory.pretraining import (
    game_config,
    play_class_games,
    play_game,
    train_autoencoder,
    untrained,
    with_statistics_of,
    with_weights,
    without_verdict,
)
from dcgan_core.laboratory.representations import (
    on_one_scale,
    patch_dictionary,
    pixels,
    pooled_layers,
    principal_components,
)
from dcgan_core.laboratory.supervised import labelled_by, moved, train_network
from dcgan_core.runtime import choose_machine

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = choose_machine("cpu", "float32")


@pytest.fixture(scope="module")
def letters():
    drawn = glyphs.render(400, seed=1)
    return torch.from_numpy(drawn.images), torch.from_numpy(drawn.letter)


def small_config(total_images: int = 192):
    return replace(
        game_config("glyphs", 0, total_images), channels=1, generator_width=4, discriminator_width=4, latent_size=8
    )


def test_a_layer_is_pooled_to_the_largest_value_in_each_of_sixteen_places(letters):
    network = untrained(small_config()).eval()
    with torch.no_grad():
        first = nn.functional.leaky_relu(network.layers[0](scale(letters[0][:3])), 0.2)  # (3, 4, 16, 16)
    slow = [
        float(first[n, c, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].max())
        for n in range(3)
        for c in range(4)
        for y in range(4)
        for x in range(4)
    ]
    blocks = pooled_layers(network)(letters[0][:3])
    assert blocks[0].flatten().tolist() == pytest.approx(slow)
    assert [block.shape[1] for block in blocks] == [64, 128, 256]


def test_own_statistics_are_those_of_these_images_alone_and_the_network_keeps_its_own(letters):
    network = untrained(small_config())
    network.train()(torch.randn(64, 1, 32, 32))  # what it was trained on is something else
    before = network.layers[3].running_mean.clone()
    own = with_statistics_of(network, letters[0], batch_size=100)
    with torch.no_grad():
        arrives = network.layers[:3](scale(letters[0]))
    assert torch.allclose(own.layers[3].running_mean, arrives.mean((0, 2, 3)), atol=1e-5)
    assert torch.equal(network.layers[3].running_mean, before) and not own.training
    assert not torch.allclose(before, own.layers[3].running_mean, atol=1e-3)


def test_patches_are_found_whatever_their_brightness_and_there_are_as_many_features_as_a_discriminator_has(letters):
    represent = patch_dictionary(letters[0], num_centres=168, num_patches=2_000)
    (features,) = represent(letters[0][:5])
    whole = models.Discriminator(image_size=32, channels=1, width=24)
    assert features.shape[1] == sum(block.shape[1] for block in pooled_layers(whole)(letters[0][:2]))
    assert (features >= 0).all()
    half = (letters[0][:5] // 4) * 2
    brighter = half + 100
    assert torch.allclose(represent(half)[0], represent(brighter)[0], atol=1e-4)
    flat = represent(torch.full((1, 1, 32, 32), 90, dtype=torch.uint8))[0].reshape(168, 16)
    assert torch.allclose(flat, flat[:, :1].expand_as(flat), atol=1e-5), "a plain image is the same in all places"


def test_components_are_those_of_the_images_that_they_were_made_from(letters):
    represent = principal_components(letters[0], num_components=5)
    centred = pixels(letters[0])[0] - pixels(letters[0])[0].mean(dim=0)
    spread = torch.linalg.svdvals(centred)[:5]
    assert represent(letters[0])[0].norm(dim=0).tolist() == pytest.approx(spread.tolist(), rel=0.02)


def test_on_one_scale_every_block_counts_alike_and_nothing_is_learnt_from_what_is_tested():
    rng = torch.Generator().manual_seed(0)
    own = [torch.randn(500, 7, generator=rng) * 100 + 5, torch.randn(500, 3, generator=rng) * 0.01]
    found = on_one_scale(own, own)
    parts = [found[:, :7], found[:, 7:]]
    assert [float(part.square().sum(1).mean()) for part in parts] == pytest.approx([0.5, 0.5], rel=1e-3)
    assert found.mean(dim=0).abs().max() < 1e-4
    assert torch.allclose(on_one_scale([block[:9] for block in own], own), found[:9])


def test_more_labels_hold_the_fewer_and_every_class_has_equally_many(letters):
    few, many = (draw(letters[1], per_class, seed=3) for per_class in (1, 4))
    assert set(few.tolist()) < set(many.tolist())
    assert letters[1][many].bincount().tolist() == [4] * 26
    assert few.tolist() != draw(letters[1], 1, seed=4).tolist()


def clouds(num: int, num_features: int, seed: int):
    """Three classes whose means differ in the first features."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(num) % 3
    return torch.randn(num, num_features, generator=rng) + 1.5 * nn.functional.one_hot(labels, num_features), labels


@pytest.mark.parametrize("num_features", [6, 200])
def test_fewer_images_than_features_are_rotated_and_the_classifier_is_the_same(num_features):
    given, judged = clouds(30, num_features, 0), clouds(300, num_features, 1)
    (found,) = accuracies(given, judged)
    for strength in STRENGTHS:
        plain = LogisticRegression(C=strength, max_iter=1_000, tol=1e-6).fit(*(part.numpy() for part in given))
        said = plain.predict(judged[0].numpy())
        assert found[strength] == pytest.approx(float(np.mean(said == judged[1].numpy())), abs=0.011)


def test_the_choice_inside_the_budget_looks_at_no_other_label():
    given, hidden, test = clouds(30, 50, 0), clouds(300, 50, 1), clouds(300, 50, 2)
    honest = probe(given, hidden, test)
    lied_to = probe(given, (hidden[0], (hidden[1] + 1) % 3), (test[0], (test[1] + 1) % 3))
    assert honest.inside_choice == lied_to.inside_choice
    assert honest.hidden == accuracies(given, test)[0][honest.hidden_choice]
    of_hidden = accuracies(given, hidden)[0]
    assert of_hidden[honest.hidden_choice] == max(of_hidden.values())


def test_with_one_label_in_each_class_nothing_is_chosen():
    given, others = clouds(3, 50, 0), clouds(300, 50, 1)
    assert probe(given, others, others).inside_choice == WITHOUT_CHOICE


def test_the_choice_inside_the_budget_finds_what_generalises():
    """Two classes at opposite places of one feature, all others silent, and three labels in ten wrong."""
    rng = torch.Generator().manual_seed(0)
    truth, wrong = torch.arange(200) % 2, torch.arange(200) // 2 % 10 < 3
    features = torch.cat([(2.0 * truth - 1)[:, None], torch.randn(200, 400, generator=rng) * 0.15], dim=1)
    labels = torch.where(wrong, 1 - truth, truth)
    found = probe((features[:60], labels[:60]), (features[60:], truth[60:]), (features[60:], truth[60:]))
    (of_test,) = accuracies((features[:60], labels[:60]), (features[60:], truth[60:]))
    assert of_test[STRENGTHS[0]] > of_test[STRENGTHS[-1]] + 0.1, "little regularisation learns wrong labels by heart"
    assert found.inside > of_test[STRENGTHS[-1]] + 0.05


def test_a_moved_letter_is_neither_turned_nor_mirrored_and_stays_on_black(letters):
    torch.manual_seed(0)
    image = torch.full((64, 1, 32, 32), -1.0)
    image[:, :, 15:17, 6:26] = 1  # a level bar
    found = moved(image)
    assert found.min() >= -1.001 and found.max() <= 1.001
    assert not torch.allclose(found[0], found[1], atol=0.1)
    ink = (found + 1) / 2
    rows = torch.arange(32.0)
    left, right = ink[..., :16], ink[..., 16:]
    heights = [(part.sum(3) @ rows / part.sum((2, 3))).flatten() for part in (left, right)]
    assert (heights[0] - heights[1]).abs().max() < 0.3, "a level bar stays level"
    shift = (heights[0] - 15.5).abs().max()
    assert 1 < shift < 32 * supervised.MAX_SHIFT + 1


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(supervised, "STEPS", 60)
    monkeypatch.setattr(supervised, "BATCH", 16)
    monkeypatch.setattr(supervised, "NUM_OTHERS", 40)


def stripes(num: int, seed: int):
    """Images of two classes: level stripes, and upright ones."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.zeros(num, 1, 32, 32, dtype=torch.uint8)
    labels = torch.arange(num) % 2
    for image, label, phase in zip(images, labels, torch.randint(8, (num,), generator=rng), strict=True):
        bright = torch.arange(32).add(phase) % 8 < 4
        image[0][bright] = 255
        if label:
            image[0].copy_(image[0].T.clone())
    return images, labels


def test_a_network_learns_from_its_labels_and_from_others_that_may_be_wrong(quick):
    given, test = stripes(60, 0), stripes(60, 1)
    config = small_config()
    assert supervised.accuracy(train_network(given, config, CPU, augment=False), test) > 0.9
    misled = train_network(given, config, CPU, augment=False, others=(test[0], 1 - test[1]))
    assert supervised.accuracy(misled, test) < 0.9, "the others count"
    again, same = (train_network(given, config, CPU, augment=True) for _ in range(2))
    assert torch.equal(supervised.says(again, test[0]), supervised.says(same, test[0]))


def test_the_surer_half_is_kept_with_the_classes_that_the_network_says():
    logits = torch.tensor([[0.0, 3.0], [0.1, 0.0], [5.0, 0.0], [0.0, 0.2]])
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 32, 32)

    class Says(nn.Module):
        def forward(self, shown):
            return logits[((shown[:, 0, 0, 0] + 1) * 127.5).round().long()]

    found, named = labelled_by(Says(), images)
    assert found[:, 0, 0, 0].tolist() == [2, 0] and named.tolist() == [0, 1]


def test_a_game_is_kept_at_its_moments_and_begins_with_the_untrained_discriminator(letters):
    config = small_config(192)
    pair = play_game(letters[0], config, CPU, (64,))
    assert list(pair.over_time) == [0, 64, 192]
    first = pair.over_time[0]
    assert all(torch.equal(first[name], value) for name, value in untrained(config).state_dict().items())
    assert not torch.equal(first["layers.0.weight"], pair.over_time[64]["layers.0.weight"])
    assert torch.equal(with_weights(config, first).layers[0].weight, first["layers.0.weight"])


def test_a_game_for_each_class_sees_its_few_images_alone_and_its_samples_come_class_by_class():
    """Of two dark images and three bright ones, the samples are dark and bright."""
    images = torch.full((5, 1, 32, 32), 255, dtype=torch.uint8)
    images[[1, 3]] = 0
    labels = torch.tensor([1, 0, 1, 0, 1])
    config = replace(small_config(64 * 20), generator_learning_rate=0.01, ema_halflife_images=0)
    made = play_class_games((images, labels), config, CPU, 7)
    assert made.shape == (14, 1, 32, 32) and made.dtype == torch.uint8
    assert made[7:].float().mean() - made[:7].float().mean() > 40
    assert len(made[7:].unique(dim=0)) == 7, "each from a latent of its own"


def test_an_autoencoder_rebuilds_and_its_encoder_is_a_discriminator(letters):
    """What it has learnt shows: from its last maps, a regression finds the pixels better than without training."""
    config = small_config(64 * 60)
    errors = []
    for network in (untrained(config), train_autoencoder(letters[0], config, CPU)):
        assert isinstance(network, models.Discriminator)
        body, width = without_verdict(with_statistics_of(network, letters[0]))
        with torch.no_grad():
            maps = body(scale(letters[0]))
        assert maps.shape == (400, width)
        values, target = torch.linalg.svd(maps - maps.mean(0), full_matrices=False)[0][:, :30], pixels(letters[0])[0]
        target = target - target.mean(0)
        errors.append(float((target - values @ (values.T @ target)).square().mean()))
    assert errors[1] < 0.97 * errors[0]


def test_networks_are_made_once_and_their_facts_are_kept_with_them(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"a.weight": torch.ones(2), "ab.weight": torch.zeros(2)}

    for _ in range(2):
        tensors, facts = kept(tmp_path / "x" / "network.safetensors", make, {"device": "none"})
    assert len(made) == 1 and facts["device"] == "none" and facts["seconds"] >= 0
    assert list(under("a", tensors)) == ["weight"] and torch.equal(under("a", tensors)["weight"], torch.ones(2))


@pytest.fixture
def tiny(monkeypatch, quick):
    """The study with little of everything, on letters."""
    for name, value in {
        "NUM_UNLABELLED": 400,
        "NUM_TEST": 60,
        "NUM_HIDDEN": 50,
        "NUM_DRAWS": 2,
        "NUM_NETWORKS": 1,
        "MOMENTS": (64,),
        "OVER_TIME": ("after 64",),
        "TOTAL_IMAGES": 128,
        "BUDGETS": (1, 2),
        "METHODS": ("pixels", "untrained", "autoencoder", "discriminator"),
    }.items():
        monkeypatch.setattr(study, name, value)
    monkeypatch.setattr(study, "STAGES", ((1,), (2,)))
    monkeypatch.setattr(supervised, "STEPS", 2)


def test_no_test_image_is_among_the_unlabelled_or_the_hidden_ones(tiny, tmp_path):
    bench = study.Bench("letters", tmp_path, tmp_path, tmp_path / "out.jsonl", 128)
    sets = [{image.numpy().tobytes() for image in part} for part in (bench.images, bench.hidden[0], bench.test[0])]
    assert [len(each) for each in sets] == [400, 50, 60]
    assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]


def test_a_study_that_goes_on_measures_what_is_not_there_and_no_more(tiny, tmp_path, monkeypatch):
    for name, value in {
        "METHODS": ("pixels", "discriminator"),
        "STAGES": ((1,), (2,)),
        "LAYERS": (),
        "RECORDED": {},
        "GAMES_OF": ("letters",),
        "GAMES_AT": (2,),
        "NUM_OTHERS": 60,
    }.items():
        monkeypatch.setattr(study, name, value)
    monkeypatch.setitem(pretraining.CLASS_GAME, "total_images", 32)
    monkeypatch.setattr(study, "game_config", lambda data, seed, total_images: small_config(total_images))
    monkeypatch.setattr(study, "LOOKED_CLOSER", (1,))
    out = tmp_path / "found.jsonl"
    study.study(out, ("letters",), tmp_path, tmp_path / "kept")
    whole = [line for line in read(out) if line["kind"] != "session"]
    kinds = [(line["kind"], line.get("features"), line.get("per_class")) for line in whole]
    assert len(set(kinds)) == len(kinds)
    assert {("networks", None, 1), ("networks", None, 2), ("class games", None, 2)} < set(kinds)
    assert {("probe", "pixels", 2), ("probe", "discriminator", 1), ("probe", "after 64", 1)} < set(kinds)
    study.study(out, ("letters",), tmp_path, tmp_path / "kept")
    assert [line for line in read(out) if line["kind"] != "session"] == whole
    taken = [
        line for line in whole if (line.get("features"), line["kind"]) not in (("pixels", "probe"), (None, "networks"))
    ]
    out.write_text("".join(json.dumps(line) + "\n" for line in taken))
    study.study(out, ("letters",), tmp_path, tmp_path / "kept")
    again = [line for line in read(out) if line["kind"] != "session"]
    assert sorted(map(json.dumps, again)) == sorted(map(json.dumps, whole)), "the same numbers as in one go"


def test_the_record_that_ships_holds_every_draw_and_says_who_made_it():
    lines = read(study.RECORD)
    assert study.RECORD.stat().st_size < 300_000
    for line in lines:
        if line["kind"] == "probe":
            assert len(line["inside"]) == len(line["hidden"]) == study.NUM_DRAWS
            assert set(line["inside_choices"]) | set(line["hidden_choices"]) <= set(STRENGTHS)
            assert line["per_class"] > 1 or set(line["inside_choices"]) == {WITHOUT_CHOICE}
        if line["kind"] == "networks":
            assert {len(found) for found in line["accuracies"].values()} == {study.NUM_NETWORKS}
    made = {(line["data"], line["network"]): line for line in lines if line["kind"] == "making"}
    assert {("letters", "game"), ("digits", "game")} <= set(made)
    assert all(
        json.dumps(line["provenance"]) and line["config"]["total_images"] == study.TOTAL_IMAGES
        for line in made.values()
    )
    assert not any(str(Path.home()) in json.dumps(line) for line in lines if str(Path.home()) != "/")


def pretended(accuracies):
    """Lines of a record in which every method has these accuracies at every budget, one label in a hundred more."""
    lines = []
    for data in study.DATA:
        for per_class in study.BUDGETS:
            for shift, name in enumerate([*study.METHODS, *study.LAYERS, *study.OVER_TIME]):
                inside = [each - 0.01 * shift for each in accuracies]
                line = {"kind": "probe", "data": data, "features": name, "per_class": per_class}
                lines.append(line | {"inside": inside, "hidden": [each + 0.02 for each in inside]})
            networks = {name: accuracies[:5] for name in study.NETWORKS} | {f"right, {study.GENERATED}": [0.5]}
            lines.append({"kind": "networks", "data": data, "per_class": per_class, "accuracies": networks})
    return lines


def test_figures_and_tables_show_whatever_a_record_holds():
    import matplotlib.pyplot as plt

    from dcgan_core.teaching import chapter_15

    whole = pretended([0.6, 0.7, 0.65, 0.62, 0.68, 0.66])
    for lines in (whole, [line for line in whole if line["data"] != "clothes" and line["kind"] == "probe"]):
        for draws in (chapter_15.show_accuracy, chapter_15.show_differences, chapter_15.show_choices):
            panels = [axes for axes in draws(lines).axes if axes.axison]
            assert [axes.get_title() for axes in panels] == chapter_15.shown(lines)
        plt.close("all")
    assert chapter_15.differences(whole, "digits", "discriminator", "untrained", 3) == pytest.approx([0.02] * 6)
    table = chapter_15.accuracy_table(whole, "clothes", (1, 3)).splitlines()
    assert table[1].startswith("discriminator") and "65.5 (60.0-70.0)" in table[1]
    better = chapter_15.comparisons(whole, "discriminator", ("untrained",), (3,))
    assert "untrained       in  6 of 6 draws, by  +2.0" in better
    networks = {line.split("  ")[0]: line for line in chapter_15.network_table(whole, "digits").splitlines()}
    assert networks[study.PLAIN].split()[-5:] == ["65.0"] * 5
    assert networks[f"right, {study.GENERATED}"].split()[-5:] == ["50.0"] * 5
    assert study.CLASS_GAMES not in networks
    chapter_15.show_closer(whole)
    chapter_15.show_networks(whole)
    plt.close("all")
