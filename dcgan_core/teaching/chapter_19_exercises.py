"""The checks of chapter 19's exercises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from dcgan_core.config import Config
from dcgan_core.laboratory import altered
from dcgan_core.laboratory.altered import Alteration
from dcgan_core.laboratory.effects import ratio_of
from dcgan_core.laboratory.standings import holm
from dcgan_core.models import Discriminator, Generator
from dcgan_core.teaching.exercises import check, require

SMALL = Config(image_size=16, channels=1, generator_width=4, discriminator_width=4, latent_size=6)
BROKEN: dict[str, Alteration | None] = {
    "nothing": None,
    "batch norm on G's output": altered.norm_on_output,
    "no tanh": altered.without_tanh,
    "LeakyReLU in G": altered.leaky_generator,
    "ReLU in D": altered.relu_discriminator,
    "max pooling in D": altered.max_pooling,
}


@check
def check_ratio(ratio: Callable[[Sequence[float], Sequence[float]], float]) -> str:
    """Exercise 19.1: the median of the ratios of all pairs, of distances of a row and of its base."""
    values, others = [150.0, 400.0, 90.0, 220.0, 310.0], [100.0, 80.0, 200.0, 130.0, 95.0, 170.0, 60.0]
    expected, _ = ratio_of(values, others)
    found = float(ratio(values, others))
    of_medians = sorted(values)[2] / sorted(others)[3]
    of_means = (sum(values) / 5) / (sum(others) / 7)
    pairs = [one / other for one in values for other in others]
    require(not math.isclose(found, 1 / expected), "The wrong way round: the row's distance is divided by the base's.")
    require(
        not math.isclose(found, of_medians),
        f"{found:.3f} is the ratio of the two medians. Divide every run of the row by every run of the base first.",
    )
    require(
        not math.isclose(found, of_means),
        f"{found:.3f} is the ratio of the two means: a single run that went astray moves it as far as it likes.",
    )
    require(
        not math.isclose(found, sum(pairs) / len(pairs)),
        f"{found:.3f} is the mean of the ratios. One diverged run would make it infinite: take the median.",
    )
    require(math.isclose(found, expected, rel_tol=1e-6), f"It should be {expected:.3f}, but is {found:.3f}.")
    diverged = float(ratio([math.inf, *values[1:]], others))
    require(diverged < math.inf, "With one diverged run of five, the ratio should still be finite.")
    return f"The median of {len(pairs)} ratios; one diverged run only moves it to {diverged:.2f}."


@check
def check_num_runs(num_runs: Callable[[int, float], int]) -> str:
    """Exercise 19.2: runs of a row, against three times as many of its base, so that a p value can pass at all."""
    for num_comparisons, level in ((132, 0.05), (1, 0.05), (20, 0.05), (132, 0.01), (10_000, 0.05)):
        found = num_runs(num_comparisons, level)
        expected = next(n for n in range(1, 50) if 2 * num_comparisons / math.comb(4 * n, n) <= level)
        uncorrected = next(n for n in range(1, 50) if 2 / math.comb(4 * n, n) <= level)
        one_sided = next(n for n in range(1, 50) if num_comparisons / math.comb(4 * n, n) <= level)
        equal = next(n for n in range(1, 50) if 2 * num_comparisons / math.comb(2 * n, n) <= level)
        case = f"For {num_comparisons} comparisons at {level:g}"
        require(
            found == expected or found != uncorrected,
            f"{case}, {found} would be right without a correction: the smallest p is multiplied by the number of "
            "comparisons.",
        )
        require(
            found == expected or found != one_sided,
            f"{case}, {found} would be right if only one direction were possible: a row can be better, too.",
        )
        require(
            found == expected or found != equal,
            f"{case}, {found} would be right with as many runs of the base as of the row: it has three times as many.",
        )
        require(found == expected, f"{case}, {expected} runs are needed, and not {found}.")
    return "Fewer runs cannot tell anything apart, however large the effect: count before you play."


@check
def check_holm(correct: Callable[[Sequence[float]], Sequence[float]]) -> str:
    """Exercise 19.3: Holm's correction, in the order of the p values that came in."""
    for given in ([0.01, 0.04, 0.03, 0.005], [0.2, 0.001, 0.9], [0.02, 0.021, 0.5, 0.6]):
        expected = holm(given)
        found = [float(p) for p in correct(list(given))]
        require(len(found) == len(given), f"{len(given)} p values went in, and {len(found)} came out.")
        bonferroni = [min(1.0, len(given) * p) for p in given]
        require(
            not _close(found, bonferroni),
            "That is Bonferroni's correction, which multiplies each by the number of all: the second smallest has one "
            "comparison less to compete with.",
        )
        require(
            not _close(found, sorted(expected)) or _close(found, expected), "Give them back in the order they came."
        )
        raw = [min(1.0, (len(given) - sorted(given).index(p)) * p) for p in given]
        require(
            not _close(found, raw) or _close(found, expected),
            f"{given} becomes {found}: a larger p value may not become smaller than a smaller one. Take the largest so "
            "far.",
        )
        require(max(found) <= 1, "A p value is at most 1.")
        require(_close(found, expected), f"{given} should become {_short(expected)}, but became {_short(found)}.")
    return "The smallest is multiplied by all, the next by one less, and none overtakes another."


def _close(found: Sequence[float], expected: Sequence[float]) -> bool:
    return all(math.isclose(one, other, abs_tol=1e-9) for one, other in zip(found, expected, strict=True))


def _short(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _pair(alteration: Alteration | None, config: Config = SMALL) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    return altered.altered(alteration)(config)


def _replaced(config: Config, generator: Generator, discriminator: Discriminator) -> None:
    """What exercise 19.4 asks for."""
    generator.layers = nn.Sequential(
        *(
            nn.InstanceNorm2d(layer.num_features, affine=True) if isinstance(layer, nn.BatchNorm2d) else layer
            for layer in generator.layers
        )
    )


@check
def check_alteration(alteration: Alteration) -> str:
    """Exercise 19.4: instance normalisation in place of the generator's batch normalisation, and nothing else."""
    (generator, discriminator), (plain, other) = _pair(alteration), _pair(None)
    expected, _ = _pair(_replaced)
    kinds, wanted = ([type(layer) for layer in one.layers] for one in (generator, expected))
    require(nn.BatchNorm2d not in kinds, "There is still batch normalisation in the generator's layers.")
    require(
        [type(layer) for layer in discriminator.layers] == [type(layer) for layer in other.layers],
        "The discriminator is another one now: one row changes one rule.",
    )
    require(
        nn.InstanceNorm2d in kinds,
        "The batch normalisation is gone, and nothing has taken its place.",
    )
    require(kinds == wanted, f"The generator's layers should be {_names(wanted)}, but are {_names(kinds)}.")
    norms = [layer for layer in generator.layers if isinstance(layer, nn.InstanceNorm2d)]
    require(
        all(layer.affine for layer in norms),
        "Batch normalisation learns a scale and a shift for each channel. Without affine=True, instance normalisation "
        "learns neither, so that two things have changed.",
    )
    weights = [[value for value in one.parameters() if value.dim() > 1] for one in (generator, plain)]
    require(
        all(torch.equal(one, before) for one, before in zip(*weights, strict=True)),
        "The other layers have new weights: take the layers that are there, and replace those of one kind.",
    )
    with torch.no_grad():
        images = generator(torch.randn(3, SMALL.latent_size, generator=torch.Generator().manual_seed(1)))
    require(images.shape == (3, 1, 16, 16), f"Three latents became {tuple(images.shape)}.")
    return "One rule has changed. `ablation.played` plays it like any other row."


def _names(kinds: Sequence[type]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


@check
def check_diagnosis(diagnosis: Callable[[Generator, Discriminator], str]) -> str:
    """Exercise 19.5: the name of the rule that is altered in a pair of networks."""
    for name, alteration in BROKEN.items():
        for config in (SMALL, replace(SMALL, image_size=32, discriminator_norm="none")):
            found = diagnosis(*_pair(alteration, config))
            require(found in BROKEN, f"{found!r} is not among the names: {', '.join(BROKEN)}.")
            where = "" if config is SMALL else " (of another size, and without batch normalisation in D)"
            require(
                found == name,
                f"A pair{where} in which {_said(name)} is altered, you call {found!r}. Print the `layers` of both "
                "networks beside those of `models.build`.",
            )
    return f"All {len(BROKEN)} found, in two sizes, and not one sample looked at."


def _said(name: str) -> str:
    return "nothing" if name == "nothing" else f"one rule ({name})"
