"""Looking ahead against closed forms, finite differences and real optimizers; what it must leave alone; its mutants."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from dcgan_core import unrolled
from dcgan_core.config import InvalidInput
from dcgan_core.losses import (
    critic_generator_loss,
    critic_loss,
    discriminator_loss,
    least_squares_discriminator_loss,
    minimax_generator_loss,
    non_saturating_generator_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from dcgan_core.models import Discriminator, Generator
from dcgan_core.steps import against, update_discriminator, update_generator
from dcgan_core.unrolled import look_ahead, update_generator_unrolled

SGD, ADAM = torch.optim.SGD, torch.optim.Adam
OPTIMIZERS = {
    "SGD": lambda parameters: SGD(parameters, 0.1),
    "SGD with momentum": lambda parameters: SGD(parameters, 0.1, momentum=0.9),
    "Adam": lambda parameters: ADAM(parameters, 0.01, betas=(0.5, 0.999)),
    "fused Adam": lambda parameters: ADAM(parameters, 0.01, betas=(0.5, 0.999), fused=True),
    "Adam without memory": lambda parameters: ADAM(parameters, 0.01, betas=(0.0, 0.99)),
}
OPTIONS = {
    "batch norm": {},
    "layer norm": {"norm": "layer"},
    "dropout": {"dropout": 0.5},
    "spectral norm": {"norm": "none", "spectral_norm": True},
    "minibatch deviation": {"minibatch_std": True},
}


class Game:
    """Two players, a batch of real data, and a discriminator that has already taken `num_before` steps."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, real: Tensor, latents: Tensor, make_optimizer):
        self.generator, self.discriminator, self.real, self.latents = generator, discriminator, real, latents
        self.optimizer = make_optimizer(discriminator.parameters())

    def fake(self) -> Tensor:
        return self.generator(self.latents)

    def train_discriminator(self, num_steps: int) -> None:
        for _ in range(num_steps):
            update_discriminator(self.discriminator, self.optimizer, discriminator_loss, self.real, self.fake())

    def step_generator(self, num_steps: int, update=update_generator_unrolled, rate: float = 0.0, **settings) -> Tensor:
        return update(
            self.discriminator,
            SGD(self.generator.parameters(), rate),
            settings.pop("loss_function", non_saturating_generator_loss),
            self.real,
            self.fake(),
            **{
                "num_steps": num_steps,
                "discriminator_optimizer": self.optimizer,
                "discriminator_loss_function": discriminator_loss,
                **settings,
            },
        )


def smooth_game(make_optimizer=OPTIMIZERS["SGD"], seed: int = 0) -> Game:
    """Two small networks in float64, with batch norm, and smooth so that finite differences are exact enough."""
    torch.manual_seed(seed)
    generator = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 2))
    discriminator = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Softplus(), nn.Linear(4, 1, bias=False), nn.Flatten(0)
    )
    real, latents = torch.randn(7, 2) + 1, torch.randn(7, 1)
    return Game(generator.double(), discriminator.double(), real.double(), latents.double(), make_optimizer)


def image_game(make_optimizer=OPTIMIZERS["SGD"], **options) -> Game:
    torch.manual_seed(0)
    generator = Generator(image_size=16, channels=1, width=4, latent_size=8)
    discriminator = Discriminator(image_size=16, channels=1, width=4, **options)
    return Game(generator, discriminator, torch.rand(8, 1, 16, 16) * 2 - 1, torch.randn(8, 8), make_optimizer)


class Score(nn.Module):
    """D(x) = w x."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x


def scalar_gradient(num_steps: int, discriminator_loss_function, update=update_generator_unrolled) -> float:
    """The gradient of the generator G = g in the game of D(x) = w x against one real number."""
    made = nn.Parameter(torch.tensor([G], dtype=torch.float64))
    score = Score(W)
    update(
        score,
        SGD([made], 0.0),
        critic_generator_loss,
        torch.tensor([R], dtype=torch.float64),
        1 * made,
        num_steps=num_steps,
        discriminator_optimizer=SGD(score.parameters(), RATE),
        discriminator_loss_function=discriminator_loss_function,
    )
    return made.grad.item()


W, G, R, RATE = 0.7, 0.4, 1.3, 0.05


@pytest.mark.parametrize("num_steps", [0, 1, 2, 3, 10])
def test_gradient_of_a_scalar_game_is_the_closed_form(num_steps):
    """With the loss w g - w r, each step adds RATE (r - g) to w, so the generator's loss is -(w + k RATE (r - g)) g."""
    expected = -W - num_steps * RATE * (R - 2 * G)
    assert scalar_gradient(num_steps, critic_loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 10])
def test_gradient_of_a_curved_scalar_game_is_the_recursion_by_hand(num_steps):
    """Least squares: w <- w - RATE ((w r - 1) r + w g^2), and the derivative of that line with respect to g."""
    weight, slope = W, 0.0
    for _ in range(num_steps):
        slope = slope - RATE * (slope * (R**2 + G**2) + 2 * weight * G)
        weight = weight - RATE * ((weight * R - 1) * R + weight * G**2)
    expected = -weight - slope * G
    assert scalar_gradient(num_steps, least_squares_discriminator_loss) == pytest.approx(expected, rel=1e-12)


def test_many_steps_lead_to_the_gradient_against_the_best_discriminator():
    """The best w is r / (r^2 + g^2), for every g; the generator's loss against it is -r g / (r^2 + g^2)."""
    expected = -R * (R**2 - G**2) / (R**2 + G**2) ** 2
    assert scalar_gradient(200, least_squares_discriminator_loss) == pytest.approx(expected, rel=1e-6)


def assert_gradient_agrees_with_finite_differences(game: Game, num_steps: int, update, **settings) -> None:
    def loss() -> float:
        return game.step_generator(num_steps, update, **settings).item()

    loss()
    parameters = list(game.generator.parameters())
    gradients = [parameter.grad.clone() for parameter in parameters]
    small = 1e-5
    for parameter, gradient in zip(parameters, gradients, strict=True):
        values = parameter.data.view(-1)
        for i in range(len(values)):
            before = values[i].item()
            values[i] = before + small
            above = loss()
            values[i] = before - small
            below = loss()
            values[i] = before
            assert gradient.view(-1)[i].item() == pytest.approx((above - below) / (2 * small), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_gradient_agrees_with_finite_differences(rule, num_steps):
    game = smooth_game(OPTIMIZERS[rule])
    game.train_discriminator(3)
    assert_gradient_agrees_with_finite_differences(game, num_steps, update_generator_unrolled)


def update_generator_with_a_stepped_copy(discriminator, optimizer, loss_function, real, fake, *, num_steps, **settings):
    """What is often sold as unrolling: a copy takes the steps, so the steps count as constants of the gradient."""
    judge, its_optimizer = copy_with_optimizer(discriminator, settings["discriminator_optimizer"])
    for _ in range(num_steps):
        update_discriminator(judge, its_optimizer, settings["discriminator_loss_function"], real, fake)
    return update_generator(judge, optimizer, loss_function, fake)


def update_generator_unrolling_only_the_last_step(discriminator, *arguments, num_steps, **settings):
    """The graph goes through one step alone."""
    judge, its_optimizer = copy_with_optimizer(discriminator, settings.pop("discriminator_optimizer"))
    real, fake = arguments[2:]
    for _ in range(num_steps - 1):
        update_discriminator(judge, its_optimizer, settings["discriminator_loss_function"], real, fake)
    return update_generator_unrolled(judge, *arguments, num_steps=1, discriminator_optimizer=its_optimizer, **settings)


def copy_with_optimizer(network: nn.Module, optimizer: torch.optim.Optimizer):
    """A copy of both in which the optimizer holds the copy's parameters."""
    copied = copy.deepcopy(network)
    its_optimizer = type(optimizer)(copied.parameters(), lr=0.1)
    its_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return copied, its_optimizer


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize(
    ("mutant", "num_steps"),
    [(update_generator_with_a_stepped_copy, 1), (update_generator_unrolling_only_the_last_step, 3)],
)
def test_mutant_without_the_whole_graph_is_caught_by_finite_differences(rule, mutant, num_steps):
    game = smooth_game(OPTIMIZERS[rule])
    game.train_discriminator(3)
    with pytest.raises(AssertionError):
        assert_gradient_agrees_with_finite_differences(game, num_steps, mutant)


def test_mutant_stepped_copy_is_caught_by_the_scalar_game():
    with pytest.raises(AssertionError):
        assert scalar_gradient(3, critic_loss, update_generator_with_a_stepped_copy) == pytest.approx(
            -W - 3 * RATE * (R - 2 * G), rel=1e-3
        )


def test_stepped_copy_sees_the_same_loss_and_so_only_its_gradient_is_wrong():
    game = smooth_game(OPTIMIZERS["Adam"])
    game.train_discriminator(3)
    copied = game.step_generator(2, update_generator_with_a_stepped_copy)
    torch.testing.assert_close(game.step_generator(2), copied)


def test_the_judge_of_some_steps_later_has_its_spectral_norm_as_it_is_then():
    """One more power iteration while it judges would change its estimates, and with them the loss."""
    game = image_game(OPTIMIZERS["SGD"], **OPTIONS["spectral norm"])
    game.train_discriminator(2)
    copied = game.step_generator(2, update_generator_with_a_stepped_copy)
    torch.testing.assert_close(game.step_generator(2), copied, rtol=1e-4, atol=0)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_looking_ahead_goes_where_the_real_optimizer_then_goes(rule, options):
    """Weights, batch-norm statistics and singular vectors, from a state of two steps, and three steps further."""
    game = image_game(OPTIMIZERS[rule], **OPTIONS[options])
    game.train_discriminator(2)
    fake = game.fake()
    torch.manual_seed(1)  # dropout
    ahead = look_ahead(game.discriminator, game.optimizer, discriminator_loss, game.real, fake, num_steps=3)
    torch.manual_seed(1)
    for _ in range(3):
        update_discriminator(game.discriminator, game.optimizer, discriminator_loss, game.real, fake)
    expected = dict(game.discriminator.state_dict())
    assert expected.keys() == ahead.keys()
    torch.testing.assert_close({name: value.detach() for name, value in ahead.items()}, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_an_optimizer_that_has_not_stepped_yet_is_also_followed(rule):
    game = smooth_game(OPTIMIZERS[rule])
    fake = game.fake()
    ahead = look_ahead(game.discriminator, game.optimizer, discriminator_loss, game.real, fake, num_steps=2)
    assert not game.optimizer.state
    game.train_discriminator(2)
    for name, value in game.discriminator.named_parameters():
        torch.testing.assert_close(ahead[name], value, rtol=1e-6, atol=1e-9)


def test_learning_rate_and_betas_are_the_optimizers_own():
    """Each group its own, and parameters in no group, or frozen, stand still."""
    game = smooth_game()
    first, scale, shift, last = (game.discriminator[i] for i in (0, 1, 1, 3))
    game.optimizer = ADAM(
        [
            {"params": [first.weight], "lr": 0.03, "betas": (0.1, 0.2)},
            {"params": [scale.weight, shift.bias], "lr": 0.001},
            {"params": [last.weight], "lr": 0.5},
        ]
    )
    last.weight.requires_grad_(False)
    game.train_discriminator(1)
    ahead = look_ahead(game.discriminator, game.optimizer, discriminator_loss, game.real, game.fake(), num_steps=1)
    before = copy.deepcopy(game.discriminator.state_dict())
    game.train_discriminator(1)
    for name, value in game.discriminator.named_parameters():
        torch.testing.assert_close(ahead[name].detach(), value.detach(), rtol=1e-6, atol=1e-9)
    still = {name for name, value in game.discriminator.named_parameters() if torch.equal(value, before[name])}
    assert still == {"0.bias", "3.weight"}


@pytest.mark.parametrize("size", [1e-6, 1e-8, 1e-10])
def test_small_gradients_are_stepped_as_adam_steps_them(size):
    """Near eps = 1e-8 it matters whether the guard of the root is far below: it must not change a step."""
    game = smooth_game(OPTIMIZERS["Adam"])

    def small(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return size * discriminator_loss(real_logits, fake_logits)

    before = copy.deepcopy(game.discriminator.state_dict())
    fake = game.fake().detach()
    ahead = look_ahead(game.discriminator, game.optimizer, small, game.real, fake, num_steps=2)
    for _ in range(2):
        update_discriminator(game.discriminator, game.optimizer, small, game.real, fake)
    for name, value in game.discriminator.named_parameters():
        moved = value.detach() - before[name]
        torch.testing.assert_close(ahead[name].detach() - before[name], moved, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 10])
def test_adams_first_steps_are_exact_in_single_precision(num_steps):
    """With a constant gradient every step is the learning rate. 1 - 0.999 in float32 would be wrong by 1 in 20,000."""
    score = Score(0.0).float()
    optimizer = ADAM(score.parameters(), 0.01, betas=(0.5, 0.999))
    real, fake = torch.tensor([2.0]), torch.tensor([1.0])
    ahead = look_ahead(score, optimizer, critic_loss, real, fake, num_steps=num_steps)
    assert ahead["weight"].item() == pytest.approx(0.01 * num_steps, rel=2e-6)


def everything(game: Game) -> dict[str, object]:
    """All of the discriminator and its optimizer that a step ahead could spoil."""
    parameters = game.discriminator.named_parameters()
    return {
        **{name: value.clone() for name, value in game.discriminator.state_dict().items()},
        **{f"{name} gradient": None if p.grad is None else p.grad.clone() for name, p in parameters},
        **{f"{name} learns": p.requires_grad for name, p in game.discriminator.named_parameters()},
        "optimizer": copy.deepcopy(game.optimizer.state_dict()),
        "training": [module.training for module in game.discriminator.modules()],
    }


def assert_discriminator_is_left_alone(game: Game, update) -> None:
    before = everything(game)
    game.step_generator(2, update, rate=0.1)
    after = everything(game)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0, msg=f"{name} changed")


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("num_before", [0, 2])
def test_looking_ahead_leaves_the_discriminator_and_its_optimizer_unchanged(options, num_before):
    game = image_game(OPTIMIZERS["Adam"], **OPTIONS[options])
    game.train_discriminator(num_before)
    assert_discriminator_is_left_alone(game, update_generator_unrolled)


def update_generator_after_real_steps(discriminator, optimizer, loss_function, real, fake, *, num_steps, **settings):
    for _ in range(num_steps):
        update_discriminator(
            discriminator,
            settings["discriminator_optimizer"],
            settings["discriminator_loss_function"],
            real,
            fake,
        )
    return update_generator(discriminator, optimizer, loss_function, fake)


def update_generator_restoring_weights_alone(discriminator, *arguments, **settings):
    """Steps for real and puts the weights back; statistics and moments have moved."""
    before = [parameter.detach().clone() for parameter in discriminator.parameters()]
    loss = update_generator_after_real_steps(discriminator, *arguments, **settings)
    for parameter, value in zip(discriminator.parameters(), before, strict=True):
        parameter.data.copy_(value)
    return loss


@pytest.mark.parametrize("mutant", [update_generator_after_real_steps, update_generator_restoring_weights_alone])
def test_mutant_that_steps_the_real_discriminator_is_caught(mutant):
    game = image_game(OPTIMIZERS["Adam"])
    game.train_discriminator(2)
    with pytest.raises(AssertionError, match="changed"):
        assert_discriminator_is_left_alone(game, mutant)


def test_a_loss_that_raises_leaves_the_discriminator_unchanged():
    def broken(logits: Tensor) -> Tensor:
        raise ZeroDivisionError

    game = image_game(OPTIMIZERS["Adam"])
    game.train_discriminator(1)
    before = everything(game)
    optimizer = SGD(game.generator.parameters(), 0.1)
    with pytest.raises(ZeroDivisionError):
        update_generator_unrolled(
            discriminator=game.discriminator,
            optimizer=optimizer,
            loss_function=broken,
            real=game.real,
            fake=game.fake(),
            num_steps=2,
            discriminator_optimizer=game.optimizer,
            discriminator_loss_function=discriminator_loss,
        )
    torch.testing.assert_close(everything(game), before, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS)
def test_no_steps_ahead_are_exactly_the_ordinary_step(options):
    first = image_game(OPTIMIZERS["Adam"], **OPTIONS[options])
    first.train_discriminator(1)
    second = copy.deepcopy(first)
    torch.manual_seed(2)  # dropout
    loss = first.step_generator(0, rate=0.1)
    torch.manual_seed(2)
    optimizer = SGD(second.generator.parameters(), 0.1)
    expected = update_generator(second.discriminator, optimizer, non_saturating_generator_loss, second.fake())
    assert torch.equal(loss, expected) and not loss.requires_grad
    torch.testing.assert_close(first.generator.state_dict(), second.generator.state_dict(), rtol=0, atol=0)


def test_a_discriminator_that_does_not_learn_gives_the_ordinary_step():
    """The other end: any number of steps of size 0."""
    game = smooth_game(lambda parameters: SGD(parameters, 0.0))
    losses, gradients = [], []
    for num_steps in (0, 3):
        losses.append(game.step_generator(num_steps))
        gradients.append([parameter.grad.clone() for parameter in game.generator.parameters()])
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_the_step_is_taken_by_the_generators_optimizer_down_the_gradient():
    game = smooth_game()
    before = [parameter.detach().clone() for parameter in game.generator.parameters()]
    loss = game.step_generator(2, rate=0.1)
    assert not loss.requires_grad and loss.shape == ()
    for parameter, value in zip(game.generator.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), value - 0.1 * parameter.grad)


def minimax_gradient(game: Game, num_steps: int, *, zero_sum: bool) -> Tensor:
    update_generator_unrolled(
        discriminator=game.discriminator,
        optimizer=SGD(game.generator.parameters(), 0.0),
        loss_function=minimax_generator_loss,
        real=game.real,
        fake=game.fake(),
        num_steps=num_steps,
        discriminator_optimizer=game.optimizer,
        discriminator_loss_function=discriminator_loss,
        zero_sum=zero_sum,
    )
    return torch.cat([parameter.grad.flatten() for parameter in game.generator.parameters()])


def test_zero_sum_minimises_the_whole_value_of_the_discriminator_ahead():
    """Section 2.2: f_K has the term of the real images, too. Against finite differences of the value V(D_K, G)."""
    game = smooth_game()
    gradient = minimax_gradient(game, 2, zero_sum=True)

    def value() -> float:
        judge = copy.deepcopy(game)
        judge.optimizer = OPTIMIZERS["SGD"](judge.discriminator.parameters())
        judge.train_discriminator(2)
        return -discriminator_loss(judge.discriminator(judge.real), judge.discriminator(judge.fake())).item()

    numeric = []
    for parameter in game.generator.parameters():
        for i in range(parameter.numel()):
            ends = []
            for change in (1e-5, -2e-5):
                parameter.data.view(-1)[i] += change
                ends.append(value())
            parameter.data.view(-1)[i] += 1e-5
            numeric.append((ends[0] - ends[1]) / 2e-5)
    torch.testing.assert_close(gradient, torch.tensor(numeric).to(gradient), rtol=1e-4, atol=1e-8)


def test_what_is_returned_is_the_loss_of_the_fakes_alone_in_a_zero_sum_game_too():
    game = smooth_game()
    losses = [
        game.step_generator(2, loss_function=minimax_generator_loss, zero_sum=zero_sum) for zero_sum in (False, True)
    ]
    assert torch.equal(*losses)
    judge = copy.deepcopy(game)
    judge.optimizer = OPTIMIZERS["SGD"](judge.discriminator.parameters())
    judge.train_discriminator(2)
    torch.testing.assert_close(losses[1], minimax_generator_loss(judge.discriminator(judge.fake())).detach())


def test_the_term_of_the_real_images_matters_only_when_looking_ahead():
    def gradient(num_steps: int, zero_sum: bool) -> Tensor:
        return minimax_gradient(smooth_game(), num_steps, zero_sum=zero_sum)

    torch.testing.assert_close(gradient(0, True), gradient(0, False), rtol=0, atol=0)
    ordinary, whole = gradient(2, False), gradient(2, True)
    assert (whole - ordinary).norm() > 0.01 * whole.norm()


def game_with_a_dead_weight(num_before: int) -> Game:
    """The first inputs of real and fake data are 0, so the weights that read them have no gradient."""
    game = smooth_game(OPTIMIZERS["Adam"])
    game.real[:, 0] = 0
    game.generator.append(nn.Linear(2, 2, bias=False).double().requires_grad_(False))
    game.generator[-1].weight.copy_(torch.diag(torch.tensor([0.0, 1.0])))
    game.train_discriminator(num_before)
    return game


def assert_gradient_is_finite(game: Game) -> None:
    game.step_generator(2)
    gradients = [parameter.grad for parameter in game.generator.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients), "not finite"


@pytest.mark.parametrize("num_before", [0, 2])
def test_adam_ahead_has_a_finite_gradient_where_a_second_moment_is_zero(num_before):
    game = game_with_a_dead_weight(num_before)
    assert_gradient_is_finite(game)
    moments = [value["exp_avg_sq"] for value in game.optimizer.state.values()]
    assert all((moment == 0).any() for moment in moments[:1])


@pytest.mark.parametrize("num_before", [0, 2])
def test_mutant_adam_without_a_guarded_root_is_caught(num_before, monkeypatch):
    monkeypatch.setattr(unrolled, "SMALLEST_SQUARE", -1.0)
    with pytest.raises(AssertionError, match="not finite"):
        assert_gradient_is_finite(game_with_a_dead_weight(num_before))


@pytest.mark.parametrize(
    ("make_optimizer", "name"),
    [
        (lambda parameters: torch.optim.RMSprop(parameters, 0.1), "RMSprop"),
        (lambda parameters: torch.optim.AdamW(parameters, 0.1), "AdamW with weight_decay"),
        (lambda parameters: ADAM(parameters, 0.1, weight_decay=0.1), "Adam with weight_decay"),
        (lambda parameters: ADAM(parameters, 0.1, amsgrad=True, maximize=True), "Adam with amsgrad, maximize"),
        (lambda parameters: SGD(parameters, 0.1, momentum=0.9, nesterov=True), "SGD with nesterov"),
        (lambda parameters: SGD(parameters, 0.1, momentum=0.9, dampening=0.5), "SGD with dampening"),
    ],
)
def test_a_rule_that_is_not_repeated_is_refused_by_name(make_optimizer, name):
    game = smooth_game(make_optimizer)
    with pytest.raises(InvalidInput, match=f"optimizer is {name}: use"):
        game.step_generator(1)


def test_a_rule_that_is_not_repeated_is_refused_in_any_group():
    game = smooth_game()
    first, *others = game.discriminator.parameters()
    game.optimizer = ADAM([{"params": [first]}, {"params": others, "weight_decay": 0.1}], 0.1)
    with pytest.raises(InvalidInput, match="Adam with weight_decay"):
        game.step_generator(1)


def test_the_generators_optimizer_in_place_of_the_discriminators_is_refused():
    game = smooth_game()
    with pytest.raises(InvalidInput, match="is it perhaps the generator's"):
        game.step_generator(1, discriminator_optimizer=SGD(game.generator.parameters(), 0.1))


def test_autocast_is_used_for_every_pass_and_leaves_the_loss_in_float32():
    """After two steps of the discriminator: the derivative of a fresh Adam's steps is as large as 1 / eps."""
    game = image_game(OPTIMIZERS["Adam"])
    game.train_discriminator(2)
    seen = []
    game.discriminator.layers[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    loss = game.step_generator(2, autocast=torch.autocast("cpu", torch.bfloat16))
    assert loss.dtype == torch.float32
    assert seen == [torch.bfloat16] * 5  # real and fake in each step ahead, then the judgement
    weight = next(game.generator.parameters())
    coarse = weight.grad.clone()
    game.step_generator(2)
    assert torch.cosine_similarity(coarse.flatten(), weight.grad.flatten(), dim=0) > 0.98
    torch.testing.assert_close(coarse.norm(), weight.grad.norm(), rtol=0.1, atol=0)


def test_the_generators_step_can_be_taken_by_another_function():
    """Such as one with a gradient scaler; for 0 steps as well."""
    game = smooth_game()
    for num_steps in (0, 2):
        seen = []
        game.step_generator(num_steps, descend=lambda loss, optimizer, seen=seen: seen.append(loss.item()))
        assert len(seen) == 1


def paired_gradient(game: Game, update) -> Tensor:
    update(
        game.discriminator,
        SGD(game.generator.parameters(), 0.0),
        relativistic_generator_loss,
        game.real,
        game.fake(),
        num_steps=2,
        discriminator_optimizer=game.optimizer,
        discriminator_loss_function=relativistic_discriminator_loss,
        paired=True,
    )
    return torch.cat([parameter.grad.flatten() for parameter in game.generator.parameters()])


def assert_paired_gradient_agrees_with_finite_differences(update) -> None:
    """The loss is judged by a copy that has really taken the steps, on real images as well as on fake ones."""
    game = smooth_game()
    gradient = paired_gradient(game, update)

    def value() -> float:
        judge = copy.deepcopy(game)
        optimizer = OPTIMIZERS["SGD"](judge.discriminator.parameters())
        for _ in range(2):
            update_discriminator(
                judge.discriminator, optimizer, relativistic_discriminator_loss, judge.real, judge.fake()
            )
        logits = [judge.discriminator(batch) for batch in (judge.fake(), judge.real)]
        return relativistic_generator_loss(*logits).item()

    numeric = []
    for parameter in game.generator.parameters():
        for i in range(parameter.numel()):
            ends = []
            for change in (1e-5, -2e-5):
                parameter.data.view(-1)[i] += change
                ends.append(value())
            parameter.data.view(-1)[i] += 1e-5
            numeric.append((ends[0] - ends[1]) / 2e-5)
    torch.testing.assert_close(gradient, torch.tensor(numeric).to(gradient), rtol=1e-4, atol=1e-8)


def test_a_paired_game_ahead_agrees_with_finite_differences():
    assert_paired_gradient_agrees_with_finite_differences(update_generator_unrolled)


def with_real_logits_that_count_as_constants(discriminator, optimizer, loss_function, *batches, **settings):
    def loss(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
        return loss_function(fake_logits, real_logits.detach())

    return update_generator_unrolled(discriminator, optimizer, loss, *batches, **settings)


def with_real_logits_of_today(discriminator, optimizer, loss_function, real, fake, **settings):
    loss = against(real, discriminator, loss_function)
    return update_generator_unrolled(discriminator, optimizer, loss, real, fake, **settings | {"paired": False})


@pytest.mark.parametrize("mutant", [with_real_logits_that_count_as_constants, with_real_logits_of_today])
def test_mutant_that_forgets_what_the_steps_ahead_do_to_the_real_logits_is_caught(mutant):
    with pytest.raises(AssertionError):
        assert_paired_gradient_agrees_with_finite_differences(mutant)


def test_a_paired_game_of_no_steps_ahead_is_exactly_the_ordinary_one():
    first = image_game(OPTIMIZERS["Adam"])
    first.train_discriminator(1)
    second = copy.deepcopy(first)
    loss = update_generator_unrolled(
        first.discriminator,
        SGD(first.generator.parameters(), 0.1),
        relativistic_generator_loss,
        first.real,
        first.fake(),
        num_steps=0,
        discriminator_optimizer=first.optimizer,
        discriminator_loss_function=relativistic_discriminator_loss,
        paired=True,
    )
    optimizer = SGD(second.generator.parameters(), 0.1)
    of_fakes = against(second.real, second.discriminator, relativistic_generator_loss)
    assert torch.equal(loss, update_generator(second.discriminator, optimizer, of_fakes, second.fake()))
    torch.testing.assert_close(first.generator.state_dict(), second.generator.state_dict(), rtol=0, atol=0)
