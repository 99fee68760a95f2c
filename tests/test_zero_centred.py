"""R1 and R2 against closed forms, a slow loop, finite differences and the Dirac game, with their known mutants."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dcgan_core.config import InvalidInput
from dcgan_core.losses import discriminator_loss, non_saturating_generator_loss, zero_centred_penalty
from dcgan_core.models import Discriminator, Generator

SHAPES = [(7,), (3, 4, 5), (1, 16, 16)]


class Linear(nn.Module):
    """A discriminator w . x of samples of any shape; its slope is |w| everywhere."""

    def __init__(self, shape: tuple[int, ...], slope: float) -> None:
        super().__init__()
        weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight * slope / weight.norm())

    def forward(self, samples: Tensor) -> Tensor:
        return (samples * self.weight).flatten(1).sum(dim=1)


def smooth_discriminator() -> nn.Sequential:
    torch.manual_seed(1)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 1, bias=False), nn.Flatten(0))
    return layers.double()


def samples(num: int, shape: tuple[int, ...] = (2, 3)) -> Tensor:
    return torch.randn(num, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def with_a_mistake(*, pixels=torch.sum, half=0.5, create_graph=True, detached=False, batch=torch.mean):
    """The penalty as it is often written, with one part to put a mistake into."""

    def penalty(discriminator, samples: Tensor) -> Tensor:
        samples = samples.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(samples).sum(), samples, create_graph=create_graph)
        gradient = gradient.detach() if detached else gradient
        return half * batch(pixels(gradient.square().flatten(1), dim=1))

    return penalty


def of_a_mean_logit(discriminator, samples: Tensor) -> Tensor:
    """The gradient of the batch's mean logit: smaller by the batch size at each sample."""
    samples = samples.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(samples).mean(), samples, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1).mean() / 2


def of_the_norm(discriminator, samples: Tensor) -> Tensor:
    """The slope instead of its square."""
    samples = samples.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(samples).sum(), samples, create_graph=True)
    return gradient.flatten(1).norm(dim=1).mean() / 2


def around_a_slope_of_one(discriminator, samples: Tensor) -> Tensor:
    samples = samples.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(samples).sum(), samples, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean() / 2


def assert_linear_discriminator_pays_the_closed_form(penalty, shape: tuple[int, ...], slope: float) -> None:
    value = penalty(Linear(shape, slope), samples(8, shape))
    assert value.item() == pytest.approx(slope**2 / 2, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [1e-6, 0.3, 1.0, 2.5])
def test_a_linear_discriminator_pays_half_its_squared_slope_whatever_the_number_of_pixels(shape, slope):
    assert_linear_discriminator_pays_the_closed_form(zero_centred_penalty, shape, slope)
    assert_linear_discriminator_pays_the_closed_form(with_a_mistake(), shape, slope)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(with_a_mistake(pixels=torch.mean), id="mean over the pixels"),
        pytest.param(with_a_mistake(half=1.0), id="no 1/2"),
        pytest.param(with_a_mistake(batch=torch.sum), id="sum over the batch"),
        of_a_mean_logit,
        of_the_norm,
        around_a_slope_of_one,
    ],
)
def test_mutant_of_another_size_is_caught(mutant):
    with pytest.raises(AssertionError):
        assert_linear_discriminator_pays_the_closed_form(mutant, (3, 4, 5), 2.5)


def test_it_is_the_mean_over_samples_taken_one_by_one():
    discriminator, costs = smooth_discriminator(), []
    for sample in samples(6):
        sample = sample[None].requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(sample), sample)
        costs.append(math.fsum(value**2 for value in gradient.flatten().tolist()) / 2)
    assert zero_centred_penalty(discriminator, samples(6)).item() == pytest.approx(math.fsum(costs) / len(costs))


def assert_second_order_gradient_agrees_with_finite_differences(penalty) -> None:
    discriminator = smooth_discriminator()
    weights = list(discriminator.parameters())
    penalty(discriminator, samples(5)).backward()
    small = 1e-6
    for parameter in weights:
        values = parameter.data.view(-1)
        for i in range(len(values)):
            before = values[i].item()
            values[i] = before + small
            above = penalty(discriminator, samples(5)).item()
            values[i] = before - small
            below = penalty(discriminator, samples(5)).item()
            values[i] = before
            found = 0.0 if parameter.grad is None else parameter.grad.view(-1)[i].item()
            assert found == pytest.approx((above - below) / (2 * small), rel=1e-5, abs=1e-8)


def test_second_order_gradient_agrees_with_finite_differences():
    assert_second_order_gradient_agrees_with_finite_differences(zero_centred_penalty)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(with_a_mistake(create_graph=False), id="no create_graph"),
        pytest.param(with_a_mistake(detached=True), id="detached"),
    ],
)
def test_mutant_through_which_nothing_can_be_learnt_is_caught(mutant):
    with pytest.raises(RuntimeError, match="does not require grad"):
        assert_second_order_gradient_agrees_with_finite_differences(mutant)


def test_a_flat_discriminator_pays_nothing_and_is_not_pushed():
    """No root of 0 is taken, so nothing needs a guard."""
    discriminator = Linear((2, 3), 1.0)
    with torch.no_grad():
        discriminator.weight.zero_()
    value = zero_centred_penalty(discriminator, samples(4))
    value.backward()
    assert value == 0 and (discriminator.weight.grad == 0).all()


def test_samples_are_detached_and_left_as_they_are():
    generator = Generator(image_size=16, channels=1, width=4, latent_size=8)
    discriminator = Discriminator(image_size=16, channels=1, width=4, norm="layer")
    real = torch.rand(4, 1, 16, 16) * 2 - 1
    for images in (real, generator(torch.randn(4, 8))):
        required = images.requires_grad
        zero_centred_penalty(discriminator, images).backward()
        assert images.requires_grad == required
    assert real.grad is None
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert all(p.grad is not None for name, p in discriminator.named_parameters() if "bias" not in name)


def test_batch_norm_ties_samples_together_and_is_refused():
    images = torch.randn(4, 1, 16, 16)
    with pytest.raises(InvalidInput, match=r"batch normalisation.*norm='layer'"):
        zero_centred_penalty(Discriminator(image_size=16, channels=1, width=4), images)
    for norm in ("layer", "none"):
        zero_centred_penalty(Discriminator(image_size=16, channels=1, width=4, norm=norm), images)


def movement(penalty, gamma: float) -> Tensor:
    """Jacobian (2, 2) of how both players of the Dirac game move, at its equilibrium.

    Mescheder et al. 2018, section 2: the data are a point at 0, the generator makes a point at theta, and the
    discriminator is D(x) = psi x. Both descend their own loss at once.
    """

    def velocity(at: Tensor) -> Tensor:
        theta, psi = at
        real, fake = torch.zeros(1, 1, dtype=at.dtype), theta.view(1, 1)

        def discriminator(points: Tensor) -> Tensor:
            return psi * points.squeeze(1)

        for_discriminator = discriminator_loss(discriminator(real), discriminator(fake))
        for_discriminator = for_discriminator + gamma * penalty(discriminator, real)
        for_generator = non_saturating_generator_loss(discriminator(fake))
        (of_psi,) = torch.autograd.grad(for_discriminator, psi, create_graph=True)
        (of_theta,) = torch.autograd.grad(for_generator, theta, create_graph=True)
        return -torch.stack([of_theta, of_psi])

    return torch.autograd.functional.jacobian(velocity, torch.zeros(2, dtype=torch.float64))


def assert_dirac_game_turns_as_the_closed_form_says(penalty) -> None:
    """Eigenvalues -gamma/2 +- sqrt(gamma^2/4 - f'(0)^2) with f'(0) = 1/2: it spirals inwards until gamma is 1."""
    for gamma in (0.0, 0.5, 0.99, 1.01, 3.0):
        root = torch.tensor(gamma**2 / 4 - 1 / 4, dtype=torch.complex128).sqrt()
        expected = torch.stack([-gamma / 2 - root, -gamma / 2 + root])
        found = torch.linalg.eigvals(movement(penalty, gamma))
        found = found[torch.argsort(found.real + found.imag)]
        torch.testing.assert_close(found, expected[torch.argsort(expected.real + expected.imag)])


def test_dirac_game_circles_without_the_penalty_and_comes_to_rest_with_it():
    assert_dirac_game_turns_as_the_closed_form_says(zero_centred_penalty)


def test_mutant_without_the_half_turns_otherwise():
    with pytest.raises(AssertionError):
        assert_dirac_game_turns_as_the_closed_form_says(with_a_mistake(half=1.0))
