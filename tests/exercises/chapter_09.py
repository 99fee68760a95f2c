"""Typical wrong answers to the exercises of chapter 09, and a fragment of what the reader is told."""

SETUP = "import numpy as np\nimport torch"

WRONG = {
    "09.1": [
        (
            "def my_frechet(mean1, deviation1, mean2, deviation2):\n"
            "    return float((mean1 - mean2).abs().sum() + (deviation1 - deviation2).abs().sum())",
            "Square the differences",
        ),
        (
            "def my_frechet(mean1, deviation1, mean2, deviation2):\n"
            "    return float((mean1 - mean2).square().mean() + (deviation1 - deviation2).square().mean())",
            "add them up over the features",
        ),
        (
            "def my_frechet(mean1, deviation1, mean2, deviation2):\n"
            "    variances = deviation1.square() - deviation2.square()\n"
            "    return float((mean1 - mean2).square().sum() + variances.square().sum())",
            "You compared variances",
        ),
        (
            "def my_frechet(mean1, deviation1, mean2, deviation2):\n"
            "    return float((mean1 - mean2).square().sum() + (deviation1 + deviation2).square().sum())",
            "Two equal distributions have distance 0",
        ),
        (
            "def my_frechet(mean1, deviation1, mean2, deviation2):\n    return float((mean1 - mean2).square().sum())",
            "Equal means, deviations 1 and 3",
        ),
    ],
    "09.2": [
        (
            "def my_kid(kernel_xx, kernel_yy, kernel_xy):\n"
            "    return float(kernel_xx.mean() + kernel_yy.mean() - 2 * kernel_xy.mean())",
            "pairs of a sample with itself",
        ),
        (
            "def my_kid(kernel_xx, kernel_yy, kernel_xy):\n"
            "    def mean(kernel):\n"
            "        return (kernel.sum() - kernel.trace()) / len(kernel) ** 2\n"
            "    return float(mean(kernel_xx) + mean(kernel_yy) - 2 * kernel_xy.mean())",
            "n (n - 1) remain",
        ),
        (
            "def my_kid(kernel_xx, kernel_yy, kernel_xy):\n"
            "    def mean(kernel):\n"
            "        return (kernel.sum() - kernel.trace()) / (len(kernel) * (len(kernel) - 1))\n"
            "    return float(mean(kernel_xx) + mean(kernel_yy) - kernel_xy.mean())",
            "count twice, once from each side",
        ),
        (
            "def my_kid(kernel_xx, kernel_yy, kernel_xy):\n    return float(kernel_xy.mean())",
            "take away twice that between",
        ),
    ],
    "09.3": [
        ("my_outlier = (1.0, 1.0)", "its ball is as small as theirs"),
        ("my_outlier = (-9.0, -9.0)", "where must it lie so that all fakes are closer than that"),
        ("my_outlier = (3.9, 3.9)", "The precision is"),
        ("my_outlier = 8.0, 8.0, 8.0", "one point with two coordinates"),
    ],
    "09.4": [
        (
            "def my_limit(sizes, scores):\n"
            "    first, last = 1 / sizes[0], 1 / sizes[-1]\n"
            "    return scores[-1] - (scores[0] - scores[-1]) / (first - last) * last",
            "use all of the scores",
        ),
        ("def my_limit(sizes, scores):\n    return scores[-1]", "still too high"),
        ("def my_limit(sizes, scores):\n    return sum(scores) / len(scores)", "biased as well"),
        ("def my_limit(sizes, scores):\n    return np.polyfit(sizes, scores, 1)[1]", "you fitted a line over n"),
        (
            "def my_limit(sizes, scores):\n    return np.polyfit([1 / size for size in sizes], scores, 1)[0]",
            "the slope of the line",
        ),
    ],
}
