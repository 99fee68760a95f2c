"""What a run is: frozen keyword-only dataclasses, checked on construction; no torch.

Every field of `Config` is a flag of `python -m dcgan_core train`, and the string below a field is its
help text. Progress is counted in images, so that changing the batch size keeps the meaning of every duration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

IMAGE_SIZES = (8, 16, 32, 64, 128, 256)
CHANNELS = {  # of the data sets that have a name; a folder's are found in its images
    "glyphs": 1,
    "digits": 1,
    "stacked-digits": 3,
    "mnist": 1,
    "fashion-mnist": 1,
    "stacked-mnist": 3,
    "cifar10": 3,
}
Loss = Literal[
    "non-saturating", "minimax", "wasserstein-clipping", "wasserstein-penalty", "hinge", "least-squares", "relativistic"
]
LABELLED = ("non-saturating", "minimax")  # losses in which a real image is called 1 and a fake one 0
Norm = Literal["batch", "layer", "none"]
Augmentation = Literal["colour", "translation", "cutout", "flip"]
Fit = Literal["crop", "pad", "stretch"]
Initialisation = Literal["paper", "framework", "he"]
Recipe = Literal["default", "plain", "paper"]
Schedule = Literal["constant", "linear", "cosine"]
Upsampling = Literal["transposed", "nearest"]


class InvalidInput(Exception):
    """The user's mistake: the message is one sentence that says what to do. The command line prints it alone.

    Not a ValueError: other libraries raise and catch those, and their mistakes must keep their tracebacks.
    """


def first_line(error: BaseException) -> str:
    """What an error says, in one line, without a full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the outcome of a training run, except the machine it runs on."""

    data: str = "glyphs"
    """Data set: a folder, or glyphs, digits, stacked-digits, mnist, fashion-mnist, stacked-mnist or cifar10."""

    data_root: str = "data"
    """Folder that downloaded data sets are kept in."""

    image_size: int = 32
    """Side of the square images in pixels: 8, 16, 32, 64, 128 or 256."""

    channels: Literal[1, 3] | None = None
    """Channels of the images: 1 for grey, 3 for colour, None for as many as the data have."""

    fit: Fit = "crop"
    """How images of a folder become squares: cut around the centre, padded with white, or stretched."""

    held_out: float = 0.1
    """Share of a folder's images kept out of training to measure with, unless it has a subfolder test or val; or 0."""

    latent_size: int = 100
    """Length of a latent vector, drawn from N(0, 1)."""

    generator_width: int = 48
    """Channels of the generator's widest-resolution block; each earlier block has twice as many."""

    discriminator_width: int = 24
    """Channels of the discriminator's first block; each later block has twice as many."""

    upsampling: Upsampling = "transposed"
    """How the generator doubles the resolution: transposed convolution (paper), or nearest + 3x3 convolution."""

    dropout: float = 0.0
    """Probability of zeroing a whole channel after each discriminator block; not a part of the paper's recipe."""

    discriminator_norm: Norm = "batch"
    """Normalisation inside the discriminator. Penalties on its slope do not allow "batch"."""

    spectral_norm: bool = False
    """Divide every weight of the discriminator by its largest singular value."""

    minibatch_std: bool = False
    """Show the discriminator how much the images of its batch differ: one more feature map."""

    generator_initialisation: Initialisation = "paper"
    """First weights: paper draws from N(0, 0.02), framework as PyTorch does, he so that no layer shrinks its signal."""

    discriminator_initialisation: Initialisation = "paper"
    """The same for the discriminator; without normalisation, a narrow one starts nearly flat with N(0, 0.02)."""

    loss: Loss = "non-saturating"
    """The losses of the game: non-saturating (what everyone trains with), minimax, and five others."""

    penalty_weight: float = 10.0
    """Weight of the gradient penalty; for the loss wasserstein-penalty only."""

    real_label: float = 1.0
    """Label of a real image, below 1 for one-sided label smoothing; for the losses non-saturating and minimax only."""

    r1_gamma: float = 0.0
    """Weight of R1: half of it times the discriminator's squared slope at real images, summed over pixels; 0 is off."""

    r2_gamma: float = 0.0
    """Weight of R2: the same at fake images; 0 is off. Neither allows batch normalisation in the discriminator."""

    gamma_final_share: float = 1.0
    """Share of r1_gamma and r2_gamma that is left at the end of the run; they fall along half a cosine."""

    augment: tuple[Augmentation, ...] = ()
    """Random changes to all that the discriminator sees: any of colour, translation, cutout and flip."""

    instance_noise: float = 0.0
    """Standard deviation, at the start, of noise on all that the discriminator sees; pixels go from -1 to 1."""

    instance_noise_until: float = 0.5
    """Share of the run over which instance_noise fades, evenly, to 0."""

    clip_limit: float = 0.01
    """Largest absolute weight of the critic; for the loss wasserstein-clipping only."""

    unrolled_steps: int = 0
    """Discriminator steps that the generator's update looks ahead, differentiably (unrolled GAN); 0 is ordinary."""

    discriminator_steps: int = 1
    """Discriminator updates per generator update, each on a new batch. The Wasserstein papers use 5."""

    batch_size: int = 64
    """Real images per discriminator update, and as many fake ones."""

    total_images: int = 200_000
    """Real images shown in the whole run; one data set may be shown many times."""

    generator_learning_rate: float = 2e-3
    """Adam's step size for the generator. The paper's 0.0002 suits wider networks and much longer runs."""

    discriminator_learning_rate: float = 2e-3
    """Adam's step size for the discriminator."""

    rate_schedule: Schedule = "constant"
    """How both learning rates fall over the whole run: not at all, along a line, or along half a cosine."""

    rate_final_share: float = 0.0
    """Share of both learning rates that is left at the end of the run; for the schedules linear and cosine only."""

    beta1: float = 0.5
    """Adam's decay rate of the mean gradient; the DCGAN paper found 0.9 unstable."""

    beta2: float = 0.999
    """Adam's decay rate of the mean squared gradient."""

    ema_halflife_images: int = 20_000
    """Half-life of the moving average of the generator's weights, in images; 0 samples from the raw weights."""

    seed: int = 0
    """Seed of everything random: data, initial weights, order of the images, latents, dropout."""

    log_every_images: int = 6_400
    """Images between two lines of metrics.jsonl; the only regular wait for the device."""

    sample_every_images: int = 32_000
    """Images between two grids of samples from the same fixed latents."""

    checkpoint_every_images: int = 32_000
    """Images between two checkpoints."""

    evaluate_every_images: int = 40_000
    """Images between two evaluations, of which the best keeps its checkpoint; 0 never evaluates."""

    patience: int = 0
    """Images without a better evaluation after which the run ends, before total_images; 0 waits for ever."""

    def __post_init__(self) -> None:
        check_types(self)
        check_game(self)
        check(self, "image_size", self.image_size in IMAGE_SIZES, "8, 16, 32, 64, 128 or 256")
        check(self, "channels", self.channels in (1, 3, None), "1 (grey), 3 (colour) or None (as the data)")
        check_choice(self, "fit", get_args(Fit))
        check(self, "held_out", 0 <= self.held_out <= 0.5, "from 0 to 0.5")
        check_choice(self, "upsampling", get_args(Upsampling))
        check_choice(self, "discriminator_norm", get_args(Norm))
        for name in ("generator_initialisation", "discriminator_initialisation"):
            check_choice(self, name, get_args(Initialisation))
        check_choice(self, "rate_schedule", get_args(Schedule))
        check(self, "rate_final_share", 0 <= self.rate_final_share <= 1, "from 0 to 1")
        check(self, "dropout", 0 <= self.dropout < 1, "at least 0 and less than 1")
        check(self, "batch_size", self.batch_size >= 2, "at least 2 (batch normalisation needs two)")
        check(self, "ema_halflife_images", self.ema_halflife_images >= 0, "0 or more")
        check(self, "seed", 0 <= self.seed < 2**32, "from 0 to 4294967295")
        for name in ("total_images", "log_every_images", "sample_every_images", "checkpoint_every_images"):
            check(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("evaluate_every_images", "patience"):
            check(self, name, getattr(self, name) >= 0, "0 or more")
        at_least = f"at least one iteration (batch_size x discriminator_steps = {self.images_per_step})"
        check(self, "total_images", self.total_images >= self.images_per_step, at_least)
        object.__setattr__(self, "augment", tuple(self.augment))  # JSON has lists
        known = get_args(Augmentation)
        fine = set(self.augment) <= set(known) and len(set(self.augment)) == len(self.augment)
        check(self, "augment", fine, f"some of {', '.join(known)}, each once")
        check(self, "instance_noise", 0 <= self.instance_noise < math.inf, "0 or more")
        check(self, "instance_noise_until", 0 < self.instance_noise_until <= 1, "more than 0 and at most 1")
        check(self, "real_label", 0 < self.real_label <= 1, "more than 0 and at most 1")
        if self.real_label != 1 and self.loss not in LABELLED:
            raise InvalidInput(
                f"real_label is {self.real_label}, but the loss {self.loss} has no labels: set it to 1, or choose one "
                f"of {', '.join(LABELLED)}."
            )
        check(self, "gamma_final_share", 0 <= self.gamma_final_share <= 1, "from 0 to 1")
        if self.slope_penalties and self.discriminator_norm == "batch":
            raise InvalidInput(
                f"{self.slope_penalties[0]} limits the critic's slope at each image alone, but batch normalisation "
                "ties the images of a batch together: set discriminator_norm to layer or none, or leave it out."
            )

    @property
    def slope_penalties(self) -> list[str]:
        """What limits the discriminator's slope, in words."""
        penalties = {"the loss wasserstein-penalty": self.loss == "wasserstein-penalty"}
        penalties |= {"r1_gamma": self.r1_gamma > 0, "r2_gamma": self.r2_gamma > 0}
        return [name for name, is_on in penalties.items() if is_on]

    def without_effect(self) -> list[str]:
        """The fields that were changed from their defaults although nothing in this run reads them."""
        reads = {
            "penalty_weight": self.loss == "wasserstein-penalty",
            "clip_limit": self.loss == "wasserstein-clipping",
            "gamma_final_share": self.r1_gamma or self.r2_gamma,
            "instance_noise_until": self.instance_noise,
            "rate_final_share": self.rate_schedule != "constant",
            "patience": self.evaluate_every_images,
        }
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return [name for name, is_read in reads.items() if not is_read and getattr(self, name) != defaults[name]]

    @property
    def num_channels(self) -> int:
        """The channels that are set, or those that the named data set has.

        Raises `InvalidInput` for a folder's, which are not known before it is read; `train` sets them then.
        """
        found = self.channels or CHANNELS.get(self.data)
        if found is None:
            raise InvalidInput(f"channels is None, as {self.data!r} has, which has to be read first: set 1 or 3.")
        return found

    @property
    def images_per_step(self) -> int:
        """Real images that one iteration (one generator update) shows."""
        return self.batch_size * self.discriminator_steps

    @property
    def total_steps(self) -> int:
        """Iterations (one generator update each) in the whole run; a last partial one is dropped."""
        return self.total_images // self.images_per_step

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Config:
        """The config that `to_dict` described, also before the fields in `LATER` existed.

        Other missing fields, and unknown ones, raise `InvalidInput` and are named.
        """
        if not isinstance(values, dict):
            raise InvalidInput(f"the config is no JSON object with settings, but {type(values).__name__}.")
        values = LATER | values
        known = {field.name for field in dataclasses.fields(cls)}
        if wrong := sorted(known ^ set(values), key=str):
            raise InvalidInput(
                f"the config has unknown or missing fields ({', '.join(ascii(name)[1:-1] for name in wrong)}): it was "
                "written by another version of dcgan_core; use that version, or start a new run."
            )
        return cls(**values)


RECIPES: dict[Recipe, dict[str, Any]] = {
    "plain": {},
    "default": {
        "discriminator_norm": "none",
        "discriminator_initialisation": "he",
        "r1_gamma": 0.5,
        "minibatch_std": True,
    },
    "paper": {
        "image_size": 64,
        "channels": 3,
        "generator_width": 64,
        "discriminator_width": 64,
        "batch_size": 128,
        "generator_learning_rate": 2e-4,
        "discriminator_learning_rate": 2e-4,
        "ema_halflife_images": 0,
    },
}
"""Fields of `Config` by the name of a recipe.

`plain` is the DCGAN that the chapters take apart, in a size that a CPU can train. `default`, what the command line
starts from, adds what keeps it from getting worse in a long run on MNIST: R1 in place of the discriminator's batch
normalisation (the two do not go together), weights drawn for networks without one, and minibatch standard deviation;
see `laboratory.longer` and its record. `paper` is that of Radford, Metz, Chintala 2016 (arXiv:1511.06434), sections 3
and 4, with the widths of its released code; its latents are uniform, which they are not here.
"""

# Fields that were added after runs had been recorded, with the values that mean what was done until then.
LATER: dict[str, Any] = {
    "fit": "crop",
    "held_out": 0.0,
    "generator_initialisation": "paper",
    "discriminator_initialisation": "paper",
    "real_label": 1.0,
    "r1_gamma": 0.0,
    "r2_gamma": 0.0,
    "gamma_final_share": 1.0,
    "augment": (),
    "instance_noise": 0.0,
    "instance_noise_until": 0.5,
    "rate_schedule": "constant",
    "rate_final_share": 0.0,
    "patience": 0,
}


def check_game(config: Any) -> None:
    """Checks the fields that every GAN of the book has, of images (`Config`) or of points (`laboratory.PointConfig`).

    Raises `InvalidInput` for the first that is wrong.
    """
    check_choice(config, "loss", get_args(Loss))
    for name in ("latent_size", "generator_width", "discriminator_width", "discriminator_steps", "batch_size"):
        check(config, name, getattr(config, name) >= 1, "1 or more")
    for name in ("generator_learning_rate", "discriminator_learning_rate"):
        check(config, name, 0 < getattr(config, name) < 1, "between 0 and 1")
    for name in ("beta1", "beta2"):
        check(config, name, 0 <= getattr(config, name) < 1, "at least 0 and less than 1")
    for name in ("penalty_weight", "clip_limit"):
        check(config, name, getattr(config, name) > 0, "more than 0")
    check(config, "unrolled_steps", config.unrolled_steps >= 0, "0 or more")
    if config.unrolled_steps and config.loss.startswith("wasserstein"):  # a critic's steps are clipped or penalised
        raise InvalidInput(
            f"unrolled_steps is {config.unrolled_steps}, but looking ahead is not defined for {config.loss}: "
            "choose another loss, or set unrolled_steps to 0."
        )
    for name in ("r1_gamma", "r2_gamma"):
        check(config, name, 0 <= getattr(config, name) < math.inf, "0 or more")
        if config.unrolled_steps and getattr(config, name):
            raise InvalidInput(
                f"unrolled_steps is {config.unrolled_steps}, but the steps ahead would be taken without {name}: "
                "set one of the two to 0."
            )


KINDS: dict[Any, tuple[type | tuple[type, ...], str]] = {
    str: (str, "a text"),
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
}


def check_types(config: Any) -> None:
    """Raises `InvalidInput` for the first field whose value is of another type than it is declared with."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is tuple:  # of words
            is_right, words = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value), "a list"
        else:
            options = get_args(kind)
            may_be_none = type(None) in options
            options = get_args(options[0]) if may_be_none else options  # of a Literal
            declared = type(options[0]) if options else kind
            allowed, words = KINDS[declared]
            is_right = isinstance(value, allowed) and (declared is bool or not isinstance(value, bool))
            is_right = is_right or (may_be_none and value is None)
        check(config, name, is_right, words)


def check_choice(config: Any, name: str, choices: Collection[str]) -> None:
    """Raises `InvalidInput` unless the field `name` is one of the choices."""
    check(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")


def check(config: Any, name: str, holds: bool, allowed: str) -> None:
    """Raises `InvalidInput` unless it `holds`: one sentence with the field, its value and what is allowed."""
    if not holds:
        raise InvalidInput(f"{name} is {getattr(config, name)!r}, but must be {allowed}.")
