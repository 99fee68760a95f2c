"""What chapter 08 claims: measured on games that are played here, and read from its record."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import softplus

from dcgan_core.data import Batches
from dcgan_core.iteration import advance
from dcgan_core.losses import GAMES, discriminator_loss, minimax_generator_loss, non_saturating_generator_loss
from dcgan_core.runtime import choose_machine
from dcgan_core.state import draw_latents, start
from dcgan_core.steps import frozen
from dcgan_core.teaching.chapter_08 import (
    BASE,
    GALLERY,
    NAIVE,
    OTHERS,
    Case,
    Run,
    confusion,
    diagnose,
    first_named,
    gradient_norm,
    judge_16,
    letters_16,
    look,
    outcome,
    play,
    recorded_diagnoses,
    signs,
    until,
)
from dcgan_core.train import Diverged, train

pytestmark = pytest.mark.usefixtures("one_thread")

NEW_SEEDS = (20, 21, 22)  # neither chose a threshold nor is in the record
EQUILIBRIUM = 2 * math.log(2)
RECORD, PROVENANCE = recorded_diagnoses()
PLAYED = RECORD["gallery"]


@pytest.fixture(scope="module")
def letters():
    return letters_16()


@pytest.fixture(scope="module")
def played(letters, one_thread):
    """Plays each game once for each seed, when it is asked for."""
    found: dict[tuple[str, int], Run] = {}

    def get(name, seed):
        if (name, seed) not in found:
            found[name, seed] = play(GALLERY[name], letters, seed=seed)
        return found[name, seed]

    return get


def medians(name, sign, group="gallery"):
    return [one["signs"][sign] for one in RECORD[group][name]]


# The log


def test_a_check_leaves_no_trace_and_agrees_with_its_definitions(letters):
    machine = choose_machine("cpu", "float32")
    state = start(BASE, machine)
    real = Batches(letters.images, batch_size=64, seed=0)(0)
    advance(state, real, machine)
    watched = draw_latents(64, BASE.latent_size, seed=1)
    before = {name: value.clone() for name, value in state.tensors().items()}
    line, images = look(state, real, watched, None)
    again, _ = look(state, real, watched, images + 0.1)
    assert all(torch.equal(value, before[name]) for name, value in state.tensors().items())
    assert state.generator.training and state.discriminator.training
    assert math.isnan(line["motion"])
    assert again["motion"] == pytest.approx(0.1 / float(images.std(dim=0).mean()), rel=1e-3)
    assert line["diversity"] == pytest.approx(float(images.std(dim=0).mean() / real.std(dim=0).mean()), rel=1e-4)
    for player in ("generator", "discriminator"):
        network = getattr(state, player)
        theirs = float(torch.nn.utils.clip_grad_norm_(network.parameters(), 1e9))
        assert gradient_norm(network) == pytest.approx(theirs, rel=1e-4)


def test_one_half_everywhere_is_2_log_2_and_log_2():
    half = torch.zeros(8)
    assert float(discriminator_loss(half, half)) == pytest.approx(EQUILIBRIUM)
    assert float(non_saturating_generator_loss(half)) == pytest.approx(math.log(2))


def test_an_early_log_is_the_beginning_of_a_late_one(played):
    log = played("healthy", NEW_SEEDS[0]).log
    early = until(log, 100)
    assert early["updates"][-1] == 100 and all(log[name][: len(values)] == values for name, values in early.items())


# The illnesses, on seeds that nobody has seen


def test_a_strong_discriminator_gives_the_generator_a_steep_gradient(played):
    for seed in NEW_SEEDS:
        strong, healthy = signs(played("discriminator too strong", seed).log), signs(played("healthy", seed).log)
        assert strong["gradient G"] > 8 * healthy["gradient G"], "an order of magnitude"
        assert strong["D(G(z))"] < 0.15 and min(strong["right on real"], strong["right on fake"]) > 0.95
        assert strong["diversity"] < 0.4


def test_that_the_gradient_vanishes_is_true_of_the_minimax_loss():
    logits = torch.full((1,), -6.0, requires_grad=True)
    (minimax,) = torch.autograd.grad(minimax_generator_loss(logits), logits)
    (ours,) = torch.autograd.grad(non_saturating_generator_loss(logits), logits)
    assert abs(float(minimax)) < 0.01 and abs(float(ours)) > 0.99, "near its largest possible value, one"


def test_a_collapse_has_the_verdicts_of_a_strong_discriminator_and_hardly_any_gradient():
    fell = [one["signs"] for one in PLAYED["collapsed"] if one["diagnosis"] == "collapsed"]
    assert len(fell) >= 6
    assert statistics.median(now["diversity"] for now in fell) < 0.05
    assert statistics.median(now["gradient G"] for now in fell) < 0.1
    assert statistics.median(now["D(x)"] for now in fell) > 0.95
    assert statistics.median(now["D(G(z))"] for now in fell) < 0.05


def test_a_collapsed_generators_pixels_are_at_the_ends_of_tanh(played):
    runs = [played("collapsed", seed) for seed in NEW_SEEDS]
    fell = [run for run in runs if diagnose(run.log) == "collapsed"]
    assert len(fell) >= 2, "most of these games collapse, as in the record, but not all"
    assert all(float((1 - run.samples**2).mean()) < 0.01 for run in fell)


def test_in_the_record_no_game_that_is_called_collapsed_at_its_beginning_comes_back():
    assert sum((one["named_at"] or math.inf) <= 20 for one in PLAYED["collapsed"]) == 7


def test_circling_games_sit_at_2_log_2_and_no_image_stays(played):
    for seed in NEW_SEEDS:
        circling, healthy = signs(played("circling", seed).log), signs(played("healthy", seed).log)
        assert circling["loss D"] == pytest.approx(EQUILIBRIUM, abs=0.03)
        assert circling["D(x)"] == pytest.approx(0.5, abs=0.03) and circling["D(G(z))"] == pytest.approx(0.5, abs=0.03)
        assert circling["motion"] > 1.3 * healthy["motion"] and circling["gradient G"] < 0.05


def test_healthy_games_swing_more_than_circling_ones_and_lie_mostly_below_2_log_2(played):
    for seed in NEW_SEEDS:
        last = slice(-9, None)
        swing = {name: statistics.pstdev(played(name, seed).log["D(x)"][last]) for name in ("healthy", "circling")}
        assert swing["healthy"] > 5 * swing["circling"]
    assert sum(loss < EQUILIBRIUM for loss in medians("healthy", "loss D")) >= 6


def test_in_a_healthy_game_diversity_climbs_and_motion_falls(played):
    for seed in NEW_SEEDS:
        log = played("healthy", seed).log
        assert statistics.median(log["diversity"][-8:]) > 1.3 * statistics.median(log["diversity"][:3])
        assert statistics.median(log["diversity"][-8:]) > 0.8
        assert statistics.median(log["motion"][-8:]) < 0.8 * statistics.median(log["motion"][1:8])
        assert 0.1 < signs(log)["gradient D"] / signs(log)["gradient G"] < 10


def test_logarithm_of_sigmoid_overflows_at_once_and_softplus_does_not(letters, tmp_path, monkeypatch):
    fast = replace(BASE, discriminator_learning_rate=0.5, total_images=640, log_every_images=64)
    fast = replace(fast, evaluate_every_images=0)
    settings = {"dataset": letters, "machine": choose_machine("cpu", "float32"), "progress": False}
    train(fast, tmp_path / "softplus", **settings)
    monkeypatch.setitem(GAMES, "non-saturating", NAIVE)
    with pytest.raises(Diverged, match="no longer finite"):
        train(fast, tmp_path / "naive", **settings)
    for seed in NEW_SEEDS:
        log = play(GALLERY["overflow"], letters, seed=seed).log
        assert diagnose(log) == "overflow" and log["updates"][-1] < 10


def test_with_a_rate_of_one_half_no_loss_overflows_and_nothing_is_learnt(letters):
    judge = judge_16()
    for seed in NEW_SEEDS:
        run = play(Case({"discriminator_learning_rate": 0.5}), letters, seed=seed, num_updates=150)
        assert diagnose(run.log) != "overflow" and max(run.log["loss D"]) > 2 * EQUILIBRIUM
        assert outcome(run, judge, "healthy")["recognised"] < 0.02


def test_data_in_the_wrong_range_trains_worse_and_only_the_smallest_pixel_tells(played):
    for seed in NEW_SEEDS:
        run = played("wrong range", seed)
        now = signs(run.log)
        assert now["darkest"] == 0 and now["diversity"] > 0.5 and 0.3 < now["loss D"] < EQUILIBRIUM
        corners = run.samples[:, :, :2, :2]
        assert abs(float(corners.median())) < 0.3, "the background is grey, and not black"
    assert min(one["letters"] for one in PLAYED["wrong range"]) >= 1
    covered = {name: statistics.median(one["letters"] for one in PLAYED[name]) for name in ("healthy", "wrong range")}
    assert covered["wrong range"] < 0.5 * covered["healthy"], covered


def test_without_a_gradient_everything_looks_like_a_strong_discriminator_but_one_curve(played):
    for seed in NEW_SEEDS:
        log = played("dead generator", seed).log
        assert max(log["gradient G"]) == 0 and max(log["motion"][1:]) == 0
        assert signs(log)["D(x)"] > 0.99 and signs(log)["D(G(z))"] < 0.01


def test_frozen_players_make_a_detached_fake_an_error_and_free_ones_do_not():
    state = start(BASE, choose_machine("cpu", "float32"))
    fake = state.generator(draw_latents(8, BASE.latent_size, seed=0)).detach()
    softplus(-state.discriminator(fake)).mean().backward()
    with frozen(state.discriminator), pytest.raises(RuntimeError, match="does not require grad"):
        softplus(-state.discriminator(fake)).mean().backward()


def test_stuck_in_eval_mode_the_gap_is_large_in_every_seed_whatever_comes_of_the_samples(played):
    for seed in NEW_SEEDS:
        assert signs(played("wrong mode", seed).log)["gap"] > 2 * signs(played("healthy", seed).log)["gap"]
    assert min(medians("wrong mode", "gap")) > 2 * max(medians("healthy", "gap"))


# The tree and its record


def test_the_record_holds_every_game_with_every_seed_and_says_who_made_it():
    assert set(PLAYED) == set(GALLERY) and set(RECORD["others"]) == set(OTHERS)
    assert all(len(played) == PROVENANCE["seeds"] == 8 for group in RECORD.values() for played in group.values())
    assert PROVENANCE["command"] == "python -m dcgan_core.teaching.chapter_08"


@pytest.mark.parametrize("name", GALLERY)
def test_the_tree_names_the_games_of_the_gallery_on_new_seeds(name, played):
    said = [diagnose(played(name, seed).log) for seed in NEW_SEEDS]
    assert said.count(name) >= (2 if name == "collapsed" else 3), said


def test_of_the_gallery_all_runs_but_one_get_their_right_name_and_that_one_draws_a_single_letter():
    missed = [(name, one) for name, seeds in PLAYED.items() for one in seeds if one["diagnosis"] != name]
    assert [name for name, _ in missed] == ["collapsed"]
    assert missed[0][1]["letters"] == 1 and missed[0][1]["signs"]["diversity"] > 0.5


def test_in_other_settings_half_of_the_collapsed_games_are_missed_and_two_circling_ones_are_called_collapsed():
    said = {name: [one["diagnosis"] for one in played] for name, played in RECORD["others"].items()}
    for name in ("healthy", "discriminator too strong", "wrong mode"):
        assert said[name] == [name] * 8
    assert said["collapsed"].count("collapsed") == 4
    assert said["circling"].count("circling") == 6 and said["circling"].count("collapsed") == 2
    missed = [one for one in RECORD["others"]["collapsed"] if one["diagnosis"] != "collapsed"]
    assert all(one["letters"] >= 4 and one["signs"]["right on real"] > 0.95 for one in missed)
    borderline = [one["signs"] for one in RECORD["others"]["circling"] if one["diagnosis"] == "collapsed"]
    assert all(0.35 < now["diversity"] < 0.5 and now["motion"] > 0.9 for now in borderline)


def test_healthy_games_with_smaller_rates_have_hardly_any_letters_yet():
    assert statistics.median(one["letters"] for one in RECORD["others"]["healthy"]) <= 4
    assert min(one["letters"] for one in PLAYED["healthy"]) >= 15


def test_mistakes_of_code_are_named_at_the_first_check_and_healthy_games_only_after_a_hundred_updates():
    at = {name: [one["named_at"] or math.inf for one in played] for name, played in PLAYED.items()}
    for name in ("wrong range", "wrong mode", "dead generator"):
        assert max(at[name]) == 10
    assert max(at["overflow"]) < 10
    assert sum(when <= 20 for when in at["collapsed"]) >= 7
    assert min(at["healthy"]) > 100
    for name in ("discriminator too strong", "circling"):
        assert statistics.median(at[name]) > 50


def test_a_healthy_game_is_called_faulty_in_its_first_updates(played):
    first = []
    for seed in NEW_SEEDS:
        log = played("healthy", seed).log
        said = [diagnose(until(log, int(at))) for at in log["updates"]]
        first.append(said[0])
        assert "healthy" not in said[:5] and set(said) <= {"wrong mode", "collapsed", "circling", "healthy"}
        assert 50 < first_named(log, "healthy") < 250
    assert first.count("wrong mode") > len(first) / 2, "running statistics lag behind"


def test_circling_games_have_the_loss_of_the_equilibrium_and_a_fraction_of_the_letters():
    assert statistics.median(medians("circling", "loss D")) == pytest.approx(EQUILIBRIUM, abs=0.005)
    letters = {name: statistics.median(one["letters"] for one in PLAYED[name]) for name in ("healthy", "circling")}
    assert letters["circling"] < 0.5 * letters["healthy"]
    distance = {name: [one["frechet_distance"] for one in PLAYED[name]] for name in letters}
    assert min(distance["circling"]) > max(distance["healthy"])


def test_stuck_in_eval_mode_all_seeds_but_one_learn_to_draw_mostly_fewer_letters():
    covered = [one["letters"] for one in PLAYED["wrong mode"]]
    assert sum(letters == 0 for letters in covered) == 1 and sum(letters >= 9 for letters in covered) == 7
    assert sum(letters < min(one["letters"] for one in PLAYED["healthy"]) for letters in covered) > 4


def test_the_table_counts_every_run_once_and_has_the_right_diagnoses_on_its_diagonal():
    table = confusion(PLAYED)
    assert [sum(row) for row in table] == [8] * len(GALLERY)
    right = [sum(one["diagnosis"] == name for one in played) for name, played in PLAYED.items()]
    assert [row[place] for place, row in enumerate(table)] == right
