"""Typical wrong answers to the exercises of chapter 13, and a fragment of what the reader is told."""

SETUP = "import math\nimport torch"

WRONG = {
    "13.1": [
        (
            "def my_overlap(counts, num_samples):\n    return float(counts.sum()) / num_samples",
            "only a quarter of them is due there",
        ),
        (
            "def my_overlap(counts, num_samples):\n"
            "    return float((counts / counts.sum()).clamp(max=1 / len(counts)).sum())",
            "80 of 100 samples hit no mode",
        ),
        (
            "def my_overlap(counts, num_samples):\n    return float((counts > 0).sum()) / len(counts)",
            "80 of 100 samples hit no mode",
        ),
        (
            "def my_overlap(counts, num_samples):\n"
            "    shares = counts / num_samples\n"
            "    return float(shares[shares <= 1 / len(counts)].sum())",
            "only a quarter of them is due there",
        ),
    ],
    "13.2": [
        ("my_histograms = ([100] + [0] * 7, [12] * 8)", "A must cover more modes, but covers 1, and B 8"),
        ("my_histograms = ([12] * 8, [100] + [0] * 7)", "how few good samples can A do with"),
        ("my_histograms = ([30] * 8, [1] * 8)", "more than the 100 drawn"),
    ],
    "13.3": [
        (
            "def my_num_seeds(level):\n    return math.ceil(math.log2(1 / (1 - level)))",
            "you counted one way to miss",
        ),
        ("def my_num_seeds(level):\n    return 30", "count the two ways to miss"),
        (
            "def my_num_seeds(level):\n    return math.floor(math.log2(2 / (1 - level))) + 1",
            "one fewer is enough",
        ),
    ],
}
