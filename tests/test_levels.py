"""Levels drawn by code, the rules of their game, and the agents that try them: one by one, and many at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan_core.data.levels import CRYSTAL, EARTH, HEDGEHOG, HEIGHT, LEDGE, LEFT, RIGHT, SKY, THORNS, WIDTH, render
from dcgan_core.laboratory import level_design
from dcgan_core.laboratory.level_design import (
    chained,
    decoded,
    designed,
    differences,
    drawn,
    encoded,
    networks,
    searched,
    shuffled,
)
from dcgan_core.laboratory.level_rules import explored, moved, num_faults, num_pits, passed, start_of, way

pytestmark = pytest.mark.usefixtures("one_thread")


def even(surface: int = HEIGHT - 3) -> np.ndarray:
    level = np.full((HEIGHT, WIDTH), SKY, np.uint8)
    level[surface:] = EARTH
    return level


def with_pit(width: int) -> np.ndarray:
    level = even()
    level[:, 10 : 10 + width] = SKY
    return level


def test_a_level_depends_on_its_seed_and_number_alone():
    assert (render(3, seed=5, first=2) == render(5, seed=5)[2:]).all()
    assert (render(2, seed=5) != render(2, seed=6)).any()


def test_every_drawn_level_can_be_passed_and_has_no_fault():
    levels = render(500, seed=7)
    passable, furthest = explored(levels)
    assert passable.all() and (furthest == WIDTH - 1).all() and not num_faults(levels).any()


def test_a_jump_crosses_eight_columns_and_no_more():
    """Four ticks up and four down, each one column further, and the step with which it lands."""
    assert [way(with_pit(width)) is not None for width in (7, 8, 9, 10)] == [True, True, False, False]


def test_four_rows_can_be_climbed_and_five_cannot():
    for rise, passable in ((4, True), (5, False)):
        level = even()
        level[HEIGHT - 3 - rise :, 20:] = EARTH
        assert (way(level) is not None) == passable


@pytest.mark.parametrize("tile", [THORNS, HEDGEHOG])
def test_what_is_deadly_must_be_jumped_over(tile):
    level = even()
    level[HEIGHT - 4, 10] = tile
    assert any(jump for _, jump in way(level))
    level[: HEIGHT - 3, 10] = tile  # up to the sky
    assert way(level) is None


def test_crystals_stop_nobody():
    level = even()
    level[HEIGHT - 4, 1:] = CRYSTAL
    assert way(level) == [(1, False)] * (WIDTH - 1)


def test_a_low_ceiling_ends_a_jump():
    level = even()
    level[HEIGHT - 5] = LEDGE  # just over the player's head
    level[HEIGHT - 4, 10] = THORNS
    level[0, 0] = SKY
    column = HEIGHT - 4
    place = moved(level, (5, column, 0), 0, True)
    assert place == (5, column, 0)


def test_a_shortest_way_leads_to_the_end_tick_by_tick():
    for level in render(20, seed=8):
        place = start_of(level)
        moves = way(level)
        for step, move in enumerate(moves):
            assert not passed(level, place), f"passed after {step} of {len(moves)} moves"
            place = moved(level, place, *move)
        assert passed(level, place)


TILES = st.sampled_from([SKY] * 6 + [EARTH] * 4 + [LEDGE, LEFT, RIGHT, CRYSTAL, THORNS, HEDGEHOG])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.6))
def test_all_places_at_once_find_what_the_search_finds_place_by_place(seed, filled):
    rng = np.random.default_rng(seed)
    level = np.where(rng.random((HEIGHT, WIDTH)) < filled, rng.integers(0, 8, (HEIGHT, WIDTH)), SKY).astype(np.uint8)
    level[-1] = np.where(rng.random(WIDTH) < 0.7, EARTH, SKY)
    passable, furthest = explored(level[None])
    assert bool(passable[0]) == (way(level) is not None)
    start = start_of(level)
    seen, todo = {start} - {None}, [start] if start else []
    while todo:
        place = todo.pop()
        for move in ((direction, jump) for direction in (-1, 0, 1) for jump in (False, True)):
            following = moved(level, place, *move)
            if following and following not in seen:
                seen.add(following)
                todo.append(following)
    assert furthest[0] == max((column for column, _, _ in seen), default=-1)


def test_faults_are_counted_tile_by_tile():
    level = even()
    assert num_faults(level[None])[0] == 0
    for row, column, tile in ((5, 5, EARTH), (5, 8, LEFT), (5, 12, RIGHT), (5, 15, THORNS), (5, 18, HEDGEHOG)):
        level[row, column] = tile
    level[5, 25], level[5, 28] = LEDGE, CRYSTAL  # these may float
    assert num_faults(level[None])[0] == 5
    level[HEIGHT - 4, 2:4] = LEFT, RIGHT  # whole, and on the ground
    assert num_faults(level[None])[0] == 5
    assert num_pits(with_pit(6)[None])[0] == 6


def test_levels_survive_their_code_and_the_networks_have_their_shape():
    levels = render(6, seed=9)
    pictures = encoded(levels)
    assert pictures.shape == (6, 8, HEIGHT, WIDTH) and set(pictures.unique().tolist()) == {-1.0, 1.0}
    assert (pictures.sum(dim=1) == -6).all(), "one channel of eight is 1"
    assert (decoded(pictures) == levels).all()
    generator, discriminator = networks(0)
    made = generator(torch.randn(4, level_design.LATENT_SIZE))
    assert made.shape == (4, 8, HEIGHT, WIDTH) and made.abs().max() <= 1
    assert discriminator(made).shape == (4,)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in discriminator.modules())
    logits = discriminator.eval()(pictures)
    assert logits.std() > 0.01, "weights are drawn for a network without normalisation"


def test_single_tiles_have_the_shares_of_each_row_and_chains_have_known_neighbours_only():
    levels, rng = render(200, seed=10), np.random.default_rng(0)
    tiles = shuffled(levels, 400, rng)
    for row in range(HEIGHT):
        shares = [np.bincount(each[:, row].ravel(), minlength=8) / each[:, row].size for each in (levels, tiles)]
        assert np.abs(shares[0] - shares[1]).max() < 0.03
    chains = chained(levels, 30, rng)
    pairs = {(a.tobytes(), b.tobytes()) for level in levels for a, b in zip(level.T, level.T[1:], strict=False)}
    assert all(
        (a.tobytes(), b.tobytes()) in pairs for level in chains for a, b in zip(level.T, level.T[1:], strict=False)
    )


def test_differences_count_tiles():
    one, other = (render(5, seed=seed) for seed in (1, 2))
    assert differences(one, other)[3, 4] == int((one[3] != other[4]).sum())


class Painter(torch.nn.Module):
    """In place of a generator: the first latents decide how wide a pit is, so that one knows what can be found."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        widths = (3 * latents[:, :4].sum(dim=1)).clamp(0, 20).round().int().tolist()
        return encoded(np.stack([with_pit(width) for width in widths]))


def test_both_searches_try_the_same_number_of_levels_and_never_forget_the_best(monkeypatch):
    monkeypatch.setattr(level_design, "NUM_EVALUATIONS", 200)
    for search in (searched, drawn):
        history, level = search(Painter(), level_design.pits_if_passable, seed=0)
        assert len(history) == 200 and (np.diff(history) >= 0).all()
        assert level_design.pits_if_passable(level[None])[0] == history[-1] <= 8
        again, _ = search(Painter(), level_design.pits_if_passable, seed=0)
        assert (again == history).all()


def test_a_level_that_cannot_be_passed_is_worth_less_than_any_that_can():
    values = level_design.pits_if_passable(np.stack([even(), with_pit(5), with_pit(9), with_pit(20)]))
    assert values[:2].tolist() == [0, 5]
    assert values[2] == 18 / WIDTH - 1, "falls, alive, down to where the pit ends"
    assert values[3] == 20 / WIDTH - 1, "falls out of the level after 8 columns in the air and 3 below the ground"


def test_levels_are_drawn_from_latents_of_the_length_of_normal_ones(monkeypatch):
    monkeypatch.setattr(level_design, "NUM_EVALUATIONS", 40)
    lengths = []

    class Watched(Painter):
        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            lengths.append(latents.norm(dim=1))
            return super().forward(latents)

    for search in (searched, drawn):
        search(Watched(), level_design.pits_if_passable, seed=0)
    assert torch.allclose(torch.cat(lengths), torch.tensor(32**0.5)) and len(torch.cat(lengths)) == 80


def test_designed_levels_are_those_of_the_largest_channels():
    generator = networks(1)[0].eval()
    latents = torch.randn(3, 32)
    with torch.no_grad():
        expected = generator(latents).argmax(dim=1)
    assert (torch.from_numpy(designed(generator, latents)) == expected).all()
