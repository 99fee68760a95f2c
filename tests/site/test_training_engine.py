"""The engine of the page that trains a DCGAN, in Chromium: every gradient and every step is that of PyTorch.

Each test runs twice: with the compiled product of matrices, and with the one in JavaScript. PyTorch counts in double
precision; the page in single.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dcgan_core.losses import GAMES
from dcgan_core.models import Discriminator, Generator

SCRIPTS = Path(__file__).parent.parent.parent / "book" / "_static" / "training"
BATCH, WIDTH, LATENT, RATE, ROUNDS = 8, 12, 32, 0.001, 6
TOLERANCE = 1e-4  # of the largest number in a tensor, as the page says
GAME = GAMES["non-saturating"]

BEGIN = """
const program = Uint8Array.from(atob(MULTIPLY.program), (one) => one.charCodeAt(0));
const engine = makeEngine(input.compiled ? new WebAssembly.Module(program) : null);
const { rate, batch, width } = input;
const run = engine.start({ images: [new Float32Array(256)], rate, seed: 1, batch, width, shown: batch });
const parameters = (network) => network.flatMap((layer) => layer.parameters);
const fill = (network, lists) => parameters(network).forEach(({ values }, i) => values.set(lists[i]));
const numbers = (network, kind) => parameters(network).map((one) => [...one[kind]]);
if (input.generator) { fill(run.generator, input.generator); fill(run.discriminator, input.discriminator); }
"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    for name in ("multiply.js", "engine.js"):
        page.add_script_tag(path=SCRIPTS / name)
    yield page
    page.close()


@pytest.fixture(params=["compiled", "javascript"])
def evaluate(page, request):
    def run(body: str, **given: object) -> object:
        given = {"batch": BATCH, "width": WIDTH, "rate": RATE, "compiled": request.param == "compiled"} | given
        return page.evaluate(f"(input) => {{ {BEGIN} {body} }}", given)

    return run


class Pair:
    """Two networks of the package in double precision, a batch, and both as the page orders them."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.generator = Generator(image_size=16, channels=1, width=WIDTH, latent_size=LATENT).double()
        self.discriminator = Discriminator(image_size=16, channels=1, width=WIDTH).double()
        with torch.no_grad():  # larger than at the start, so that no slope is tiny
            for parameter in (*self.generator.parameters(), *self.discriminator.parameters()):
                parameter.add_(0.1 * torch.randn_like(parameter))
        self.real = torch.rand(ROUNDS, BATCH, 1, 16, 16).double() * 2 - 1
        self.latents = torch.randn(ROUNDS, BATCH, LATENT).double()

    def given(self) -> dict:
        return {
            "generator": [values.flatten().tolist() for values in ordered(self.generator)],
            "discriminator": [values.flatten().tolist() for values in ordered(self.discriminator)],
            "real": self.real.flatten(1).tolist(),
            "latents": self.latents.flatten(1).tolist(),
        }


def ordered(network: nn.Module, gradients: bool = False) -> list[torch.Tensor]:
    """Parameters, or their gradients, in the order of the page: channels last, inputs before outputs."""
    found = []
    for layer in network.layers:
        tensors = [p.grad if gradients else p.detach() for p in layer.parameters()]
        match layer:
            case nn.Linear(out_features=1):
                found += [tensors[0].view(-1, 4, 4).permute(1, 2, 0)]
            case nn.Linear():
                found += [tensors[0].view(-1, 4, 4, LATENT).permute(3, 1, 2, 0)]
            case nn.ConvTranspose2d():
                found += [tensors[0].permute(0, 2, 3, 1)]
            case nn.Conv2d():
                found += [tensors[0].permute(2, 3, 1, 0)]
            case _:
                found += tensors
    return [values.contiguous() for values in found]


def assert_same(found: list[list[float]], expected: list[torch.Tensor], tolerance: float = TOLERANCE) -> None:
    assert len(found) == len(expected)
    for mine, wanted in zip(found, expected, strict=True):
        mine = torch.tensor(mine, dtype=torch.float64)
        assert mine.shape == wanted.flatten().shape
        assert wanted.abs().max() > 0, "nothing to compare"
        assert (mine - wanted.flatten()).abs().max() <= tolerance * wanted.abs().max()


GRADIENTS = """
run.latents.set(input.latents[0]);
run.real.set(input.real[0]);
const fake = engine.forward(run.generator, run.latents, true), images = [...fake];
const lossD = engine.discriminatorGradients(run, run.real, fake);
const ofD = numbers(run.discriminator, "gradient");
const lossG = engine.generatorGradients(run, fake);
const [ofG, after] = [run.generator, run.discriminator].map((network) => numbers(network, "gradient"));
return { images, lossD, ofD, lossG, ofG, after };
"""


def test_every_gradient_of_both_networks_is_that_of_pytorch(evaluate):
    pair = Pair()
    found = evaluate(GRADIENTS, **pair.given())
    fake = pair.generator(pair.latents[0])
    assert_same([found["images"]], [fake.detach()])

    def discriminators_loss() -> torch.Tensor:
        pair.discriminator.zero_grad()
        loss = GAME.discriminator(pair.discriminator(pair.real[0]), pair.discriminator(fake.detach()))
        loss.backward()
        return loss

    loss = discriminators_loss()
    assert found["lossD"] == pytest.approx(loss.item(), rel=1e-5)
    assert_same(found["ofD"], ordered(pair.discriminator, gradients=True))
    assert found["after"] == found["ofD"], "the generator's turn has left gradients in the discriminator"
    loss = GAME.generator(pair.discriminator(fake))
    loss.backward()
    assert found["lossG"] == pytest.approx(loss.item(), rel=1e-5)
    assert_same(found["ofG"], ordered(pair.generator, gradients=True))

    pair.discriminator.eval()  # the usual mistake: statistics of the batch taken for constants
    discriminators_loss()
    with pytest.raises(AssertionError):
        assert_same(found["ofD"], ordered(pair.discriminator, gradients=True))


def test_adams_steps_are_those_of_pytorch(evaluate):
    torch.manual_seed(1)
    pair = Pair()
    gradients = [[0.01 * torch.randn(p.numel()) for p in ordered(pair.generator)] for _ in range(ROUNDS)]
    body = """input.gradients.forEach((lists, i) => {
      parameters(run.generator).forEach(({ gradient }, j) => gradient.set(lists[j]));
      engine.descend(run.generator, input.rate, i + 1);
    });
    return numbers(run.generator, "values");"""
    given = [[one.tolist() for one in lists] for lists in gradients]
    found = evaluate(body, **pair.given(), gradients=given)
    weights = [nn.Parameter(values.flatten()) for values in ordered(pair.generator)]
    optimizer = torch.optim.Adam(weights, RATE, (0.5, 0.999))
    for lists in gradients:
        for weight, gradient in zip(weights, lists, strict=True):
            weight.grad = gradient.double()
        optimizer.step()
    assert_same(found, [weight.detach() for weight in weights], tolerance=1e-6)


def test_several_rounds_lead_where_pytorchs_lead(evaluate):
    """Adam divides small gradients by themselves, so their rounding shows: within a fiftieth of what was learnt."""
    pair = Pair()
    begin = [*ordered(pair.generator), *ordered(pair.discriminator)]
    begin = [values.clone() for values in begin]
    body = """const losses = input.real.map((real, i) => {
      run.real.set(real);
      run.latents.set(input.latents[i]);
      engine.learn(run);
      return [run.losses.discriminator, run.losses.generator];
    });
    run.watched.set(input.latents[0]);
    return { losses, values: [...numbers(run.generator, "values"), ...numbers(run.discriminator, "values")],
      images: [...engine.forward(run.generator, run.watched, false)], bytes: [...engine.look(run)] };"""
    found = evaluate(body, **pair.given())
    of_d = torch.optim.Adam(pair.discriminator.parameters(), RATE, (0.5, 0.999))
    of_g = torch.optim.Adam(pair.generator.parameters(), RATE, (0.5, 0.999))
    for i in range(ROUNDS):
        fake = pair.generator(pair.latents[i])
        of_d.zero_grad()
        loss_d = GAME.discriminator(pair.discriminator(pair.real[i]), pair.discriminator(fake.detach()))
        loss_d.backward()
        of_d.step()
        of_g.zero_grad()
        loss_g = GAME.generator(pair.discriminator(fake))
        loss_g.backward()
        of_g.step()
        assert found["losses"][i] == pytest.approx([loss_d.item(), loss_g.item()], rel=1e-3)
    end = [*ordered(pair.generator), *ordered(pair.discriminator)]
    for mine, old, new in zip(found["values"], begin, end, strict=True):
        learnt = (new - old).flatten()
        assert learnt.norm() > 0
        error = torch.tensor(mine, dtype=torch.float64) - new.flatten()
        assert error.norm() <= learnt.norm() / 50
    images = pair.generator.eval()(pair.latents[0]).detach()  # with the moving statistics
    assert_same([found["images"]], [images], tolerance=0.01)
    bytes_ = ((torch.tensor(found["images"]) + 1) * 127.5).round()
    assert (torch.tensor(found["bytes"]) - bytes_).abs().max() <= 1


def test_the_two_products_of_matrices_agree_where_blocks_do_not_fit(evaluate):
    """A batch of 3 and a width of 4: rows and columns are left over."""
    body = """const rows = []; run.images = [Float32Array.from({ length: 256 }, (_, i) => Math.sin(i))];
    for (let i = 0; i < 3; i++) { engine.advance(run); rows.push(run.losses.discriminator, run.losses.generator); }
    return rows;"""
    found = evaluate(body, batch=3, width=4)
    assert found == pytest.approx(evaluate(body, batch=3, width=4, compiled=False), rel=1e-4)
    assert len(set(found)) == 6


def test_numbers_from_elsewhere_are_refused(evaluate):
    """The compiled program knows places in one memory only, and would read others there."""
    body = """try { engine.forward(run.generator, new Float32Array(input.batch * 32), false); return ""; }
    catch (error) { return error.message; }"""
    assert evaluate(body) == "These numbers do not lie in the engine's memory."


def test_a_seed_decides_everything_and_weights_are_drawn_as_the_paper_says(evaluate):
    body = """return [5, 5, 6].map((seed) => {
      const run = engine.start({ images: [new Float32Array(256)], rate: 0.001, seed });
      const weights = numbers(run.generator, "values");
      engine.advance(run);
      return [weights, [...run.watched], run.losses.generator];
    });"""
    first, again, other = evaluate(body)
    assert first == again and first[2] != other[2]
    linear, scale, shift, transposed, *_ = (torch.tensor(values) for values in first[0])
    for weights in (linear, transposed):
        assert weights.std().item() == pytest.approx(0.02, rel=0.05) and abs(weights.mean().item()) < 0.001
    assert 0.01 < (scale - 1).std() < 0.03 and shift.abs().max() == 0
    watched = torch.tensor(first[1])
    assert watched.std().item() == pytest.approx(1, abs=0.1) and abs(watched.mean().item()) < 0.1
