"""Typical wrong answers to the exercises of chapter 16, and a fragment of what the reader is told."""

SETUP = (
    "import numpy as np\nimport torch\nfrom torch.nn.functional import pad\n"
    "from dcgan_core.data.levels import CRYSTAL, SKY\nfrom dcgan_core.laboratory.level_rules import explored\n"
)

EVENLY = "def my_moments(lengths, num_frames):\n"
ERROR = "def my_error(images, damaged, known):\n"
SPHERE = "def my_projection(latents):\n"
PASTE = "def my_repair(answer, damaged, known):\n"
WANTED = "def my_wanted(levels):\n"
WRAPPED = "def my_wrapped(noise, margin):\n"
SCALED = "def my_scaled(logarithms):\n"

WRONG = {
    "16.1": [
        (EVENLY + "    return torch.linspace(0, 1, num_frames)", "evenly spaced in *time*"),
        (
            EVENLY + "    way = np.concatenate([[0], np.cumsum(lengths.numpy())]) / lengths.sum().item()\n"
            "    times = np.linspace(0, 1, len(way))\n"
            "    return torch.from_numpy(np.interp(np.linspace(0, 1, num_frames), times, way))",
            "the wrong way round",
        ),
        (
            EVENLY + "    way = np.cumsum(lengths.numpy())\n    times = np.linspace(0, 1, len(way))\n"
            "    return torch.from_numpy(np.interp(np.linspace(0, way[-1], num_frames), way, times))",
            "its *length so far*",
        ),
        (EVENLY + "    return lengths.cumsum(0) / lengths.sum()", "Give 3 shares"),
    ],
    "16.2": [
        (ERROR + "    return (images - damaged).square().mean(dim=(1, 2, 3))", "you compare the hole, too"),
        (ERROR + "    return ((images - damaged).square() * known).mean(dim=(1, 2, 3))", "divide by *all* pixels"),
        (ERROR + "    return ((images - damaged).square() * known).sum(dim=(1, 2, 3))", "that is the sum"),
        (ERROR + "    return ((images - damaged).square() * known).sum() / known.sum()", "one error for each image"),
    ],
    "16.3": [
        (SPHERE + "    return latents / latents.norm(dim=-1, keepdim=True)", "that is the unit sphere"),
        (SPHERE + "    return latents / latents.norm() * latents.shape[-1] ** 0.5", "one norm of all latents"),
        (
            SPHERE + "    return latents / latents.norm(dim=-1, keepdim=True) * latents.shape[-1]",
            "take its root",
        ),
        (SPHERE + "    return latents", "divide each latent by its own length"),
    ],
    "16.4": [
        (
            PASTE
            + "    repaired = known * damaged + (1 - known) * answer\n    repaired.clamp(-1, 1)\n    return repaired",
            "did you use its *result*",
        ),
        (PASTE + "    return (known * answer + (1 - known) * damaged).clamp(-1, 1)", "the wrong way round"),
        (PASTE + "    return answer.clamp(-1, 1)", "the whole answer"),
        (
            PASTE + "    answer[(known == 1).expand_as(answer)] = damaged[(known == 1).expand_as(answer)]\n"
            "    return answer.clamp(-1, 1)",
            "you changed `answer` itself",
        ),
    ],
    "16.5": [
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
    "16.6": [
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
    "16.7": [
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
