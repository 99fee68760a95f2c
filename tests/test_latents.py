"""The latents of training: normal, the same for any number of processes and on any device."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.random import Philox
from torch import Tensor

from dcgan_core.data import latents
from dcgan_core.data.latents import draw_rows, numbered_latents
from dcgan_core.parallel import own_rows
from dcgan_core.runtime import Machine

CPU = torch.device("cpu")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table(num_rows: int, size: int, seed: int = 0) -> Tensor:
    return draw_rows(rng(seed), [slice(0, num_rows)], size, CPU)


@pytest.mark.parametrize("size", [1, 7, 8, 100])
@pytest.mark.parametrize(("num_processes", "num_parts"), [(2, 1), (4, 1), (8, 1), (2, 5), (4, 2)])
def test_processes_draw_together_what_one_draws(num_processes, num_parts, size):
    num_rows = 16 * num_parts
    whole = table(num_rows, size)
    assert whole.shape == (num_rows, size)
    shares = []
    for rank in range(num_processes):
        machine = Machine(CPU, torch.float32, "a test", rank=rank, num_processes=num_processes)
        shares.append(draw_rows(rng(), own_rows(num_rows, num_parts, machine), size, CPU))
    for number, part in enumerate(whole.chunk(num_parts)):
        assert torch.equal(torch.cat([share.chunk(num_parts)[number] for share in shares]), part)


def test_the_next_iteration_does_not_depend_on_which_rows_were_asked_for():
    one, other = rng(), rng()
    first = draw_rows(one, [slice(0, 64)], 100, CPU)
    draw_rows(other, [slice(8, 10), slice(40, 42)], 100, CPU)
    assert torch.equal(one.get_state(), other.get_state())
    second = draw_rows(one, [slice(0, 64)], 100, CPU)
    assert torch.equal(second, draw_rows(other, [slice(0, 64)], 100, CPU))
    assert not torch.isin(first, second).all() and not torch.equal(first, second)
    assert not torch.equal(first, table(64, 100, seed=1))


def test_a_row_that_was_saved_goes_on_from_the_generator_s_state():
    """What a checkpoint keeps."""
    whole = rng()
    draw_rows(whole, [slice(0, 8)], 5, CPU)
    resumed = torch.Generator()
    resumed.set_state(whole.get_state())
    assert torch.equal(draw_rows(whole, [slice(0, 8)], 5, CPU), draw_rows(resumed, [slice(0, 8)], 5, CPU))


def test_each_number_is_the_normal_quantile_of_its_own_bits():
    """By another way: the generator is advanced to the number alone, and the quantile computed in double precision."""
    size, found = 13, table(6, 13, seed=3)
    key = torch.empty(2, dtype=torch.int64).random_(generator=rng(3)).numpy().view(np.uint64)
    counts = math.ceil(size / 8)
    for row in range(6):
        for column in range(size):
            stream = Philox(key=key).advance(row * counts + column // 8)
            word = int(stream.random_raw(4)[column % 8 // 2]) >> 32 * (column % 2) & 0xFFFFFFFF
            signed = word - 2**32 if word >= 2**31 else word
            middle = 2 * (signed >> 8) + 1  # of one of 2 ** 24 intervals between -1 and 1
            assert float(found[row, column]) == pytest.approx(
                pytest.importorskip("scipy.special").ndtri(0.5 + middle / 2**25), abs=1e-5, rel=1e-5
            )


def test_latents_are_standard_normal_and_independent():
    drawn = torch.cat([draw_rows(generator, [slice(0, 64)], 100, CPU) for generator in [rng(5)] * 40]).double()
    assert (
        pytest.importorskip("scipy.stats").kstest(drawn.flatten().numpy(), "norm").pvalue > 0.001
    )  # of 256,000 numbers
    for name, one, other in (
        ("rows", drawn[:-1], drawn[1:]),
        ("columns", drawn[:, :-1], drawn[:, 1:]),
        ("iterations", drawn[:-64], drawn[64:]),
        ("halves of a word", drawn[:, ::2], drawn[:, 1::2]),
    ):
        z = (one * other).sum() / math.sqrt(one.numel())
        assert abs(z) < 4, name
        z = ((one.square() - 1) * (other.square() - 1)).sum() / (2 * math.sqrt(one.numel()))
        assert abs(z) < 4, f"sizes of {name}"


def test_the_largest_and_smallest_bits_are_finite_and_opposite(monkeypatch):
    class Extremes:
        def __init__(self, **where) -> None: ...

        def random_raw(self, count: int) -> np.ndarray:
            # words of 32 bits: the largest and the smallest number with its sign, and the two nearest to 0
            return np.array([0x80000000_7FFFFFFF, 0x00000000_FFFFFFFF] * (count // 2), dtype=np.uint64)

    monkeypatch.setattr(latents, "Philox", Extremes)
    largest, smallest, below, above = table(1, 4)[0].tolist()
    assert largest == -smallest == pytest.approx(5.42, abs=0.01)
    assert above == -below and 0 < above < 1e-6


@pytest.mark.gpu
def test_a_gpu_gets_the_same_numbers():
    assert torch.equal(draw_rows(rng(), [slice(0, 64)], 100, torch.device("cuda")).cpu(), table(64, 100))


def test_the_key_has_128_random_bits(monkeypatch):
    keys, right = [], latents.Philox
    monkeypatch.setattr(latents, "Philox", lambda key, counter: keys.append(key) or right(key=key, counter=counter))
    for seed in range(20):
        table(1, 1, seed)
    assert len({int(half) for key in keys for half in key}) == 40


@pytest.mark.parametrize("size", [7, 8, 100])
def test_a_numbered_latent_depends_on_its_number_and_its_seed_alone(size):
    """In another process, on another day: nothing that was drawn before matters, and no two are alike."""
    whole = numbered_latents(slice(0, 90), size, seed=5)
    torch.manual_seed(1)
    for start, stop in ((0, 1), (0, 17), (40, 90), (89, 90)):
        assert torch.equal(numbered_latents(slice(start, stop), size, seed=5), whole[start:stop])
    others = torch.cat([whole, *(numbered_latents(slice(0, 90), size, seed=seed) for seed in (0, 6, 2**32 - 1))])
    assert len(others.unique(dim=0)) == 4 * 90


def test_the_first_numbered_latents_are_what_they_were():
    """Pinned by the generator's own definition: key (seed, 0), counted from 0."""
    bits = Philox(key=np.array([5, 0], np.uint64), counter=0).random_raw(4).view(np.int32)
    middles = 2.0 * (bits >> 8) + 1
    expected = pytest.importorskip("scipy.special").ndtri(0.5 + middles / 2**25)
    np.testing.assert_allclose(numbered_latents(slice(0, 1), 8, seed=5)[0].numpy(), expected, rtol=1e-5, atol=1e-5)
