"""What chapter 20 says: of the exhibits, of their record, and of the tests that catch them."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from statistics import median

import pytest
import torch

from dcgan_core.teaching import museum, museum_record, museum_script, museum_tests
from dcgan_core.teaching.chapter_20 import (
    MYSTERIES,
    level,
    outside,
    runs_of,
    show_true_distances,
    show_wall,
    shown_by,
    table,
)
from dcgan_core.teaching.museum import EXHIBITS, HEALTHY, script
from dcgan_core.teaching.museum_record import CURVES, HEALTHY_SEEDS, OTHER_SEEDS, SEEDS

CHAPTER = Path(__file__).parent.parent.parent / "notebooks" / "20_bug_museum.ipynb"
CELLS = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
TEXT = "\n\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
EXACTLY_HEALTHY = (2, 4, 19, 22, 23)


def true_distances(number):
    return [run["true_distance"] for run in runs_of(number)]


# The museum as the text describes it


def test_the_script_has_about_two_hundred_lines():
    assert 190 <= len(museum.source().splitlines()) <= 260


def test_every_exhibit_hangs_once_with_two_hints_its_name_and_a_thread():
    rooms = re.split(r"^### Exhibit (\d+)$", TEXT.split("## The whole collection")[0], flags=re.M)[1:]
    assert [int(number) for number in rooms[::2]] == list(EXHIBITS)
    for exhibit, room in zip(EXHIBITS.values(), rooms[1::2], strict=True):
        assert f"**{exhibit.name[0].upper()}{exhibit.name[1:]}.**" in room
        assert room.count("<summary>Hint") == 2 and room.count("*Who met it:*") == 1
        assert re.search(r"\]\(https://github\.com/[\w./#-]+\)", room.split("*Who met it:*")[1])
        before = room.split("<summary>Hint 1")[0]
        assert exhibit.name not in before, "nothing but its number comes first"


def test_most_exhibits_are_a_change_of_one_line():
    one_line = [
        number
        for number in EXHIBITS
        if max(sum(line[0] == sign for line in museum.difference(number).splitlines()) for sign in "+-") <= 1
    ]
    assert len(one_line) > len(EXHIBITS) / 2


def test_no_test_makes_more_than_four_updates_or_takes_a_second(monkeypatch):
    module, counts = script(), {}
    for turn in ("update_discriminator", "update_generator"):
        made = getattr(module.Training, turn)
        monkeypatch.setattr(
            module.Training,
            turn,
            lambda self, argument, made=made, turn=turn: (
                counts.__setitem__((id(self), turn), counts.get((id(self), turn), 0) + 1),
                made(self, argument),
            )[1],
        )
    for exhibit in EXHIBITS.values():
        counts.clear()
        begin = time.process_time()
        exhibit.caught_by(module)
        assert time.process_time() - begin < 1 and max(counts.values(), default=0) <= 4


# The record: what curves show


def test_five_exhibits_have_exactly_the_curves_of_the_healthy_script():
    for number in EXHIBITS:
        healthy = {run["seed"]: run for run in runs_of(HEALTHY, SEEDS)}
        same = all(run[curve] == healthy[run["seed"]][curve] for run in runs_of(number) for curve in CURVES)
        assert same == (number in EXACTLY_HEALTHY), number


def test_an_exhibit_is_shown_by_a_curve_whose_median_leaves_all_that_healthy_seeds_did():
    healthy = [{"loss D": [value]} for value in (1.0, 2.0, 3.0)]
    for values, expected in (((2, 9, 9), True), ((1, 3, 9), False), ((0, 0.5, 2), True), ((3, 3, 3), False)):
        assert outside(healthy, [{"loss D": [value]} for value in values], "loss D") == expected
    assert level({"loss D": [9, 9, 9, 9, 1, 2, 3, 2, 2, 1, 1, 3]}, "loss D") == 1.5


def test_healthy_runs_of_other_seeds_are_shown_by_no_curve():
    assert shown_by(HEALTHY, OTHER_SEEDS) == []


def test_the_record_has_ten_healthy_seeds_five_others_and_five_of_each_exhibit():
    assert (len(HEALTHY_SEEDS), len(OTHER_SEEDS), len(SEEDS)) == (10, 5, 5)
    assert not set(HEALTHY_SEEDS) & set(OTHER_SEEDS)
    assert all(len(runs_of(number)) == 5 for number in EXHIBITS)


def test_the_table_has_a_line_for_every_exhibit_and_for_both_groups_of_healthy_runs():
    lines = table().splitlines()
    assert len(lines) == 1 + 2 + len(EXHIBITS)
    for (number, exhibit), line in zip(EXHIBITS.items(), lines[3:], strict=True):
        assert line.startswith(f"{number:2} {exhibit.name}") and f"{median(true_distances(number)):.0f} (" in line


def test_the_figure_of_true_distances_shows_every_run_of_every_exhibit_as_a_curve_shows_it_or_not():
    axes = show_true_distances().axes[0]
    drawn = {line.get_label(): sorted(zip(*line.get_data(), strict=True)) for line in axes.lines}
    for label, numbers in (("shown by a curve", LOUD + QUIET), ("shown by none", SILENT)):
        assert drawn[label] == sorted((number, true) for number in numbers for true in true_distances(number))


def test_the_wall_has_a_picture_of_the_healthy_script_and_of_every_exhibit():
    panels = show_wall().axes
    assert [axes.get_title() for axes in panels] == ["healthy", *map(str, EXHIBITS)]
    assert all(axes.images[0].get_array().shape == (48, 4 * 48) for axes in panels)


LOUD, QUIET, SILENT = (1, 3, 5, 6, 8, 10, 14, 16, 21), (9, 12, 13, 17, 18, 20), (2, 4, 7, 11, 15, 19, 22, 23)


def test_fifteen_exhibits_are_shown_by_a_curve_and_eight_by_none():
    assert tuple(number for number in EXHIBITS if not shown_by(number)) == SILENT
    assert (len(EXHIBITS), len(LOUD) + len(QUIET), len(SILENT)) == (23, 15, 8)


def test_nine_of_those_that_a_curve_shows_have_a_true_distance_that_no_healthy_run_has():
    healthy = true_distances(HEALTHY)
    for number in EXHIBITS:
        usual = min(healthy) <= median(true_distances(number)) <= max(healthy)
        assert usual == (number not in LOUD), number
        assert number not in LOUD or min(true_distances(number)) > max(healthy)
    assert len(EXHIBITS) - len(LOUD) == 14 and len(QUIET) == 6


def test_in_nine_exhibits_neither_loss_leaves_its_band():
    assert sum(not {"loss D", "loss G"} & set(shown_by(number)) for number in EXHIBITS) == 9


@pytest.mark.parametrize("number", [11, 15])
def test_where_only_sampling_or_measuring_is_wrong_all_but_the_distance_is_healthy_to_the_last_digit(number):
    healthy = {run["seed"]: run for run in runs_of(HEALTHY, SEEDS)}
    for run in runs_of(number):
        assert all(run[curve] == healthy[run["seed"]][curve] for curve in CURVES[:4])
        assert run["distance"] != healthy[run["seed"]]["distance"]


# Single exhibits


def test_without_a_step_the_discriminator_stays_and_the_generators_loss_falls_below_every_healthy_one():
    training = museum_tests.begun(script(1))
    before = museum_tests.weights(training.discriminator)
    training.train(4)
    assert museum_tests.same(before, museum_tests.weights(training.discriminator))
    assert max(level(run, "loss G") for run in runs_of(1)) < min(level(run, "loss G") for run in runs_of(HEALTHY))


def test_a_pixel_beyond_255_wraps_around_to_black():
    image = torch.full((1, 1, 16, 16), -1.0)
    image[..., 8:] = 1
    wrapped, right = script(2).picture(image).int(), script().picture(image).int()
    assert (right - wrapped).max() > 240 and ((right == 255) & (wrapped < 16)).any()


def test_with_a_sigmoid_too_many_verdicts_stay_between_one_half_and_0_73_and_the_loss_above_one():
    for run in runs_of(3):
        assert all(0.5 <= value <= 0.7311 for curve in ("D(x)", "D(G(z))") for value in run[curve])
    best = script(3).discriminator_loss(torch.ones(4), torch.zeros(4))
    assert best.item() == pytest.approx(1.006, abs=1e-3)


def test_what_is_detached_and_thrown_away_ends_at_the_same_weights():
    ends = []
    for number in (HEALTHY, 4):
        training = museum_tests.begun(script(number))
        training.train(3)
        ends.append(museum_tests.weights(training.generator) + museum_tests.weights(training.discriminator))
    assert museum_tests.same(*ends)


def test_with_the_wrong_sign_both_losses_fall_to_zero():
    assert all(max(level(run, "loss D"), level(run, "loss G")) < 0.05 for run in runs_of(8))


def test_a_mean_over_pixels_makes_the_penalty_256_times_as_weak():
    network, images = museum_script.make_discriminator(), torch.randn(4, 1, 16, 16)
    sums, means = (script(number).penalty(network, images).item() for number in (HEALTHY, 9))
    assert sums / means == pytest.approx(256, rel=1e-3)


def test_a_detached_penalty_has_the_right_value():
    network, images = museum_script.make_discriminator(), torch.randn(4, 1, 16, 16)
    assert script(13).penalty(network, images).item() == script().penalty(network, images).item()


def test_the_slope_of_the_loss_vanishes_where_the_discriminator_is_confident():
    images = torch.zeros(4, 1, 16, 16)
    unsure, confident = (script(20).penalty(museum_tests._Sum(level), images).item() for level in (0.0, 10.0))
    assert confident < 1e-3 * unsure


def test_stretching_makes_grey_paper_black():
    images = torch.rand(4, 1, 16, 16)  # as of exhibit 5, from 0 to 1
    assert script().picture(images).min() > 100 and script(19).picture(images).min() == 0


def test_a_distance_in_the_wrong_range_still_falls_and_is_another_number():
    healthy = {run["seed"]: run["distance"] for run in runs_of(HEALTHY, SEEDS)}
    for run in runs_of(15):
        assert run["distance"][-1] < 0.5 * run["distance"][0]
        assert abs(run["distance"][-1] / healthy[run["seed"]][-1] - 1) > 0.05


def test_the_image_of_a_latent_of_exhibit_11_depends_on_the_rest_of_its_batch():
    training = museum_tests.begun(script(11))
    training.train(4)
    latents = torch.randn(10, museum_script.LATENT_SIZE)
    assert (training.sample(latents)[:5] - training.sample(latents[:5])).abs().max() > 0.01


def test_the_same_letters_meet_in_every_epoch_of_exhibit_7_and_in_no_two_of_the_healthy_script():
    for number, same in ((7, True), (HEALTHY, False)):
        training = museum_tests.begun(script(number))
        first = training.batch()
        training.step += len(training.images) // 8
        assert torch.equal(training.batch(), first) == same


def test_the_generator_of_exhibit_16_never_moves_and_its_turn_moves_the_discriminator():
    training = museum_tests.begun(script(16))
    before = [parameter.detach().clone() for parameter in training.generator.parameters()]
    judge = museum_tests.weights(training.discriminator)
    training.update_generator(8)
    assert museum_tests.same(before, list(training.generator.parameters()))
    assert not museum_tests.same(judge, museum_tests.weights(training.discriminator))


def test_a_norm_before_tanh_fixes_the_mean_of_every_batch():
    torch.manual_seed(0)
    generator = script(14).make_generator()
    with torch.no_grad():
        for scale in (1, 100):
            generator[-3].weight *= scale
            means = generator[:-1](torch.randn(64, museum_script.LATENT_SIZE))
            assert abs(float(means.mean())) < 1e-3 and float(means.std()) == pytest.approx(1, abs=0.05)


def test_adam_without_its_memory_moves_all_weights_by_the_same_amount_at_first():
    weight = torch.nn.Parameter(torch.zeros(5))
    weight.grad = torch.tensor([1e-3, -1.0, 5.0, -0.2, 30.0])
    torch.optim.Adam([weight], lr=0.01).step()
    assert torch.allclose(weight.detach().abs(), torch.full((5,), 0.01), rtol=1e-3)


def test_runs_of_exhibit_17_are_healthy_until_the_interruption():
    half = museum_record.NUM_UPDATES // 2 // museum_record.EVERY
    healthy = {run["seed"]: run for run in runs_of(HEALTHY, SEEDS)}
    for run in runs_of(17):
        assert run["loss D"][:half] == healthy[run["seed"]]["loss D"][:half]
        assert run["loss D"][half:] != healthy[run["seed"]]["loss D"][half:]


def test_the_generator_has_no_conv2d_and_exhibit_18_draws_nothing():
    weights = [layer.weight.std() for layer in script(18).make_generator() if hasattr(layer, "stride")]
    assert not any(type(layer).__name__ == "Conv2d" for layer in museum_script.make_generator())
    assert all(weight > 0.025 or weight < 0.015 for weight in weights)


def test_nothing_is_kept_by_exhibit_22_and_something_by_all_others():
    for number in (HEALTHY, *EXHIBITS):
        assert all((run["best"] is None) == (number == 22) for run in runs_of(number)), number


def test_only_exhibit_23_says_that_its_updates_were_recorded_and_none_was():
    for number in (HEALTHY, *EXHIBITS):
        for run in runs_of(number):
            assert (run["made"] == "recorded") == (number == 23)


# The exercises


def test_a_mystery_is_nearer_to_the_other_seeds_of_its_exhibit_than_to_any_other_exhibit():
    def vector(run):
        verdicts = [value for curve in CURVES[:4] for value in run[curve]]
        return torch.tensor([*verdicts, *(math.log(value) for value in run["distance"])])

    for number, seed in MYSTERIES.values():
        (mystery,) = runs_of(number, [seed])
        apart = {
            other: median(
                float((vector(run) - vector(mystery)).abs().mean()) for run in runs_of(other) if run["seed"] != seed
            )
            for other in EXHIBITS
        }
        assert min(apart, key=apart.__getitem__) == number
