"""Typical wrong answers to the exercises of chapter 15, and a fragment of what the reader is told."""

SETUP = "import statistics\nimport torch"

POOL = "def my_pool(maps):\n    side = maps.shape[-1] // 4\n"
INTERVALS = "def my_intervals(accuracies):\n    n = len(accuracies)\n"
HALVES = "def my_halves(labels):\n"

WRONG = {
    "15.1": [
        (POOL + "    return torch.nn.functional.avg_pool2d(maps, side).flatten(1)", "the mean of each place"),
        (POOL + "    return torch.nn.functional.max_pool2d(maps, 4).flatten(1)", "has the shape"),
        (POOL + "    return torch.nn.functional.max_pool2d(maps, side)", "has the shape"),
        (
            POOL + "    return torch.nn.functional.max_pool2d(maps, side).permute(0, 2, 3, 1).flatten(1)",
            "not in this order",
        ),
        (POOL + "    return torch.nn.functional.max_pool2d(maps.relu(), side).flatten(1)", "not the largest value"),
        (POOL + "    return maps[:, :, ::side, ::side].flatten(1)", "not the largest value"),
    ],
    "15.2": [
        (
            INTERVALS + "    single = 1.96 * statistics.stdev(accuracies)\n    return single / n**0.5, single",
            "the wrong way round",
        ),
        (
            INTERVALS + "    single = 1.96 * statistics.pstdev(accuracies)\n    return single, single / n**0.5",
            "divide by one less",
        ),
        (
            INTERVALS + "    single = 1.96 * statistics.stdev(accuracies)\n    return single, single",
            "smaller with more draws",
        ),
        (
            INTERVALS + "    single = 1.96 * statistics.stdev(accuracies)\n    return single, single / n",
            "it is its root",
        ),
        (
            INTERVALS + "    single = statistics.stdev(accuracies)\n    return single, single / n**0.5",
            "For one more draw",
        ),
        (
            INTERVALS + "    single = 1.96 * statistics.stdev(accuracies)\n    return single, single / (n - 1) ** 0.5",
            "For the mean of 4 draws",
        ),
    ],
    "15.3": [
        (
            HALVES
            + "    half = len(labels) // 2\n    rows = torch.arange(len(labels))\n    return rows[:half], rows[half:]",
            "lacks a class",
        ),
        (
            HALVES + "    order = labels.argsort()\n    half = len(labels) // 2\n    return order[:half], order[half:]",
            "lacks a class",
        ),
        (HALVES + "    rows = torch.arange(len(labels))\n    return rows, rows", "in both halves"),
        (
            HALVES + "    order = labels.argsort()\n    return order[::3], order[1::3]",
            "Not every row",
        ),
        (HALVES + "    return labels[::2], labels[1::2]", "in both halves"),
        (HALVES + "    return labels == 0, labels != 0", "not labels or a mask"),
        (
            HALVES + "    first = torch.cat([(labels == label).nonzero()[:1, 0] for label in labels.unique()])\n"
            "    rest = [row for row in range(len(labels)) if row not in first.tolist()]\n"
            "    more = [row for row in rest if labels[row] == 0][1:]\n"
            "    return torch.cat([first, torch.tensor(more, dtype=torch.int64)]), "
            "torch.tensor([row for row in rest if row not in more])",
            "many more rows",
        ),
    ],
    "15.4": [
        ('my_protocol = "A"', "chosen C"),
        ('my_protocol = "B"', "ten thousand labels"),
        ('my_protocol = "D"', "fitted to the test images"),
        ('my_protocol = "E"', "is none of them"),
    ],
}
