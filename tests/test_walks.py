"""Linear and spherical ways between latents, against closed forms; and what the recorded generator does halfway."""

from __future__ import annotations

import pytest
import torch

from dcgan_core import recorded
from dcgan_core.data.walks import loop
from dcgan_core.teaching.walks import linear, recognised_halfway, spherical


def test_both_ways_start_and_end_where_they_should():
    first, last = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0)).double()
    for way in (linear, spherical):
        assert torch.allclose(way(first, last, 0.0), first)
        assert torch.allclose(way(first, last, 1.0), last)


def test_spherical_way_between_perpendicular_units_is_a_circle():
    first, last = torch.eye(2).double()
    for share in (0.2, 0.5, 0.9):
        angle = torch.tensor(share * torch.pi / 2).double()
        assert torch.allclose(spherical(first, last, share), torch.stack([angle.cos(), angle.sin()]))
    assert linear(first, last, 0.5).norm() == pytest.approx(0.5**0.5)


def test_spherical_way_keeps_the_length_and_the_linear_one_cuts_the_corner():
    first, last = torch.randn(2, 500, 100, generator=torch.Generator().manual_seed(1))
    assert (first.norm(dim=1) > 8).double().mean() > 0.98 and (first.norm(dim=1) < 12).double().mean() > 0.98
    assert spherical(first, last, 0.5).norm(dim=1).mean() == pytest.approx(10, abs=0.2)
    assert linear(first, last, 0.5).norm(dim=1).mean() == pytest.approx(50**0.5, abs=0.2)


def test_each_latent_goes_its_own_way():
    first, last = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(2))
    together = spherical(first, last, 0.3)
    alone = torch.stack([spherical(one, other, 0.3) for one, other in zip(first, last, strict=True)])
    torch.testing.assert_close(together, alone)


def test_rounding_never_leads_off_the_way():
    """Of thousands of latents and themselves, the cosine of some is a little more than 1."""
    latents = torch.randn(20_000, 100, generator=torch.Generator().manual_seed(3))
    for factor in (1.0, 2.0, -1.0):
        found = spherical(latents, factor * latents, 0.25)
        assert found.isfinite().all()
        if factor > 0:
            torch.testing.assert_close(found, (0.75 + 0.25 * factor) * latents, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_latents_on_one_line_take_the_straight_way(factor):
    first = torch.tensor([3.0, 4.0])
    assert torch.allclose(spherical(first, factor * first, 0.25), linear(first, factor * first, 0.25), atol=1e-4)


def test_a_loop_turns_evenly_from_stop_to_stop_and_back():
    """Two images go round the same quarters of a circle, one of them the other way."""
    quarters = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]).double()
    ways = loop(torch.stack([quarters, quarters.flip(0)], dim=1), 5)
    assert ways.shape == (20, 2, 2)
    angles = torch.arange(20).double() * 2 * torch.pi / 20
    assert torch.allclose(ways[:, 0], torch.stack([angles.cos(), angles.sin()], dim=1))
    assert torch.allclose(ways[:, 1], torch.stack([(-angles).sin(), -angles.cos()], dim=1))


def test_halfway_letters_are_recognised_as_often_as_drawn_ones_on_both_ways_and_mixed_pixels_hardly_ever():
    """Of the recorded generator. White 2016 recommends the sphere; here nothing can be told apart with 500 pairs."""
    found = {name: share.double() for name, share in recognised_halfway(recorded.load("glyphs32").generator).items()}
    gain = found["spherical"] - found["linear"]
    assert abs(gain.mean()) < 1.96 * gain.std() / len(gain) ** 0.5
    for way in ("linear", "spherical"):
        assert abs(found[way].mean() - found["drawn"].mean()) < 0.05
    assert found["linear"].mean() > 0.5 and found["pixels"].mean() < 0.15
