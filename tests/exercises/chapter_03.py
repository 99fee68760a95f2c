"""Typical wrong answers to the exercises of chapter 03, and a fragment of what the reader is told."""

SETUP = "import numpy as np"

WRONG = {
    "03.1": [
        ("def my_best_discriminator(p, q, real_per_fake):\n    return p / (p + q)", "does not depend on the ratio"),
        (
            "def my_best_discriminator(p, q, real_per_fake):\n    return p / (p + real_per_fake * q)",
            "it is the real points that are shown more often",
        ),
        (
            "def my_best_discriminator(p, q, real_per_fake):\n    return real_per_fake * p / (p + q)",
            "exceeds 1",
        ),
    ],
    "03.2": [
        (
            "def my_jensen_shannon(p, q):\n"
            "    m = (p + q) / 2\n"
            "    return ((p * np.log(p / m)).sum() + (q * np.log(q / m)).sum()) / 2",
            "0 log 0 counts as 0",
        ),
        (
            "def my_jensen_shannon(p, q):\n    some = p > 0\n    return (p[some] * np.log(p[some] / q[some])).sum()",
            "compared with their middle",
        ),
        (
            "def my_jensen_shannon(p, q):\n"
            "    m = (p + q) / 2\n"
            "    return sum((a[a > 0] * np.log2(a[a > 0] / m[a > 0])).sum() for a in (p, q)) / 2",
            "base 2",
        ),
        (
            "def my_jensen_shannon(p, q):\n"
            "    m = (p + q) / 2\n"
            "    return sum((a[a > 0] * np.log(a[a > 0] / m[a > 0])).sum() for a in (p, q))",
            "the mean of the two",
        ),
    ],
    "03.3": [
        ("def my_turns(a, b, rate):\n    return a - rate * b, b + rate * a", "a answers the new b"),
        ("def my_turns(a, b, rate):\n    a = a - rate * b\n    return a, b + rate * a", "Here b moves first"),
        ("def my_turns(a, b, rate):\n    b = b + 0.1 * a\n    return a - 0.1 * b, b", "use the rate you are given"),
        ("def my_turns(a, b, rate):\n    b = b - rate * a\n    return a - rate * b, b", "the player that raises V"),
        ("def my_turns(a, b, rate):\n    b = b + rate * a\n    return a + rate * b, b", "the player that lowers V"),
    ],
}
