"""Typical wrong answers to the exercises of chapter 19, and a fragment of what the reader is told."""

SETUP = "import math\nimport torch\nfrom torch import nn\nfrom statistics import mean, median"

RATIO = "def my_ratio(values, others):\n    return "
RUNS = "def my_num_runs(num_comparisons, level):\n    n = 1\n    while {}:\n        n += 1\n    return n"
HOLM = "def my_holm(p_values):\n"
ALTER = "def my_alteration(config, generator, discriminator):\n"
SWAP = (
    "    generator.layers = nn.Sequential(*(\n"
    "        {} if isinstance(layer, nn.BatchNorm2d) else layer for layer in generator.layers))\n"
)
FIND = "def my_diagnosis(generator, discriminator):\n"

WRONG = {
    "19.1": [
        (RATIO + "median(values) / median(others)", "ratio of the two medians"),
        (RATIO + "mean(values) / mean(others)", "ratio of the two means"),
        (RATIO + "mean(v / o for v in values for o in others)", "mean of the ratios"),
        (RATIO + "median(o / v for v in values for o in others)", "wrong way round"),
        (RATIO + "median(v / o for v, o in zip(values, others))", "It should be"),
    ],
    "19.2": [
        (RUNS.format("2 / math.comb(4 * n, n) > level"), "multiplied by the number of comparisons"),
        (RUNS.format("num_comparisons / math.comb(4 * n, n) > level"), "a row can be better, too"),
        (RUNS.format("2 * num_comparisons / math.comb(2 * n, n) > level"), "three times as many"),
        ("def my_num_runs(num_comparisons, level):\n    return 7", "runs are needed"),
    ],
    "19.3": [
        (HOLM + "    return [min(1.0, len(p_values) * p) for p in p_values]", "Bonferroni"),
        (
            HOLM + "    ordered = sorted(p_values)\n"
            "    return [min(1.0, (len(p_values) - ordered.index(p)) * p) for p in p_values]",
            "may not become smaller",
        ),
        (
            HOLM + "    found, largest = [], 0.0\n"
            "    for rank, p in enumerate(sorted(p_values)):\n"
            "        largest = max(largest, min(1.0, (len(p_values) - rank) * p))\n"
            "        found.append(largest)\n"
            "    return found",
            "in the order they came",
        ),
        (HOLM + "    return list(p_values)", "should become"),
        (HOLM + "    return [p_values[0]]", "came out"),
    ],
    "19.4": [
        (ALTER + "    pass", "still batch normalisation"),
        (ALTER + SWAP.format("nn.Identity()"), "nothing has taken its place"),
        (ALTER + SWAP.format("nn.InstanceNorm2d(layer.num_features)"), "affine=True"),
        (
            ALTER
            + SWAP.format("nn.InstanceNorm2d(layer.num_features, affine=True)")
            + "    discriminator.layers = nn.Sequential(*discriminator.layers, nn.Identity())",
            "one row changes one rule",
        ),
        (
            ALTER
            + SWAP.format("nn.InstanceNorm2d(layer.num_features, affine=True)")
            + "    generator.layers[0].reset_parameters()",
            "new weights",
        ),
    ],
    "19.5": [
        (FIND + "    return 'nothing'", "Print the `layers`"),
        (FIND + "    return 'batch norm'", "not among the names"),
        (
            FIND + "    kinds = [type(layer) for layer in generator.layers]\n"
            "    if nn.Tanh not in kinds:\n        return 'no tanh'\n"
            "    if nn.LeakyReLU in kinds:\n        return 'LeakyReLU in G'\n"
            '    if kinds[-2] is nn.BatchNorm2d:\n        return "batch norm on G\'s output"\n'
            "    if nn.LeakyReLU not in [type(layer) for layer in discriminator.layers]:\n        return 'ReLU in D'\n"
            "    return 'nothing'",
            "max pooling in D",
        ),
    ],
}
