"""Typical wrong answers to the exercises of chapter 14, and a fragment of what the reader is told."""

SETUP = "import math\nimport torch\nfrom torch.nn.functional import normalize"

SLERP = "def my_spherical(first, last, share):\n"

WRONG = {
    "14.1": [
        (SLERP + "    return (1 - share) * first + share * last", "That is the straight line"),
        (
            SLERP + "    mixed = (1 - share) * first + share * last\n    return mixed / mixed.norm()",
            "the *angle* grows",
        ),
        (SLERP + "    return share * first + (1 - share) * last", "must be at its first latent"),
        (
            SLERP + "    angle = (first @ last).clamp(-1, 1).acos() + 1e-4\n"
            "    part = ((1 - share) * angle).sin() * first + (share * angle).sin() * last\n"
            "    return part / angle.sin()",
            "divided by both lengths",
        ),
    ],
    "14.2": [
        ("def my_length(size, k):\n    return math.sqrt(size / k)", "three of them add up"),
        ("def my_length(size, k):\n    return 3 * math.sqrt(size / k)", "you added lengths"),
        ("def my_length(size, k):\n    return math.sqrt(3 * size)", "has variance 1/k"),
        ("def my_length(size, k):\n    return 3 * size / k", "that is the squared length"),
    ],
    "14.3": [
        (
            "def my_direction(latents, labels):\n    return normalize(latents[labels > 0].mean(dim=0), dim=0)",
            "that is the mean of one class",
        ),
        (
            "def my_direction(latents, labels):\n    return normalize((labels[:, None] * latents).mean(dim=0), dim=0)",
            "outweighs the smaller one",
        ),
        (
            "def my_direction(latents, labels):\n"
            "    return latents[labels > 0].mean(dim=0) - latents[labels < 0].mean(dim=0)",
            "and not 1",
        ),
        (
            "def my_direction(latents, labels):\n"
            "    return normalize(latents[labels < 0].mean(dim=0) - latents[labels > 0].mean(dim=0), dim=0)",
            "turn it round",
        ),
    ],
    "14.4": [
        ("def my_cut(direction, other):\n    return normalize(direction - other, dim=0)", "you subtracted all of"),
        (
            "def my_cut(direction, other):\n    return normalize(direction - (direction @ other) * other, dim=0)",
            "bring `other` to length 1 first",
        ),
        (
            "def my_cut(direction, other):\n"
            "    other = normalize(other, dim=0)\n"
            "    return direction - (direction @ other) * other",
            "scale it to 1",
        ),
        ("def my_cut(direction, other):\n    return direction", "subtract the part"),
    ],
}
