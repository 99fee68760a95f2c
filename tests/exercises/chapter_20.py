"""Typical wrong answers to the exercises of chapter 20, and a fragment of what the reader is told."""

SETUP = """import torch
from statistics import median
from dcgan_core.teaching import museum_tests
from dcgan_core.teaching.museum import EXHIBITS"""

DETACH = "def my_detach_test(script):\n    training = museum_tests.begun(script)\n"
RESUME = (
    "def my_resume_test(script):\n    never, again = museum_tests.begun(script), museum_tests.begun(script)\n"
    "    never.train(2)\n    again.restore(never.state())\n"
)
PENALTY = "def my_penalty_test(penalty):\n    total = lambda images: images.flatten(1).sum(dim=1)\n"
PREPARE = "def my_prepare(record, turns):\n"

WRONG = {
    "20.1": [
        (
            DETACH + "    training.update_discriminator(training.batch())\n"
            "    for weight in training.generator.parameters():\n        weight.grad is None",
            "Does it end in an `assert`?",
        ),
        (
            DETACH + "    training.update_generator(8)\n"
            "    for weight in training.generator.parameters():\n        assert weight.grad is None",
            "it cries wolf",
        ),
        (
            DETACH + "    before = museum_tests.weights(training.discriminator)\n"
            "    training.update_discriminator(training.batch())\n"
            "    assert not museum_tests.same(before, museum_tests.weights(training.discriminator))\n"
            "    assert all(w.grad is None for w in training.generator.parameters())",
            "there the *discriminator* does not change",
        ),
    ],
    "20.2": [
        (
            RESUME + "    assert museum_tests.same(museum_tests.weights(never.generator), "
            "museum_tests.weights(again.generator))",
            "passes, although the script has the mistake of exhibit 17",
        ),
        (
            RESUME + "    again.train(2)\n    assert museum_tests.same(museum_tests.weights(never.generator), "
            "museum_tests.weights(again.generator))",
            "it cries wolf",
        ),
        (
            RESUME + "    before = museum_tests.weights(never.generator)\n    never.train(2)\n    again.train(2)\n"
            "    after = museum_tests.weights(never.generator)\n"
            "    assert museum_tests.same(after, museum_tests.weights(again.generator))\n"
            "    assert not torch.equal(before[0], after[0])",
            "Compare two runs, not a run with an ideal",
        ),
    ],
    "20.3": [
        (
            PENALTY + "    assert penalty(total, torch.zeros(4, 1, 8, 8)).item() > 0",
            "passes, although the script has the mistake of exhibit 9",
        ),
        (
            PENALTY + "    assert abs(penalty(total, torch.zeros(4, 1, 8, 8)).item() - 64) < 1e-3",
            "it cries wolf",
        ),
        (
            PENALTY + "    assert abs(penalty(total, torch.zeros(4, 1, 8, 8)).item() - 0.05 * 64) < 1e-3",
            "Compare a large image with a small one",
        ),
    ],
    "20.4": [
        (
            "def my_outside(healthy, exhibit):\n    return median(exhibit) > max(healthy)",
            "*below* the lowest",
        ),
        (
            "def my_outside(healthy, exhibit):\n    return max(exhibit) > max(healthy) or min(exhibit) < min(healthy)",
            "but their median does not",
        ),
        (
            "def my_outside(healthy, exhibit):\n    return min(exhibit) > max(healthy) or max(exhibit) < min(healthy)",
            "Compare the median, not every value",
        ),
        (
            "def my_outside(healthy, exhibit):\n    return not min(healthy) < median(exhibit) < max(healthy)",
            "use `<=`",
        ),
    ],
    "20.5": [
        ('my_answers = {"A": 14, "B": 6}', "Run A is not exhibit 14"),
        ('my_answers = {"A": 12, "B": 15}', "Run B is not exhibit 15: most of all, look at distance"),
        ('my_answers = {"A": 12}', "Name an exhibit for run B"),
        ('my_answers = {"A": 99, "B": 6}', "There is no exhibit 99"),
    ],
    "20.6": [
        ("def my_namer(script):\n    return 2", "The healthy script has no mistake"),
        ("def my_namer(script):\n    return 0", "For the script of exhibit 2 you return 0"),
        (
            "def my_namer(script):\n    for number, exhibit in EXHIBITS.items():\n        exhibit.caught_by(script)\n"
            "    return 0",
            "Your code stopped with AssertionError",
        ),
    ],
    "20.7": [
        (PREPARE + "    return record(turns), 'recorded'", "Your code stopped with RuntimeError"),
        (
            PREPARE + "    try:\n        return record(turns), 'recorded'\n"
            "    except RuntimeError:\n        return turns, 'recorded'",
            "the mistake of exhibit 23",
        ),
        (
            PREPARE + "    try:\n        return record(turns), 'recorded'\n"
            "    except RuntimeError:\n        return turns, 'one by one'",
            "the recorder's own words",
        ),
        (
            PREPARE + "    try:\n        return record(turns), 'recorded'\n"
            "    except Exception as error:\n        return turns, f'one by one: {error}'",
            "You catch every exception",
        ),
    ],
}
