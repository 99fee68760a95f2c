"""The gradient penalty against closed forms, a slow loop and finite differences, with its known mutants."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from dcgan_core.config import InvalidInput
from dcgan_core.losses import critic_loss, gradient_penalty
from dcgan_core.models import Discriminator, Generator, MinibatchStd

SHAPES = [(7,), (3, 4, 5), (1, 16, 16)]


class Linear(nn.Module):
    """A critic w . x of samples of any shape; its slope is |w| everywhere."""

    def __init__(self, shape: tuple[int, ...], slope: float) -> None:
        super().__init__()
        weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight * slope / weight.norm() if slope else torch.zeros_like(weight))

    def forward(self, samples: Tensor) -> Tensor:
        return (samples * self.weight).flatten(1).sum(dim=1)


def smooth_critic() -> nn.Sequential:
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 1, bias=False), nn.Flatten(0))
    return critic.double()


def samples(num: int, shape: tuple[int, ...] = (2, 3), seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, num, *shape, dtype=torch.float64, generator=rng)
    return real, fake


def penalty_with(make_mix, *, guard: bool = True, dims=None):
    """The penalty as it is often written, with one part to put a mistake into."""

    def penalty(critic, real: Tensor, fake: Tensor, *, rng: torch.Generator | None = None) -> Tensor:
        mix = make_mix(real, rng)
        between = (mix * real + (1 - mix) * fake.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        squares = gradient.square().sum(dim=dims or tuple(range(1, gradient.ndim)))
        return ((squares.clamp(min=1e-12) if guard else squares).sqrt() - 1).square().mean()

    return penalty


def one_per_sample(real: Tensor, rng: torch.Generator | None) -> Tensor:
    return torch.rand(len(real), *[1] * (real.ndim - 1), generator=rng, dtype=real.dtype)


def from_a_normal(real: Tensor, rng: torch.Generator | None) -> Tensor:
    return torch.randn(len(real), *[1] * (real.ndim - 1), generator=rng, dtype=real.dtype)


def one_for_the_batch(real: Tensor, rng: torch.Generator | None) -> Tensor:
    return torch.rand([1] * real.ndim, generator=rng, dtype=real.dtype)


def one_for_each_pixel(real: Tensor, rng: torch.Generator | None) -> Tensor:
    return torch.rand(real.shape, generator=rng, dtype=real.dtype)


def always_real(real: Tensor, rng: torch.Generator | None) -> Tensor:
    return torch.ones(len(real), *[1] * (real.ndim - 1), dtype=real.dtype)


def always_half_way(real: Tensor, rng: torch.Generator | None) -> Tensor:
    return torch.full((len(real), *[1] * (real.ndim - 1)), 0.5, dtype=real.dtype)


def points_of(penalty, real: Tensor, fake: Tensor) -> Tensor:
    """Where the critic is asked for its slope."""
    seen = []

    def critic(points: Tensor) -> Tensor:
        seen.append(points.detach().clone())
        return points.flatten(1).sum(dim=1)

    penalty(critic, real, fake, rng=torch.Generator().manual_seed(3))
    (points,) = seen
    return points


def assert_points_are_uniform_between_real_and_fake(penalty) -> None:
    real, fake = samples(4000)
    shares = (points_of(penalty, real, fake) - fake) / (real - fake)  # (B, 2, 3), 0 at the fake, 1 at the real one
    share = shares[:, 0, 0]
    torch.testing.assert_close(shares, share[:, None, None].expand_as(shares), rtol=0, atol=1e-6, msg="off the segment")
    assert share.min() >= 0 and share.max() <= 1, "beyond the ends"
    assert kstest(share.numpy(), "uniform").pvalue > 1e-3, "not uniform"
    neighbours = torch.corrcoef(torch.stack([share[:-1], share[1:]]))[0, 1]
    assert abs(neighbours) < 0.08, "not independent"


def test_penalty_is_taken_at_uniform_points_of_the_segments_between_real_and_fake():
    assert_points_are_uniform_between_real_and_fake(gradient_penalty)
    assert_points_are_uniform_between_real_and_fake(penalty_with(one_per_sample))


@pytest.mark.parametrize(
    ("make_mix", "message"),
    [
        (from_a_normal, "beyond the ends"),
        (one_for_the_batch, "not uniform"),
        (one_for_each_pixel, "off the segment"),
        (always_real, "not uniform"),
        (always_half_way, "not uniform"),
    ],
)
def test_mutant_mix_is_caught(make_mix, message):
    with pytest.raises(AssertionError, match=message):
        assert_points_are_uniform_between_real_and_fake(penalty_with(make_mix))


@pytest.mark.parametrize("shape", SHAPES)
def test_mix_is_one_number_for_a_sample_of_any_shape(shape):
    shares = points_of(gradient_penalty, torch.ones(50, *shape), torch.zeros(50, *shape)).flatten(1)
    assert (shares == shares[:, :1]).all()
    assert len(shares[:, 0].unique()) == 50
    assert shares.min() >= 0 and shares.max() < 1


def assert_linear_critic_pays_the_closed_form(penalty, shape: tuple[int, ...], slope: float) -> None:
    real, fake = samples(8, shape)
    value = penalty(Linear(shape, slope), real, fake)
    assert value.item() == pytest.approx((slope - 1) ** 2, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.3, 1.0, 2.5])
def test_penalty_of_a_linear_critic_is_its_slope_minus_one_squared(shape, slope):
    assert_linear_critic_pays_the_closed_form(gradient_penalty, shape, slope)


def test_mutant_norm_over_channels_alone_is_caught():
    """The norm at each pixel; a sample's slope is over all of it."""
    with pytest.raises(AssertionError):
        assert_linear_critic_pays_the_closed_form(penalty_with(one_per_sample, dims=(1,)), (3, 4, 5), 2.5)


def test_mutant_norm_over_the_whole_batch_is_caught():
    with pytest.raises(AssertionError):
        assert_linear_critic_pays_the_closed_form(penalty_with(one_per_sample, dims=(0, 1, 2, 3)), (3, 4, 5), 2.5)


def test_penalty_is_the_mean_over_samples_taken_one_by_one():
    critic = smooth_critic()
    real, fake = samples(6)
    points = points_of(gradient_penalty, real, fake)
    costs = []
    for point in points:
        point = point[None].requires_grad_()
        (gradient,) = torch.autograd.grad(critic(point), point)
        slope = math.sqrt(sum(value**2 for value in gradient.flatten().tolist()))
        costs.append((slope - 1) ** 2)
    value = gradient_penalty(critic, real, fake, rng=torch.Generator().manual_seed(3))
    assert value.item() == pytest.approx(sum(costs) / len(costs))


def assert_gradient_is_finite_at_slope_zero(penalty) -> None:
    critic = Linear((2, 3), 0.0)
    value = penalty(critic, *samples(4))
    assert value.item() == pytest.approx(1, abs=1e-5)
    value.backward()
    assert critic.weight.grad.isfinite().all(), "not finite"


def test_a_critic_of_slope_zero_pays_one_and_has_a_finite_gradient():
    assert_gradient_is_finite_at_slope_zero(gradient_penalty)


def test_mutant_without_a_guard_at_slope_zero_is_caught():
    with pytest.raises(AssertionError, match="not finite"):
        assert_gradient_is_finite_at_slope_zero(penalty_with(one_per_sample, guard=False))


@pytest.mark.parametrize("slope", [1e-4, 1e-2, 1.0, 100.0])
def test_the_guard_changes_nothing_elsewhere(slope):
    guarded, free = (Linear((5,), slope) for _ in range(2))
    gradient_penalty(guarded, *samples(4, (5,))).backward()
    penalty_with(one_per_sample, guard=False)(free, *samples(4, (5,))).backward()
    torch.testing.assert_close(guarded.weight.grad, free.weight.grad)


def test_second_order_gradient_agrees_with_finite_differences():
    critic = smooth_critic()
    real, fake = samples(5)

    def penalty() -> Tensor:
        return gradient_penalty(critic, real, fake, rng=torch.Generator().manual_seed(3))

    penalty().backward()
    small = 1e-6
    for parameter in critic.parameters():
        values = parameter.data.view(-1)
        for i in range(len(values)):
            before = values[i].item()
            values[i] = before + small
            above = penalty().item()
            values[i] = before - small
            below = penalty().item()
            values[i] = before
            assert parameter.grad.view(-1)[i].item() == pytest.approx((above - below) / (2 * small), rel=1e-5, abs=1e-8)


def test_descending_on_the_penalty_leads_to_slope_one():
    critic = Linear((4,), 3.0)
    optimizer = torch.optim.SGD(critic.parameters(), 0.2)
    for _ in range(50):
        optimizer.zero_grad()
        gradient_penalty(critic, *samples(4, (4,))).backward()
        optimizer.step()
    assert critic.weight.norm().item() == pytest.approx(1)


def test_a_penalised_linear_critic_of_two_point_masses_overshoots_by_the_closed_form():
    """It minimises -d s + lambda (s - 1)^2, so its slope is s = 1 + d / (2 lambda), towards the real point."""
    real, fake = torch.tensor([[3.0, 4.0]]).double(), torch.tensor([[0.0, 0.0]]).double()  # d = 5
    critic = Linear((2,), 0.5)
    optimizer = torch.optim.SGD(critic.parameters(), 0.04)
    for _ in range(300):
        optimizer.zero_grad()
        (critic_loss(critic(real), critic(fake)) + 10 * gradient_penalty(critic, real, fake)).backward()
        optimizer.step()
    torch.testing.assert_close(critic.weight.detach(), (1 + 5 / 20) * real[0] / 5)


def test_fakes_are_detached_and_real_images_are_left_as_they_are():
    generator = Generator(image_size=16, channels=1, width=4, latent_size=8)
    critic = Discriminator(image_size=16, channels=1, width=4, norm="layer")
    real = torch.rand(4, 1, 16, 16) * 2 - 1
    gradient_penalty(critic, real, generator(torch.randn(4, 8))).backward()
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert not real.requires_grad and real.grad is None
    assert all(p.grad is not None for name, p in critic.named_parameters() if "bias" not in name)


def test_points_follow_from_the_given_random_numbers_alone():
    real, fake = samples(5)
    before = torch.get_rng_state()
    torch.testing.assert_close(points_of(gradient_penalty, real, fake), points_of(gradient_penalty, real, fake))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_random_numbers_of_its_own_the_points_follow_from_torchs_seed():
    critic, (real, fake) = smooth_critic(), samples(5)

    def penalty(seed: int) -> float:
        torch.manual_seed(seed)
        return gradient_penalty(critic, real, fake).item()

    assert penalty(4) == penalty(4) != penalty(5)


def refuses(critic: nn.Module) -> bool:
    try:
        gradient_penalty(critic, torch.randn(4, 1, 16, 16), torch.randn(4, 1, 16, 16))
    except InvalidInput as error:
        assert "batch normalisation" in str(error) and "norm='layer'" in str(error)
        return True
    return False


def assert_slope_at_a_sample_is_its_own(critic: nn.Module) -> None:
    """What the penalty needs: the other samples of the batch have no say in the gradient at one of them."""
    rng = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 1, 16, 16, generator=rng)
    second[0] = first[0]
    slopes = []
    for batch in (first, second):
        batch = batch.requires_grad_()
        (gradient,) = torch.autograd.grad(critic(batch).sum(), batch)
        slopes.append(gradient[0])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_critics_without_batch_norm_are_penalised_at_each_sample_alone(norm):
    torch.manual_seed(0)
    critic = Discriminator(image_size=16, channels=1, width=4, norm=norm)
    assert not refuses(critic)
    assert_slope_at_a_sample_is_its_own(critic)


def test_mutant_critic_with_batch_norm_ties_samples_together_and_is_refused():
    torch.manual_seed(0)
    critic = Discriminator(image_size=16, channels=1, width=4)
    with pytest.raises(AssertionError):
        assert_slope_at_a_sample_is_its_own(critic)
    assert refuses(critic)


def test_batch_norm_is_refused_wherever_it_hides_and_accepted_where_it_does_not_use_the_batch():
    body = [nn.Flatten(), nn.Linear(256, 4)]
    for norm in (nn.BatchNorm1d(4), nn.SyncBatchNorm(4), nn.BatchNorm1d(4, track_running_stats=False)):
        assert refuses(nn.Sequential(*body, nn.Sequential(norm), nn.Linear(4, 1)))
    assert refuses(nn.Sequential(*body, nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 1)).eval())
    assert not refuses(nn.Sequential(*body, nn.BatchNorm1d(4), nn.Linear(4, 1)).eval())


def test_minibatch_deviation_also_ties_samples_together_but_is_not_refused():
    """Karras et al. 2018 use it beside this penalty; so the penalty is of the batch's summed score there."""
    torch.manual_seed(0)
    critic = nn.Sequential(MinibatchStd(), nn.Flatten(), nn.Linear(512, 1))
    assert not refuses(critic)
    with pytest.raises(AssertionError):
        assert_slope_at_a_sample_is_its_own(critic)


def test_points_given_by_hand_go_from_the_fake_image_to_the_real_one():
    seen = []

    def critic(samples):
        seen.append(samples.detach().clone())
        return samples.square().sum(dim=1)

    real, fake = torch.full((3, 2), 4.0), torch.zeros(3, 2)
    gradient_penalty(critic, real, fake, mix=torch.tensor([[0.0], [0.25], [1.0]]))
    assert seen[0].tolist() == [[0, 0], [1, 1], [4, 4]]
