"""Typical wrong answers to the exercises of chapter 01, and a fragment of what the reader is told."""

SETUP = "import numpy as np"

WRONG = {
    "01.1": [
        (
            "def my_cost(num_images, seconds_each, wage_per_hour, opinions):\n"
            "    return num_images * opinions * seconds_each * wage_per_hour",
            "an hour has 3,600",
        ),
        (
            "def my_cost(num_images, seconds_each, wage_per_hour, opinions):\n"
            "    return num_images * seconds_each / 3600 * wage_per_hour",
            "each of them is paid",
        ),
        (
            "def my_cost(num_images, seconds_each, wage_per_hour, opinions):\n"
            "    return num_images * seconds_each / 60 * wage_per_hour * opinions",
            "labelled once, cost 20",
        ),
    ],
    "01.2": [
        ("def my_purity(clusters, classes):\n    return (clusters == classes).mean()", "clusters come in no order"),
        (
            "def my_purity(clusters, classes):\n"
            "    shares = []\n"
            "    for cluster in np.unique(clusters):\n"
            "        counts = np.bincount(classes[clusters == cluster])\n"
            "        shares.append(counts.max() / counts.sum())\n"
            "    return np.mean(shares)",
            "averaged over clusters",
        ),
    ],
    "01.3": [
        ("def my_summary(values):\n    return sum(values) / len(values), min(values), max(values)", "That is the mean"),
        ("def my_summary(values):\n    return values[len(values) // 2], min(values), max(values)", "Sort first"),
        (
            "def my_summary(values):\n    values = sorted(values)\n"
            "    return values[len(values) // 2], values[0], values[-1]",
            "the mean of the two in the middle",
        ),
        (
            "def my_summary(values):\n    values = sorted(values)\n"
            "    return values[(len(values) - 1) // 2], values[0], values[-1]",
            "the mean of the two in the middle",
        ),
        (
            "def my_summary(values):\n    return (float(np.median(values)), *np.quantile(values, [0.25, 0.75]))",
            "keep the extremes",
        ),
    ],
}
