"""Typical wrong answers to the exercises of chapter 06, and a fragment of what the reader is told."""

SETUP = "import torch"

FIELD = "def my_receptive_field(num_blocks, kernel, stride):\n"
STATISTICS = "def my_statistics(real_mean, real_variance, fake_mean, fake_variance, share):\n"
DROPOUT = "def my_dropout(maps, p, training):\n"
SOFTPLUS = "def my_softplus(t):\n"

WRONG = {
    "06.1": [
        (
            STATISTICS
            + "    mean = share * real_mean + (1 - share) * fake_mean\n"
            + "    return mean, share * real_variance + (1 - share) * fake_variance",
            "average of the two variances",
        ),
        (
            STATISTICS + "    return (real_mean + fake_mean) / 2, (real_variance + fake_variance) / 2\n",
            "average of the two variances",
        ),
        (
            STATISTICS
            + "    mean = (real_mean + fake_mean) / 2\n"
            + "    return mean, (real_variance + fake_variance) / 2 + ((real_mean - fake_mean) / 2) ** 2",
            "weigh the two means",
        ),
        (
            STATISTICS
            + "    mean = share * real_mean + (1 - share) * fake_mean\n"
            + "    inner = share * real_variance + (1 - share) * fake_variance\n"
            + "    return mean, inner + (real_mean - fake_mean) ** 2",
            "minus the square of the mean",
        ),
    ],
    "06.2": [
        (
            "def my_dropout(maps, p, training):\n"
            "    if not training:\n"
            "        return maps\n"
            "    return maps * (torch.rand(len(maps), 1, 1, 1) >= p) / (1 - p)",
            "all of its channels or none",
        ),
        (
            DROPOUT + "    return maps * (torch.rand(*maps.shape[:2], 1, 1) >= p) if training else maps",
            "divide by 1 - p",
        ),
        (
            DROPOUT + "    return maps * (torch.rand(*maps.shape[:2], 1, 1) >= p) / (1 - p)",
            "In eval mode",
        ),
        (
            DROPOUT + "    return maps * (torch.rand_like(maps) >= p) / (1 - p) if training else maps",
            "in parts only",
        ),
        (
            DROPOUT + "    return maps * (torch.rand(*maps.shape[:2], 1, 1) < p) / (1 - p) if training else maps",
            "dropped, not kept",
        ),
        (
            DROPOUT + "    return maps * (torch.rand(1, maps.shape[1], 1, 1) >= p) / (1 - p) if training else maps",
            "same channels",
        ),
    ],
    "06.3": [
        (SOFTPLUS + "    return torch.log(1 + torch.exp(t))", "overflows"),
        (SOFTPLUS + "    return t.clamp(min=0)", "softplus is"),
        (
            SOFTPLUS + "    return torch.where(t > 15, t, torch.log1p(torch.exp(t)))",
            "0 times infinity",
        ),
        (SOFTPLUS + "    return t.clamp(min=0) + torch.log(1 + torch.exp(-t.abs()))", "rounds to 1"),
    ],
}
