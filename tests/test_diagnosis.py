"""One look at a game measures what it says and changes nothing; the tree asks its questions in order."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dcgan_core.config import Config
from dcgan_core.iteration import advance
from dcgan_core.report.diagnosis import diagnose, gradient_norm, look, signs
from dcgan_core.runtime import Machine
from dcgan_core.state import State, draw_latents, start

REAL = torch.rand(12, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def state(tiny_config: Config, cpu: Machine) -> State:
    found = start(replace(tiny_config, dropout=0.0), cpu)
    for _ in range(3):
        advance(found, REAL[: tiny_config.batch_size], cpu)
    return found


def test_the_norm_of_gradients_is_that_of_all_of_them_in_one_vector():
    network = nn.Linear(3, 2)
    assert gradient_norm(network) == 0
    network.weight.grad, network.bias.grad = torch.full((2, 3), 2.0), torch.tensor([-3.0, 4.0])
    assert gradient_norm(network) == pytest.approx(math.sqrt(6 * 4 + 9 + 16))


@pytest.mark.parametrize("training", [True, False])
def test_looking_changes_neither_network_nor_their_modes_nor_their_gradients(state, training):
    state.generator.train(training)
    before = {name: value.clone() for name, value in state.tensors().items()}
    gradients = [weight.grad.clone() for weight in state.generator.parameters()]
    watched = draw_latents(9, state.config.latent_size, seed=1)
    first, images = look(state, REAL, watched, None)
    again, _ = look(state, REAL, watched, images)
    after = state.tensors()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert all(
        torch.equal(one, weight.grad) for one, weight in zip(gradients, state.generator.parameters(), strict=True)
    )
    assert state.generator.training == training and not images.requires_grad
    assert math.isnan(first["motion"]) and again["motion"] == 0
    assert {name: value for name, value in first.items() if name != "motion"} == {
        name: value for name, value in again.items() if name != "motion"
    }


class Fixed(nn.Module):
    """Answers in train mode with the first tensor, in eval mode with the second."""

    def __init__(self, training: torch.Tensor, evaluating: torch.Tensor | None = None) -> None:
        super().__init__()
        self.answers = {True: training, False: training if evaluating is None else evaluating}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.answers[self.training]


class Bright(nn.Module):
    """The logit of an image is its mean, less a threshold."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3)) - 0.25


def test_one_look_measures_what_it_says(state):
    """Of images that are plain: real ones of 0.5 and 0.1, fake ones of 0.9, 0.1, 0.1 and 0.1."""
    real = torch.tensor([0.5, 0.5, 0.5, 0.1])[:, None, None, None].expand(-1, 1, 4, 4)
    fake = torch.tensor([0.9, 0.1, 0.1, 0.1])[:, None, None, None].expand(-1, 1, 4, 4)
    state.generator, state.discriminator = Fixed(fake, fake + 0.07), Bright()
    line, images = look(state, real, torch.zeros(4, 2), fake - 0.2)
    logits = [torch.tensor([0.25, 0.25, 0.25, -0.15]), torch.tensor([0.65, -0.15, -0.15, -0.15])]
    assert line["D(x)"] == pytest.approx(float(logits[0].sigmoid().mean()))
    assert line["D(G(z))"] == pytest.approx(float(logits[1].sigmoid().mean()))
    assert (line["right on real"], line["right on fake"]) == (0.75, 0.75)
    assert line["diversity"] == pytest.approx(2.0), "one of four differs, by 0.8 and by 0.4"
    assert line["motion"] == pytest.approx(0.2 / 0.4)
    assert line["gap"] == pytest.approx(0.07)
    assert line["darkest"] == pytest.approx(0.1) and torch.equal(images, fake)


def test_signs_are_medians_of_the_last_third_of_the_looks_that_are_numbers():
    nan, inf = math.nan, math.inf
    log = {"updates": [*range(7)], "a": [9, 9, 9, 9, 1, 5, 2], "b": [1, 1, 1, 1, inf, 7, inf], "c": [1] * 4 + [nan] * 3}
    found = signs({name: [*map(float, values)] for name, values in log.items()})
    assert (found["a"], found["b"]) == (2, 7) and math.isnan(found["c"])


def log(**changes: float | list[float]) -> dict[str, list[float]]:
    """Three looks at a game in which nothing is wrong, but for the changes."""
    fine = {"loss D": 1.2, "loss G": 1.0, "darkest": -1.0, "gradient G": 2.0, "gap": 0.0}
    fine |= {"right on real": 0.7, "right on fake": 0.7, "diversity": 0.9, "motion": 0.3, "updates": 1000}
    return {name: value if isinstance(value, list) else [value] * 3 for name, value in (fine | changes).items()}


@pytest.mark.parametrize(
    ("changes", "illness"),
    [
        ({}, "healthy"),
        ({"loss G": [math.inf, 1.0, 1.0]}, "overflow"),
        ({"loss D": [1.0, 1.0, math.nan], "diversity": 0.0}, "overflow"),
        ({"darkest": 0.0, "gap": 1.0}, "wrong range"),
        ({"gradient G": 0.0, "diversity": 0.0}, "dead generator"),
        ({"gradient G": [0.0, 0.0, 1e-9]}, "healthy"),
        ({"gap": 0.1, "diversity": 0.1}, "wrong mode"),
        (
            {"right on real": 0.99, "right on fake": 0.99, "gradient G": 30.0, "diversity": 0.1},
            "discriminator too strong",
        ),
        ({"right on real": 0.99, "right on fake": 0.7, "gradient G": 30.0}, "healthy"),
        ({"right on real": 0.99, "right on fake": 0.99, "gradient G": 10.0}, "healthy"),
        ({"diversity": 0.4, "motion": 2.0}, "collapsed"),
        ({"motion": 1.0}, "circling"),
        ({"motion": math.nan}, "healthy"),
    ],
)
def test_the_first_question_that_is_answered_with_yes_names_the_illness(changes, illness):
    assert diagnose(log(**changes)) == illness
