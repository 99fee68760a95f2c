"""Typical wrong answers to the exercises of chapter 10, and a fragment of what the reader is told."""

SETUP = "import math\nfrom dataclasses import replace\nimport torch\n"
SETUP += "from dcgan_core.laboratory.ensemble import COLLAPSES, COVERS"

WRONG = {
    "10.1": [
        (
            "def my_statistics(mode, sigmas, num_modes):\n"
            "    counts = torch.bincount(mode, minlength=num_modes)\n"
            "    shares = counts / counts.sum()\n"
            "    kl = (shares * (num_modes * shares).log()).nansum()\n"
            "    return int((counts > 0).sum()), float((sigmas <= 3).float().mean()), float(kl)",
            "a sample that is not good covers nothing",
        ),
        (
            "def my_statistics(mode, sigmas, num_modes):\n"
            "    good = sigmas <= 3\n"
            "    counts = torch.bincount(mode[good], minlength=num_modes)\n"
            "    shares = counts / counts.sum()\n"
            "    kl = (shares * (num_modes * shares).log()).sum()\n"
            "    return int((counts > 0).sum()), float(good.float().mean()), float(kl)",
            "an empty mode adds 0",
        ),
        (
            "def my_statistics(mode, sigmas, num_modes):\n"
            "    good = sigmas <= 3\n"
            "    counts = torch.bincount(mode[good], minlength=num_modes)\n"
            "    shares = counts / counts.sum()\n"
            "    kl = (shares * (num_modes * shares).log2()).nansum()\n"
            "    return int((counts > 0).sum()), float(good.float().mean()), float(kl)",
            "in bits",
        ),
        (
            "def my_statistics(mode, sigmas, num_modes):\n"
            "    good = sigmas <= 3\n"
            "    counts = torch.bincount(mode[good], minlength=num_modes)\n"
            "    shares = counts / len(mode)\n"
            "    kl = (shares * (num_modes * shares).log()).nansum()\n"
            "    return int((counts > 0).sum()), float(good.float().mean()), float(kl)",
            "the shares of the *good* samples",
        ),
    ],
    "10.2": [
        ("def my_expected(num_modes, num_samples):\n    return min(num_modes, num_samples)", "that would need luck"),
        (
            "def my_expected(num_modes, num_samples):\n    return num_modes * (1 - 1 / num_modes) ** num_samples",
            "that many modes are *missed*",
        ),
        (
            "def my_expected(num_modes, num_samples):\n    return num_modes * (1 - (1 / num_modes) ** num_samples)",
            "that would need luck",
        ),
        ("def my_expected(num_modes, num_samples):\n    return num_modes / 2", "With what probability does one"),
    ],
    "10.3": [
        ("my_config = replace(COLLAPSES, generator_learning_rate=3e-3)", "the median is not yet 4"),
        ("my_config = COVERS", "you do not learn which one did it"),
        ("my_config = replace(COLLAPSES, total_steps=20_000)", "changes the question"),
        ("my_config = replace(COLLAPSES, loss='minimax')", "changes the question"),
    ],
    "10.4": [
        ("def my_support(size, share):\n    return size**2 / 2 / -math.log(1 - share)", "with itself"),
        ("def my_support(size, share):\n    return size**2", "a rule of thumb"),
        ("def my_support(size, share):\n    return size * (size - 1) / -math.log(1 - share)", "twice too large"),
        (
            "def my_support(size, share):\n    return size * (size - 1) / 2 / share",
            "what is the probability that none is",
        ),
    ],
}
