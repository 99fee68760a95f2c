"""The architecture page's table of what several cards would cost, recomputed from the networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dcgan_core import parallel
from dcgan_core.config import Config
from dcgan_core.iteration import advance
from dcgan_core.state import State, start

PAGE = Path(__file__).parent.parent / "book" / "architecture.md"
PRESETS = (
    Config(),
    Config(image_size=64, channels=3, generator_width=64, discriminator_width=64),
)
IMAGES = 64  # per card
SPEED = 100e12  # FLOP per second
CARDS = {8: (300e9, 20e-6), 64: (40e9, 50e-6)}  # bytes per second of each card, seconds to start an exchange


def rows() -> dict[str, list[str]]:
    """The table's cells, by the name of their row."""
    section = PAGE.read_text(encoding="utf-8").partition("### Is it worth it?")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (.+) \|$", section, re.M)
    return {name: cells for name, *cells in (line.split(" | ") for line in lines)}


class Exchange(torch.autograd.Function):
    """Counts where processes would exchange something: once on the way forward, once on the way back."""

    count = 0

    @staticmethod
    def forward(context, maps: Tensor) -> Tensor:
        Exchange.count += 1
        return maps.view_as(maps)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        Exchange.count += 1
        return gradient


def one_iteration(state: State, num_images: int = 4) -> float:
    """FLOP per image."""
    size = state.config.image_size
    real = torch.rand(num_images, state.config.num_channels, size, size) * 2 - 1
    with FlopCounterMode(display=False) as flop:
        advance(state, real, machine_for_one())
    return flop.get_total_flops() / num_images


def machine_for_one():
    return parallel.Machine(torch.device("cpu"), torch.float32, "a test")


def num_exchanges(state: State, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of batch statistics in one iteration: PyTorch's layers exchange once in a pass, and once in its backward pass."""
    for network in (state.generator, state.discriminator):
        nn.SyncBatchNorm.convert_sync_batchnorm(network)

    def forward(self: nn.SyncBatchNorm, maps: Tensor) -> Tensor:
        return nn.functional.batch_norm(Exchange.apply(maps), None, None, self.weight, self.bias, training=True)

    monkeypatch.setattr(nn.SyncBatchNorm, "forward", forward)
    Exchange.count = 0
    one_iteration(state)
    return Exchange.count


@pytest.mark.parametrize("column", [0, 1])
def test_the_table_is_what_its_assumptions_give(column, monkeypatch):
    state = start(PRESETS[column], machine_for_one())
    num_bytes = sum(
        parameter.numel() * parameter.element_size()
        for network in (state.generator, state.discriminator)
        for parameter in network.parameters()
    )
    computing = IMAGES * one_iteration(state) / SPEED
    exchanges = num_exchanges(state, monkeypatch)
    expected = {
        "gradients": f"{num_bytes / 1e6:.1f} MB",
        "exchanges of batch statistics": str(exchanges),
        "computing": f"{computing * 1e3:.2f} ms",
    }
    total = {}
    for cards, (bandwidth, latency) in CARDS.items():
        gradients = 2 * (cards - 1) / cards * num_bytes / bandwidth  # a ring: twice around, but for the own part
        statistics = exchanges * latency
        total[cards] = gradients + statistics
        expected[f"{cards} cards: gradients + statistics"] = f"{gradients * 1e3:.2f} + {statistics * 1e3:.2f} ms"
        expected[f"{cards} cards, time spent computing"] = f"{computing / (computing + total[cards]):.0%}"
    shared = computing / 8 + total[8]
    expected["8 cards sharing one batch of 64, in all"] = f"{shared * 1e3:.2f} ms"
    header = rows()["per iteration"][column]
    config = PRESETS[column]
    assert header.startswith(f"{config.image_size} px, {'grey' if config.num_channels == 1 else 'colour'}")
    assert header.endswith(f"{config.generator_width} and {config.discriminator_width}")
    assert {name: cells[column] for name, cells in rows().items() if name in expected} == expected
    assert set(rows()) - set(expected) <= {"per iteration", "---"}, "a row that nothing recomputes"


def test_the_page_states_the_assumptions_that_the_test_uses():
    text = PAGE.read_text(encoding="utf-8")
    for said in ("64 images per card", "100 TFLOP/s", "300 GB/s", "40 GB/s", "20 µs", "50 µs"):
        assert said in text
    assert (IMAGES, SPEED, CARDS) == (64, 100e12, {8: (300e9, 20e-6), 64: (40e9, 50e-6)})
    assert f"{parallel.JOINING.total_seconds() / 60:g}" == "5" and "waits five minutes" in text
    assert parallel.PATIENCE.total_seconds() == 3600 and "up to an hour" in text
