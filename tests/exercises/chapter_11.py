"""Typical wrong answers to the exercises of chapter 11, and a fragment of what the reader is told."""

SETUP = "import numpy as np\nimport torch"

_PENALTY = """
def my_penalty(critic, real, fake):
    mix = {mix}
    between = (mix * real + (1 - mix) * fake.detach()).requires_grad_()
    score = critic(between).sum()
    (gradient,) = torch.autograd.grad(score, between, create_graph={graph})
    return ({slope} - 1){excess}
"""


def _penalty(
    mix="torch.rand(len(real), 1, 1, 1)",
    graph="True",
    slope="gradient.flatten(1).square().sum(dim=1).clamp(min=1e-12).sqrt()",
    excess=".square().mean()",
):
    return _PENALTY.format(mix=mix, graph=graph, slope=slope, excess=excess)


WRONG = {
    "11.1": [
        ("def my_earth_mover(a, b):\n    return np.abs(a - b).mean()", "not the cheapest"),
        ("def my_earth_mover(a, b):\n    return np.square(np.sort(a) - np.sort(b)).mean()", "squared the distances"),
        ("def my_earth_mover(a, b):\n    return np.abs(np.sort(a) - np.sort(b)).sum()", "take the mean"),
    ],
    "11.2": [
        (_penalty(mix="torch.randn(len(real), 1, 1, 1)"), "U(0, 1)"),
        (_penalty(mix="torch.rand(1, 1, 1, 1)"), "share one mix"),
        (_penalty(mix="torch.rand_like(real)"), "each pixel by itself"),
        (_penalty(slope="gradient.norm(dim=1)"), "over all of its pixels"),
        (_penalty(slope="gradient.norm()"), "no other image's"),
        (_penalty(excess=".clamp(min=0).square().mean()"), "two sides"),
        (_penalty(slope="gradient.flatten(1).square().sum(dim=1).sqrt()"), "Guard it"),
        (_penalty(excess=".square()"), "take the mean"),
        (_penalty(graph="False"), "create_graph=True"),
    ],
    "11.3": [
        (
            "def my_lower_bound(points, scores, p, q):\n"
            "    rises, ways = (np.abs(x[:, None] - x) for x in (scores, points))\n"
            "    return (p - q) @ scores / max(1, (rises[ways > 0] / ways[ways > 0]).max())",
            "may be stretched",
        ),
        ("def my_lower_bound(points, scores, p, q):\n    return (p - q) @ scores", "divide by the largest slope"),
        (
            "def my_lower_bound(points, scores, p, q):\n"
            "    slopes = np.abs(np.diff(scores) / np.diff(points))\n"
            "    return (p - q) @ scores / slopes.max()",
            "side by side in the list",
        ),
        (
            "def my_lower_bound(points, scores, p, q):\n"
            "    rises, ways = np.abs(scores[:, None] - scores), np.abs(points[:, None] - points)\n"
            "    return (p - q) @ scores / (rises[ways > 0] / ways[ways > 0]).mean()",
            "the mean slope",
        ),
        (
            "def my_lower_bound(points, scores, p, q):\n"
            "    rises, ways = np.abs(scores[:, None] - scores), np.abs(points[:, None] - points)\n"
            "    return (q - p) @ scores / (rises[ways > 0] / ways[ways > 0]).max()",
            "negative",
        ),
    ],
    "11.4": [
        ("def my_true_distance(reading, weight):\n    return reading", "exaggerates"),
        (
            "def my_true_distance(reading, weight):\n    return reading / (1 + reading / (2 * weight))",
            "where the distance belongs",
        ),
        (
            "def my_true_distance(reading, weight):\n    return weight * (-np.sqrt(1 + 2 * reading / weight) - 1)",
            "the other solution",
        ),
    ],
}
