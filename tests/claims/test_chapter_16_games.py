"""Chapter 16's sentences on levels and textures, measured on the generators and records that ship, with other seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch.nn.functional import avg_pool2d

from dcgan_core.data.levels import render
from dcgan_core.laboratory import level_design, seamless
from dcgan_core.laboratory.level_design import (
    chained,
    designed,
    drawn,
    judged,
    pits_if_passable,
    recorded_designer,
    searched,
    shuffled,
    training_levels,
)
from dcgan_core.laboratory.level_rules import explored, num_faults, num_pits
from dcgan_core.laboratory.seamless import cells, recorded_texture, seam, training_texture
from dcgan_core.laboratory.studies import read_lines

pytestmark = pytest.mark.usefixtures("one_thread")

LEVELS, SEAMS = read_lines(level_design.RECORD), read_lines(seamless.RECORD)
NUM = 400


def low_and_high(count: int, num: int) -> tuple[float, float]:
    interval = binomtest(count, num).proportion_ci(method="wilson")
    return interval.low, interval.high


@pytest.fixture(scope="module")
def training() -> np.ndarray:
    return training_levels()


@pytest.fixture(scope="module")
def found(training) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(77)
    latents = torch.randn(NUM, level_design.LATENT_SIZE, generator=torch.Generator().manual_seed(77))
    sources = {
        "drawn by code": render(NUM, seed=77),
        "single tiles": shuffled(training, NUM, rng),
        "chain of columns": chained(training, NUM, rng),
        "generator": designed(recorded_designer(), latents),
    }
    return {name: judged(levels, training) for name, levels in sources.items()}


def test_every_level_of_the_program_can_be_passed_and_is_without_a_fault(found):
    assert found["drawn by code"]["both"] == NUM
    assert all(line["judged"]["drawn by code"]["both"] == line["judged"]["drawn by code"]["num"] for line in LEVELS)


def test_nearly_all_levels_of_single_tiles_can_be_passed_and_none_is_without_a_fault(found):
    for judgement in (found, *(line["judged"] for line in LEVELS)):
        tiles = judgement["single tiles"]
        assert low_and_high(tiles["passable"], tiles["num"])[0] > 0.9 and tiles["sound"] == 0


def test_a_chain_of_columns_is_tidy_but_a_third_of_it_cannot_be_passed(found):
    for judgement in (found, *(line["judged"] for line in LEVELS)):
        chain = judgement["chain of columns"]
        assert 0.55 < chain["passable"] / chain["num"] < 0.75 and chain["sound"] / chain["num"] > 0.9


@pytest.fixture(scope="module")
def seams() -> dict[str, torch.Tensor]:
    painter, texture = recorded_texture(), training_texture()
    noise = cells(6, 200, torch.Generator().manual_seed(77))
    with torch.no_grad():
        found = {name: seam(painter.wrap(name == "wrapped")(noise)) for name in ("wrapped", "edges of zeros")}
    cut = texture.unfold(1, 48, 31).unfold(2, 48, 31).permute(1, 2, 0, 3, 4).flatten(0, 1)[:200]
    return found | {"cut out": seam(cut)}


def test_a_wrapped_tile_has_no_seam_and_the_two_others_change_more_than_twice_as_much_there(seams):
    assert abs(seams["wrapped"].mean() - 1) < 0.04
    assert seams["edges of zeros"].mean() > 2 and seams["cut out"].mean() > 2
    for line in SEAMS:
        assert abs(line["seam"]["wrapped"]["mean"] - 1) < 0.04
        assert line["seam"]["not wrapped"]["mean"] > 2 and line["seam"]["cut out"]["mean"] > 2


def test_each_network_that_ships_has_three_seeds():
    assert [line["seed"] for line in LEVELS] == [line["seed"] for line in SEAMS] == [0, 1, 2]


def test_the_pebbles_have_the_shades_of_the_drawing_and_a_third_to_two_thirds_of_its_tints():
    shares, found = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]), []
    for seed in (None, 0, 1, 2):
        with torch.no_grad():
            noise = cells(64, 1, torch.Generator().manual_seed(80))
            picture = training_texture() if seed is None else recorded_texture(seed).wrap()(noise)[0]
        tint = avg_pool2d((picture[0] - picture[2])[None], 8).std()  # red less blue, place by place
        found.append((torch.quantile(picture.mean(dim=0).flatten(), shares), tint))
    for shades, tint in found[1:]:
        assert (shades - found[0][0]).abs().max() < 0.1
        assert 0.3 < tint / found[0][1] < 0.7


def test_a_larger_field_of_noise_makes_a_larger_picture_without_a_seam_too():
    with torch.no_grad():
        pictures = recorded_texture().wrap()(cells(16, 40, torch.Generator().manual_seed(78)))
    assert pictures.shape == (40, 3, 128, 128) and abs(seam(pictures).mean() - 1) < 0.05


def test_the_generators_levels_can_be_passed_but_few_are_without_a_fault_and_the_chain_has_more_that_are_both(found):
    for judgement in (found, *(line["judged"] for line in LEVELS)):
        made, chain = judgement["generator"], judgement["chain of columns"]
        assert low_and_high(made["passable"], made["num"])[0] > 0.97
        assert 2.5 < made["faults"] < 3.5, "about three"
        assert low_and_high(made["both"], made["num"])[1] < low_and_high(chain["both"], chain["num"])[0]


def test_one_generated_level_in_nine_to_fourteen_is_without_a_fault():
    shares = [line["judged"]["generator"]["sound"] / line["judged"]["generator"]["num"] for line in LEVELS]
    assert (round(1 / max(shares)), round(1 / min(shares))) == (9, 14)


def test_the_generator_has_neither_collapsed_nor_copied(found):
    for judgement in (found, *(line["judged"] for line in LEVELS)):
        made, real = judgement["generator"], judgement["drawn by code"]
        assert made["different"] == made["num"]
        assert made["apart"] == pytest.approx(real["apart"], rel=0.05)
        assert made["to_training"] >= real["to_training"] - 1


def test_every_recorded_search_by_cma_es_beats_every_one_at_random_and_the_training_levels():
    ends = []
    for line in LEVELS:
        by_search, at_random = ([run["after"][-1] for run in line["best"][name]] for name in ("CMA-ES", "random"))
        ends.append((min(by_search), max(by_search), min(at_random), max(at_random)))
        assert len(by_search) == len(at_random) == 10
        assert min(by_search) > max(at_random) and min(by_search) > line["training_best"] == 15
        faults = [[run["faults"] for run in line["best"][name]] for name in ("CMA-ES", "random")]
        assert min(faults[0]) > 0, "none of the levels that were found is without a fault"
    low, high, low_at_random, high_at_random = zip(*ends, strict=True)
    assert (min(low), max(high), min(low_at_random), max(high_at_random)) == (18, 24, 15, 18)


def test_a_search_of_another_seed_beats_random_latents_too(training):
    generator = recorded_designer()
    (best, level), (at_random, _) = (search(generator, pits_if_passable, seed=77) for search in (searched, drawn))
    assert len(best) == len(at_random) and best[-1] > at_random[-1]
    assert explored(level[None])[0].all() and num_pits(level[None])[0] == best[-1] > num_pits(training).max()


def test_far_from_the_length_of_training_the_generator_draws_more_faults():
    latents = torch.randn(200, level_design.LATENT_SIZE, generator=torch.Generator().manual_seed(79))
    near, far = (num_faults(designed(recorded_designer(), scale * latents)).mean() for scale in (1, 4))
    assert far > 1.5 * near
