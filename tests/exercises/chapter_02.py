"""Typical wrong answers to the exercises of chapter 02, and a fragment of what the reader is told."""

SETUP = "import numpy as np\nfrom scipy.stats import norm"

LIKELIHOOD = "def my_log_likelihood(points, mean, deviation):\n"
DIVERGENCE = "def my_divergence(p, q):\n"
DISTANCE = "def my_distance(a, b):\n"
GENERATOR = "def my_generator(latents):\n"

WRONG = {
    "02.1": [
        (LIKELIHOOD + "    return norm(mean, deviation).logpdf(points).sum()", "sum over the points"),
        (LIKELIHOOD + "    return np.mean(-((points - mean) ** 2) / (2 * deviation**2))", "normalising constant"),
        (LIKELIHOOD + "    return norm(mean, deviation**0.5).logpdf(points).mean()", "standard deviation"),
        (LIKELIHOOD + "    return np.log(norm(mean, deviation).pdf(points)).mean()", "underflows"),
    ],
    "02.2": [
        (DIVERGENCE + "    return np.sum(p * np.log(p / q))", "0 log 0"),
        (DIVERGENCE + "    return np.sum(q[q > 0] * np.log(q[q > 0] / p[q > 0]))", "swapped"),
        (DIVERGENCE + "    return np.sum(p[p > 0] * np.log(q[p > 0] / p[p > 0]))", "upside down"),
        (
            DIVERGENCE + "    both = (p > 0) & (q > 0)\n    return np.sum(p[both] * np.log(p[both] / q[both]))",
            "infinitely wrong",
        ),
    ],
    "02.3": [
        ("def my_distance(a, b):\n    return np.median(np.abs(np.sort(a) - np.sort(b)))", "the median"),
        (
            "def my_distance(a, b):\n    return np.sqrt(((np.sort(a) - np.sort(b)) ** 2).mean())",
            "root of the mean square",
        ),
        (DISTANCE + "    return np.abs(a - b).mean()", "sort both"),
        (DISTANCE + "    return abs(a.mean() - b.mean())", "the means only"),
        (DISTANCE + "    return ((np.sort(a) - np.sort(b)) ** 2).mean()", "squared"),
    ],
    "02.4": [
        ("def my_generator(latents):\n    return -np.log(1 - norm.cdf(latents))", "norm.sf"),
        (GENERATOR + "    return norm.cdf(latents)", "half of the way"),
        (GENERATOR + "    return np.random.exponential(size=len(latents))", "draws none itself"),
        (GENERATOR + "    return np.exp(latents)", "not that of"),
    ],
}
