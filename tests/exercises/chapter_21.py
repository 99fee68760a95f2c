"""Typical wrong answers to the exercises of chapter 21, and a fragment of what the reader is told."""

SETUP = "import torch"

PENALTY = "def my_penalty(discriminator, real):\n    real = real.detach().requires_grad_()\n"
SLOPE = "    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)\n"

WRONG = {
    "21.1": [
        ("def my_critical_gamma(pull, num_penalties):\n    return 2 * pull", "two penalties of gamma"),
        ("def my_critical_gamma(pull, num_penalties):\n    return pull / num_penalties", "gamma^2 / 4"),
        ("def my_critical_gamma(pull, num_penalties):\n    return 4 * pull**2 / num_penalties", "still to be taken"),
        ("def my_critical_gamma(pull, num_penalties):\n    return 0.0", "Where is the root"),
    ],
    "21.2": [
        (PENALTY + SLOPE + "    return slope.flatten(1).square().sum(dim=1).mean()", "the half is missing"),
        (PENALTY + SLOPE + "    return slope.square().mean() / 2", "over all channels and pixels"),
        (PENALTY + SLOPE + "    return slope.square().sum() / 2", "not the sum"),
        (
            PENALTY
            + "    (slope,) = torch.autograd.grad(discriminator(real).mean(), real, create_graph=True)\n"
            + "    return slope.flatten(1).square().sum(dim=1).mean() / 2",
            "differentiate the sum of the logits",
        ),
        (
            PENALTY
            + "    (slope,) = torch.autograd.grad(discriminator(real).sum(), real)\n"
            + "    return slope.flatten(1).square().sum(dim=1).mean() / 2",
            "create_graph=True",
        ),
        (
            PENALTY
            + SLOPE
            + "    shown = slope.detach() if slope.dim() else slope\n"
            + "    half = slope.flatten(1).square().sum(dim=1).mean() / 2\n"
            + "    return shown.flatten(1).square().sum(dim=1).mean() / 2 + 0 * half",
            "its gradient by the weights is not",
        ),
    ],
    "21.3": [
        (
            "def my_conversion(weight, has_half, mean_of_values, num_values):\n"
            "    gamma = weight if has_half else weight / 2\n"
            "    return gamma / num_values if mean_of_values else gamma",
            "the wrong way round",
        ),
        (
            "def my_conversion(weight, has_half, mean_of_values, num_values):\n"
            "    gamma = weight if has_half else 2 * weight\n"
            "    return gamma * num_values if mean_of_values else gamma",
            "smaller than their sum",
        ),
        (
            "def my_conversion(weight, has_half, mean_of_values, num_values):\n"
            "    return weight if has_half else 2 * weight",
            "as if the squares were summed",
        ),
    ],
}
