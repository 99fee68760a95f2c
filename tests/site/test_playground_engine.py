"""The playground's engine against PyTorch: gradients of each game, the penalty's second order, the unrolled one."""

from __future__ import annotations

import math

import pytest
import torch
from engine import evaluate
from torch import nn

from dcgan_core.laboratory import Mixture, mode_statistics
from dcgan_core.losses import GAMES, gradient_penalty, zero_centred_penalty
from dcgan_core.unrolled import look_ahead, update_generator_unrolled

BATCH, RATE, STEPS = 6, 0.01, 3
PLAIN = ("non-saturating", "minimax", "wasserstein-clipping", "wasserstein-penalty")

# In JavaScript: the networks, batches and Adam's memory of the case, and the gradients as one list of numbers.
READ = """
const matrix = (m, make) => make(m.rows, m.columns, Float64Array.from(m.values));
const weights = (list) => list.map((m) => matrix(m, Engine.variable));
const discriminator = weights(input.discriminator), generator = weights(input.generator);
const real = matrix(input.real, Engine.constant), latents = matrix(input.latents, Engine.constant);
const state = { count: input.count, means: input.means.map((m) => Float64Array.from(m.values)),
  squares: input.squares.map((m) => Float64Array.from(m.values)) };
const numbers = (list) => list.flatMap((m) => Array.from(m.values));
const made = Engine.apply(generator, latents, input.settings.activation);
"""
OF_DISCRIMINATOR = """
const fake = Engine.constant(made.rows, 2, made.values);
const loss = Game.discriminatorLoss(input.settings, discriminator, real, fake, Float64Array.from(input.mix));
return [loss.values[0], ...numbers(Engine.gradient(loss, discriminator))];
"""
OF_GENERATOR = """
const loss = Game.generatorLoss(input.settings, discriminator, state, real, made);
return [loss.values[0], ...numbers(Engine.gradient(loss, generator))];
"""


def as_matrix(values: torch.Tensor) -> dict:
    values = values.detach().reshape(-1, values.shape[-1])
    return {"rows": len(values), "columns": values.shape[1], "values": values.flatten().tolist()}


class Case:
    """Two small networks in float64; the discriminator's Adam has taken two steps already."""

    def __init__(self, activation: str) -> None:
        torch.manual_seed(0)
        make = {"tanh": nn.Tanh, "relu": nn.ReLU}[activation]
        self.generator = nn.Sequential(nn.Linear(3, 5), make(), nn.Linear(5, 5), make(), nn.Linear(5, 2)).double()
        self.discriminator = nn.Sequential(
            nn.Linear(2, 5), make(), nn.Linear(5, 7), make(), nn.Linear(7, 1), nn.Flatten(0)
        ).double()
        self.real, self.latents = torch.randn(BATCH, 2).double(), torch.randn(BATCH, 3).double()
        self.mix = torch.rand(BATCH, 1).double()
        self.activation = activation
        self.optimizer = torch.optim.Adam(self.discriminator.parameters(), lr=RATE, betas=(0.5, 0.999))
        for _ in range(2):
            self.optimizer.zero_grad()
            game = GAMES["non-saturating"]
            fake = self.generator(self.latents).detach()
            game.discriminator(self.discriminator(self.real), self.discriminator(fake)).backward()
            self.optimizer.step()
        self.discriminator.zero_grad()
        self.generator.zero_grad()

    def input(self, game: str) -> dict:
        memory = [self.optimizer.state[p] for p in self.discriminator.parameters()]
        settings = {"game": game, "activation": self.activation, "penaltyWeight": 2.5}
        return {
            "settings": settings | {"discriminatorRate": RATE, "unrolledSteps": STEPS},
            "discriminator": [as_matrix(p) for p in self.discriminator.parameters()],
            "generator": [as_matrix(p) for p in self.generator.parameters()],
            "real": as_matrix(self.real),
            "latents": as_matrix(self.latents),
            "mix": self.mix.flatten().tolist(),
            "count": int(memory[0]["step"]),
            "means": [as_matrix(m["exp_avg"]) for m in memory],
            "squares": [as_matrix(m["exp_avg_sq"]) for m in memory],
        }


def gradients(network: nn.Module) -> list[float]:
    return [value for p in network.parameters() for value in p.grad.flatten().tolist()]


def assert_same(found: list[float], loss: torch.Tensor, network: nn.Module) -> None:
    """To nine digits."""
    expected = torch.tensor([loss.item(), *gradients(network)], dtype=torch.float64)
    assert len(found) == len(expected)
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected, rtol=1e-9, atol=1e-11)


@pytest.fixture
def run(request):
    return lambda body, case, game: evaluate(READ + body, case.input(game), lambda: request.getfixturevalue("browser"))


activations = pytest.mark.parametrize("activation", ["tanh", "relu"])


@activations
@pytest.mark.parametrize("game", PLAIN)
def test_discriminators_gradient_is_that_of_pytorch_and_the_penalty_has_its_second_order(run, game, activation):
    case = Case(activation)
    found = run(OF_DISCRIMINATOR, case, game)
    fake = case.generator(case.latents).detach()
    loss = GAMES[game].discriminator(case.discriminator(case.real), case.discriminator(fake))
    if game == "wasserstein-penalty":
        loss = loss + 2.5 * gradient_penalty(case.discriminator, case.real, fake, mix=case.mix)
    loss.backward()
    assert_same(found, loss, case.discriminator)
    if game == "wasserstein-penalty":  # the mutant: a penalty without its second order
        case.discriminator.zero_grad()
        loss = GAMES[game].discriminator(case.discriminator(case.real), case.discriminator(fake))
        loss.backward()
        with pytest.raises(AssertionError):
            assert_same(found, loss, case.discriminator)


@activations
@pytest.mark.parametrize("game", PLAIN)
def test_generators_gradient_is_that_of_pytorch(run, game, activation):
    case = Case(activation)
    found = run(OF_GENERATOR, case, game)
    loss = GAMES[game].generator(case.discriminator(case.generator(case.latents)))
    loss.backward()
    assert_same(found, loss, case.generator)


@activations
def test_r1s_gradient_is_that_of_pytorch_with_its_second_order_and_its_half(run, activation):
    case = Case(activation)
    found = run(OF_DISCRIMINATOR, case, "r1")
    fake = case.generator(case.latents).detach()

    def assert_penalised(weight: float, points: torch.Tensor) -> None:
        case.discriminator.zero_grad()
        loss = GAMES["non-saturating"].discriminator(case.discriminator(case.real), case.discriminator(fake))
        total = loss + weight * zero_centred_penalty(case.discriminator, points)
        total.backward()
        assert_same(found, total, case.discriminator)

    assert_penalised(2.5, case.real)
    for weight, points in ((0.0, case.real), (5.0, case.real), (2.5, fake)):  # none, no half, R2
        with pytest.raises(AssertionError):
            assert_penalised(weight, points)
    case.generator.zero_grad()
    loss = GAMES["non-saturating"].generator(case.discriminator(case.generator(case.latents)))
    loss.backward()
    assert_same(run(OF_GENERATOR, case, "r1"), loss, case.generator)


@activations
def test_both_gradients_of_the_game_in_pairs_are_those_of_pytorch(run, activation):
    case, game = Case(activation), GAMES["relativistic"]
    fake = case.generator(case.latents)
    loss = game.discriminator(case.discriminator(case.real), case.discriminator(fake.detach()))
    loss.backward()
    assert_same(run(OF_DISCRIMINATOR, case, "relativistic"), loss, case.discriminator)
    found = run(OF_GENERATOR, case, "relativistic")
    for real, right in ((case.real, True), (case.real.flip(0), False)):  # another pairing has another gradient
        case.generator.zero_grad()
        loss = game.generator(case.discriminator(case.generator(case.latents)), case.discriminator(real).detach())
        loss.backward()
        if right:
            assert_same(found, loss, case.generator)
        else:
            with pytest.raises(AssertionError):
                assert_same(found, loss, case.generator)


def test_ten_times_the_weight_of_r1_makes_arrows_several_times_as_short_and_some_modes_are_covered(request):
    body = """return [0.1, 1].map((penaltyWeight) => {
      const run = Game.start({ ...Story.settingsOf("faster"), game: "r1", penaltyWeight });
      for (let i = 0; i < 300; i++) Game.advance(run);
      const { arrows } = Game.look(run, 160, true);
      return [Math.sqrt(arrows.reduce((sum, value) => sum + value * value, 0)), Game.measure(run).covered];
    });"""
    (long, some), (short, others) = evaluate(body, None, lambda: request.getfixturevalue("browser"))
    assert short < long / 4 and some >= 3 and others >= 3


def test_the_point_of_the_dirac_game_goes_round_and_r1_brings_it_home(request):
    body = """const rates = { generatorRate: 0.01, discriminatorRate: 0.01 };
    const settings = { ...Story.DEFAULTS, ...rates, data: "point", ...input };
    const run = Game.start(settings), looks = [];
    while (run.round < 1800) { Game.advance(run); looks.push([...run.generator[1].values, Game.measure(run).away]); }
    return looks;"""

    def played(**settings) -> torch.Tensor:
        return torch.tensor(evaluate(body, settings, lambda: request.getfixturevalue("browser")))

    plain, penalised = played(), played(game="r1")
    torch.testing.assert_close(plain[:, :2].norm(dim=1), plain[:, 2])
    assert plain[:, 2].min() > 0.3
    angles = torch.atan2(plain[:, 1], plain[:, 0])
    turned = (angles.diff() + math.pi) % (2 * math.pi) - math.pi
    assert turned.sum().abs() > 5 * 2 * math.pi and (turned.sign() == turned.sum().sign()).float().mean() > 0.95
    assert penalised[600:, 2].max() < 0.01


def test_the_dirac_game_moves_as_its_formulas_say(request):
    """D(x) = psi x, the real point at 0: the gradients are sigmoid(psi theta) theta and -sigmoid(-psi theta) psi."""
    body = """const run = Game.start({ ...Story.DEFAULTS, data: "point" });
    const [theta, psi] = [run.generator[1], run.discriminator[0]];
    const fake = Engine.apply(run.generator, Engine.constant(64, 8, new Float64Array(512)), "relu");
    theta.values.set([0.3, -0.2]); psi.values.set([0.5, 0.7]);
    const points = Engine.apply(run.generator, Engine.constant(64, 8, new Float64Array(512)), "relu");
    const judged = Game.discriminatorLoss(run.settings, run.discriminator, run.real, points, null);
    const made = Game.generatorLoss(run.settings, run.discriminator, run.discriminatorState, run.real, points);
    return [[...Engine.gradient(judged, [psi])[0].values], [...Engine.gradient(made, [theta])[0].values],
      [...fake.values.slice(0, 2)], [...run.real.values.slice(0, 2)], run.discriminator.length];"""
    of_psi, of_theta, opening, real, parts = evaluate(body, None, lambda: request.getfixturevalue("browser"))
    theta, psi = torch.tensor([0.3, -0.2]), torch.tensor([0.5, 0.7])
    logit = psi @ theta
    assert of_psi == pytest.approx((torch.sigmoid(logit) * theta).tolist(), rel=1e-5)
    assert of_theta == pytest.approx((-torch.sigmoid(-logit) * psi).tolist(), rel=1e-5)
    assert opening == [0.9, 0] and real == [0, 0] and parts == 1


def test_arrows_of_more_points_than_the_batch_are_paired_with_its_points_in_turns(request):
    body = """const run = Game.start({ ...Game.DEFAULTS, game: "relativistic" });
    for (let i = 0; i < 3; i++) Game.advance(run);
    const arrows = (count) => Array.from(Game.look(run, count, true).arrows);
    return [arrows(Game.BATCH), arrows(100), arrows(160)];"""
    batch, more, most = evaluate(body, None, lambda: request.getfixturevalue("browser"))
    assert len(most) == 320 and all(math.isfinite(value) for value in most)
    assert more == pytest.approx(most[:200]) and batch == pytest.approx(most[:128])


@activations
def test_unrolled_gradient_through_three_steps_of_adam_is_that_of_pytorch(run, activation):
    case = Case(activation)
    found = run(OF_GENERATOR, case, "unrolled")
    game = GAMES["non-saturating"]

    def assert_unrolled(through_the_steps: bool) -> None:
        case.generator.zero_grad()
        fake = case.generator(case.latents)
        ahead = look_ahead(
            discriminator=case.discriminator,
            optimizer=case.optimizer,
            loss_function=game.discriminator,
            real=case.real,
            fake=fake if through_the_steps else fake.detach(),
            num_steps=STEPS,
        )
        loss = game.generator(torch.func.functional_call(case.discriminator, ahead, fake))
        loss.backward()
        assert_same(found, loss, case.generator)

    assert_unrolled(True)
    with pytest.raises(AssertionError):  # the usual fake: steps ahead that do not depend on the points
        assert_unrolled(False)


def test_unrolled_update_of_the_core_gives_the_same_gradient(run):
    case = Case("tanh")
    found = run(OF_GENERATOR, case, "unrolled")
    game = GAMES["non-saturating"]
    loss = update_generator_unrolled(
        discriminator=case.discriminator,
        optimizer=torch.optim.SGD(case.generator.parameters(), 0.0),
        loss_function=game.generator,
        real=case.real,
        fake=case.generator(case.latents),
        num_steps=STEPS,
        discriminator_optimizer=case.optimizer,
        discriminator_loss_function=game.discriminator,
    )
    assert_same(found, loss, case.generator)


def test_one_step_of_adam_is_that_of_pytorch(run):
    case = Case("tanh")
    body = OF_DISCRIMINATOR.replace(
        "return [loss.values[0], ...numbers(Engine.gradient(loss, discriminator))];",
        f"Engine.descend(discriminator, Engine.gradient(loss, discriminator), state, {RATE});"
        "return numbers(discriminator);",
    )
    found = run(body, case, "minimax")
    fake = case.generator(case.latents).detach()
    GAMES["minimax"].discriminator(case.discriminator(case.real), case.discriminator(fake)).backward()
    case.optimizer.step()
    expected = torch.cat([p.detach().flatten() for p in case.discriminator.parameters()])
    torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("data", ["ring", "grid"])
def test_modes_share_of_good_points_and_kl_are_those_of_the_core(request, data):
    torch.manual_seed(0)
    points = torch.randn(300, 2).double()
    body = """const mixture = Game.MIXTURES[input.data];
    return { centres: mixture.centres, sigma: mixture.sigma, ...Game.modeStatistics(mixture, input.points) };"""
    found = evaluate(
        body, {"data": data, "points": points.flatten().tolist()}, lambda: request.getfixturevalue("browser")
    )
    mixture = Mixture(torch.tensor(found["centres"]).double(), found["sigma"])
    expected = mode_statistics(mixture, points, min_samples=3)  # 1% of 300
    assert found["counts"] == expected.counts.tolist()
    assert found["covered"] == expected.covered.item()
    assert found["good"] == pytest.approx(expected.good.item())
    assert found["kl"] == pytest.approx(expected.kl.item())


def test_histogram_distance_is_0_of_equal_points_and_log_2_of_points_far_apart(request):
    body = """const [p, q] = input.map(Game.histogram);
    return [Game.jensenShannon(p, p), Game.jensenShannon(p, q)];"""
    same, apart = evaluate(body, [[0, 0, 1, 1], [-1, -1, 9, 9]], lambda: request.getfixturevalue("browser"))
    assert same == 0 and apart == pytest.approx(math.log(2))
