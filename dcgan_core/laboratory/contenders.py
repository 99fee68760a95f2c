"""Who plays in `laboratory.contest`: each method, what its paper fixes, what it may tune, and the settings it tries.

A method is the plain game with something changed. What its paper fixes (the updates of the critic, Adam's betas, the
normalisation) is not tuned. What is left to the user (both learning rates, its own weight, clip or depth) is drawn: the
same number of settings for every method, spread over stated ranges as a Latin hypercube. All methods draw from the same
hypercube, so they all try the same pairs of rates. A method with more knobs has to search more with as many settings;
that is the price of having them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from scipy.stats import qmc

PLAIN = "non-saturating"


@dataclass(frozen=True)
class Span:
    """A knob between two numbers, evenly in its logarithm."""

    fields: tuple[str, ...]  # of PointConfig and Config; all get the same value
    low: float
    high: float

    def at(self, share: float) -> float:
        """The value at a share of the way, to three digits: what is written down is what is played."""
        value = self.low * (self.high / self.low) ** share
        return round(value, 2 - math.floor(math.log10(value)))


@dataclass(frozen=True)
class Choice:
    """A knob with a few positions."""

    fields: tuple[str, ...]
    options: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """The option at a share of the way, 0 to 1."""
        return self.options[min(int(share * len(self.options)), len(self.options) - 1)]


Knob = Span | Choice


@dataclass(frozen=True)
class Contender:
    """One method: fields of `PointConfig` and `Config` that are fixed, those for images alone, and its own knobs."""

    fixed: Mapping[str, Any] = field(default_factory=dict)
    on_images: Mapping[str, Any] = field(default_factory=dict)
    knobs: tuple[Knob, ...] = ()
    source: str = ""


RATES = tuple(Span((f"{player}_learning_rate",), 2e-4, 5e-3) for player in ("generator", "discriminator"))
STEPS = Choice(("discriminator_steps",), (1, 5))
NO_NORM = {"discriminator_norm": "none", "discriminator_initialisation": "he"}
NO_MOMENTUM = {"beta1": 0.0, "beta2": 0.99}  # Adam's form of RMSprop with its usual memory
ZERO_CENTRED = "Mescheder et al. 2018 (arXiv:1801.04406): no normalisation; RMSprop, and a weight of 10 in their code"
RELATIVISTIC = "Huang et al. 2024 (arXiv:2501.05441): no normalisation, beta1 0, one gamma for R1 and R2"
METHODS: dict[str, Contender] = {
    PLAIN: Contender(
        source="Goodfellow et al. 2014 (arXiv:1406.2661), section 3 and algorithm 1: one update of the discriminator; "
        "Radford et al. 2016 (arXiv:1511.06434), section 4: beta1 0.5"
    ),
    "minimax": Contender({"loss": "minimax"}, source="Goodfellow et al. 2014, equation 1; the rest as the plain game"),
    "weight clipping": Contender(
        {"loss": "wasserstein-clipping", **NO_MOMENTUM},
        knobs=(Span(("clip_limit",), 3e-3, 0.3), STEPS),
        source="Arjovsky et al. 2017 (arXiv:1701.07875), algorithm 1: limit 0.01, five updates, RMSprop; section 4, "
        "meaningful loss metric: momentum made it unstable",
    ),
    "gradient penalty": Contender(
        {"loss": "wasserstein-penalty", "beta1": 0.0, "beta2": 0.9},
        {"discriminator_norm": "layer"},
        knobs=(Span(("penalty_weight",), 0.1, 10.0), STEPS),
        source="Gulrajani et al. 2017 (arXiv:1704.00028), algorithm 1: weight 10, five updates, betas 0 and 0.9; "
        "section 4: layer instead of batch normalisation",
    ),
    "unrolled": Contender(
        knobs=(Choice(("unrolled_steps",), (1, 5, 10)),),
        source="Metz et al. 2017 (arXiv:1611.02163), section 3.3.1: 1, 5 and 10 steps; their code: beta1 0.5",
    ),
    "spectral norm": Contender(
        {"spectral_norm": True},
        NO_NORM,
        knobs=(STEPS,),
        source="Miyato et al. 2018 (arXiv:1802.05957), section 4: one or five updates, beta1 0.5 in three settings of "
        "six, no batch normalisation",
    ),
    "minibatch std": Contender(
        {"minibatch_std": True}, source="Karras et al. 2018 (arXiv:1710.10196), section 3, in the plain game"
    ),
    "R1": Contender(NO_MOMENTUM, NO_NORM, knobs=(Span(("r1_gamma",), 1e-3, 10.0),), source=ZERO_CENTRED),
    "R1 + R2": Contender(
        NO_MOMENTUM, NO_NORM, knobs=(Span(("r1_gamma", "r2_gamma"), 1e-3, 10.0),), source=ZERO_CENTRED
    ),
    "pairing + R1 + R2": Contender(
        {"loss": "relativistic", **NO_MOMENTUM},
        NO_NORM,
        knobs=(Span(("r1_gamma", "r2_gamma"), 1e-3, 10.0),),
        source=RELATIVISTIC,
    ),
}
FOR_FEW: dict[str, Contender] = {  # beside some of the others, where the images are few
    "augmentation": Contender(
        knobs=(Choice(("augment",), (["translation"], ["translation", "cutout"])),),
        source="Zhao et al. 2020 (arXiv:2006.10738), section 3, in the plain game; letters have no colour",
    ),
    "noise": Contender(
        knobs=(Span(("instance_noise",), 0.03, 1.0), Choice(("instance_noise_until",), (0.5, 1.0))),
        source="Sønderby et al. 2017 (arXiv:1610.04490); Arjovsky, Bottou 2017 (arXiv:1701.04862), section 3; in the "
        "plain game",
    ),
}
CONTENDERS = METHODS | FOR_FEW
MOST_KNOBS = len(RATES) + max(len(one.knobs) for one in CONTENDERS.values())


def settings(method: str, num_draws: int) -> list[dict[str, Any]]:
    """The settings of its knobs that a method tries: fields of `PointConfig` and `Config`.

    Each of the `num_draws` settings has each knob in another one of as many equal parts of its range. Every method gets
    the same pairs of learning rates.
    """
    knobs: tuple[Knob, ...] = (*RATES, *CONTENDERS[method].knobs)
    return [
        {name: knob.at(share) for knob, share in zip(knobs, row, strict=False) for name in knob.fields}
        for row in _cube(num_draws)
    ]


@cache
def _cube(num_draws: int) -> list[list[float]]:
    """Shares of the range of each knob, that have a small discrepancy."""
    return qmc.LatinHypercube(MOST_KNOBS, optimization="random-cd", seed=0).random(num_draws).tolist()
