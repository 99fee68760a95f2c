"""Typical wrong answers to the exercises of chapter 16, and a fragment of what the reader is told."""

SETUP = "import torch\nimport numpy as np"

EVENLY = "def my_moments(lengths, num_frames):\n"
ERROR = "def my_error(images, damaged, known):\n"
SPHERE = "def my_projection(latents):\n"
PASTE = "def my_repair(answer, damaged, known):\n"

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
            "length of the way so far",
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
}
