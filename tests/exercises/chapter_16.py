"""Typical wrong answers to the exercises of chapter 16, and a fragment of what the reader is told."""

SETUP = (
    "import numpy as np\nimport torch\nfrom torch.nn.functional import pad\n"
    "from dcgan_core.data.levels import CRYSTAL, SKY\nfrom dcgan_core.laboratory.level_rules import explored\n"
)

WANTED = "def my_wanted(levels):\n"
WRAPPED = "def my_wrapped(noise, margin):\n"
SCALED = "def my_scaled(logarithms):\n"

WRONG = {
    "16.7": [
        (WANTED + "    return (levels == CRYSTAL).sum(axis=(1, 2))", "cannot be passed should have less"),
        (
            WANTED + "    passable, _ = explored(levels)\n"
            "    return np.where(passable, (levels == CRYSTAL).sum(axis=(1, 2)), 0)",
            "cannot be passed should have less",
        ),
        (
            WANTED + "    passable, _ = explored(levels)\n"
            "    return np.where(passable, (levels != SKY).sum(axis=(1, 2)), -1)",
            "which tiles you count",
        ),
        (WANTED + "    return (levels == CRYSTAL).sum()", "6 values"),
        (WANTED + "    return -(levels == CRYSTAL).sum(axis=(1, 2))", "more crystals should give a larger value"),
    ],
    "16.8": [
        (WRAPPED + "    return pad(noise, (margin, margin, margin, margin))", "The margin is empty"),
        (
            WRAPPED + "    return torch.cat([noise[..., -margin:], noise, noise[..., :margin]], dim=3)",
            "on all four sides",
        ),
        (WRAPPED + "    return pad(noise, [margin] * 4, mode='reflect')", "opposite"),
        (WRAPPED + "    return pad(noise, [margin] * 4, mode='replicate')", "opposite"),
        (WRAPPED + "    return noise.repeat(1, 1, 3, 3)", "should become (1, 2, 7, 8)"),
        (WRAPPED + "    return pad(noise, [margin] * 4, mode='circular').roll(1, dims=3)", "The middle"),
    ],
    "16.9": [
        (
            SCALED + "    return ((logarithms - logarithms.mean()) / logarithms.std() / 3).clamp(-1, 1)",
            "Each frequency should have mean 0",
        ),
        (
            SCALED + "    mean = logarithms.mean(dim=(0, 2), keepdim=True)\n"
            "    return ((logarithms - mean) / logarithms.std() / 3).clamp(-1, 1)",
            "its *own* deviation",
        ),
        (
            SCALED + "    mean = logarithms.mean(dim=(0, 2), keepdim=True)\n"
            "    return (logarithms - mean) / logarithms.std(dim=(0, 2), keepdim=True)",
            "cut off at three",
        ),
        (SCALED + "    return logarithms[:, :, 0]", "The shape should stay"),
    ],
}
