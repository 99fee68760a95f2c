"""Chapter 19, which rules matter: the families of its rows, what sources predict of them, and the list of tricks.

Nothing here knows a result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FAMILIES: dict[str, tuple[str, ...]] = {
    "normalisation": (
        "G without batch norm",
        "G without batch norm, He's weights",
        "D without batch norm",
        "D without batch norm, He's weights",
        "D with layer norm",
        "batch norm on G's output",
        "batch norm on D's input layer",
        "batch norm on all layers",
        "D with batch norm instead of R1",
    ),
    "first weights": ("framework's first weights", "N(0, 0.02) in D, too"),
    "Adam": (
        "beta1 0.9",
        "beta1 0",
        "rates of 0.0002",
        "rates of 0.006",
        "batches of 8",
        "batches of 128",
        "two updates of D",
    ),
    "ends": ("images from 0 to 1, sigmoid", "no tanh", "uniform latents"),
    "layers": (
        "LeakyReLU in G",
        "ReLU in D",
        "average pooling in D",
        "max pooling in D",
        "hidden fully-connected layers",
        "G of linear layers only",
        "kernel 3",
        "kernel 5",
        "nearest upsampling",
        "dropout of 0.25 in D",
        "dropout of 0.5 in G",
    ),
    "later": (
        "moving average of G",
        "no moving average of G",
        "R1 instead of D's batch norm",
        "no R1",
        "minibatch std",
        "no minibatch std",
        "shifts and cutouts",
        "labels of 0.9",
        "noise of 0.1, fading",
        "minimax loss",
    ),
}
# What a source says will happen to the result; the chapter names the source. Where sources disagree or say nothing,
# the change is not here.
PREDICTED: dict[str, str] = {
    "G without batch norm": "worse",
    "G without batch norm, He's weights": "worse",
    "D without batch norm": "worse",
    "D without batch norm, He's weights": "worse",
    "batch norm on G's output": "worse",
    "batch norm on D's input layer": "worse",
    "batch norm on all layers": "worse",
    "D with batch norm instead of R1": "worse",
    "framework's first weights": "worse",
    "N(0, 0.02) in D, too": "worse",
    "beta1 0.9": "worse",
    "rates of 0.0002": "better",
    "rates of 0.006": "worse",
    "images from 0 to 1, sigmoid": "worse",
    "no tanh": "worse",
    "ReLU in D": "worse",
    "max pooling in D": "worse",
    "hidden fully-connected layers": "worse",
    "G of linear layers only": "worse",
    "nearest upsampling": "better",
    "dropout of 0.5 in G": "better",
    "moving average of G": "better",
    "no moving average of G": "worse",
    "R1 instead of D's batch norm": "better",
    "no R1": "worse",
    "minibatch std": "better",
    "no minibatch std": "worse",
    "shifts and cutouts": "better",
    "labels of 0.9": "better",
    "noise of 0.1, fading": "better",
    "minimax loss": "worse",
}


@dataclass(frozen=True)
class Trick:
    """One of the list known as ganhacks (Chintala et al. 2016, https://github.com/soumith/ganhacks)."""

    says: str
    rows: Mapping[str, str | None] = field(default_factory=dict)  # which measure it, and what it predicts of each
    elsewhere: str = ""  # the chapter that treats it, or why the rest of it is not measured here


TRICKS = (
    Trick(
        "images from -1 to 1, tanh at the end of G",
        {"images from 0 to 1, sigmoid": "worse", "no tanh": "worse"},
        "chapter 05",
    ),
    Trick("G maximises log D; swap the labels for that", {"minimax loss": "worse"}, "chapters 03 and 13"),
    Trick(
        "latents from a Gaussian, interpolated along great circles",
        {"uniform latents": "worse"},
        "the way between latents: chapter 14",
    ),
    Trick(
        "real and fake images in batches of their own; else instance norm",
        {},
        "batches: chapter 06. Instance norm: not measured here, because it is your exercise (19.4); the row *D with "
        "layer norm* is the nearest to it",
    ),
    Trick(
        "no sparse gradients: LeakyReLU in both; average pooling or strides down, transposed convolution or "
        "PixelShuffle up",
        {"LeakyReLU in G": "better", "ReLU in D": "worse", "max pooling in D": "worse", "average pooling in D": None},
        "PixelShuffle: not measured here, because the package has no such layer",
    ),
    Trick(
        "soft labels, and some of them flipped",
        {"labels of 0.9": "better"},
        "flipped ones and random ones: not measured here, because the package's losses know one label for all",
    ),
    Trick(
        "use a DCGAN, or else a hybrid with a VAE",
        {},
        "the DCGAN is what all rows start from; hybrids: not measured here, because they are other models",
    ),
    Trick(
        "replay of older samples, older networks for some turns",
        {},
        "not measured here, because both need a store of the past that the package's loop does not keep",
    ),
    Trick(
        "Adam as in the DCGAN; SGD for D",
        {"beta1 0.9": "worse", "rates of 0.006": "worse", "rates of 0.0002": "better"},
        "SGD: not measured here, because it would need a search for its rate",
    ),
    Trick("watch the losses and the norms of gradients", {}, "no change to measure: chapter 08"),
    Trick("do not balance the two by their losses", {}, "not measured here, because it says what not to try"),
    Trick(
        "if there are labels, D should classify, too",
        {},
        "not measured here, because runs have no labels; few: chapter 15",
    ),
    Trick(
        "noise on the inputs of D, fading; and in each layer of G",
        {"noise of 0.1, fading": "better"},
        "Gaussian noise inside G: not measured here, because dropout there is trick 17",
    ),
    Trick("train D more, sometimes (marked as not sure)", {"two updates of D": None}, "chapters 11 and 13"),
    Trick("batch discrimination (marked as not sure)", {"minibatch std": None, "no minibatch std": None}, "chapter 13"),
    Trick(
        "discrete variables in conditional GANs: embed them", {}, "not measured here, because no run has a condition"
    ),
    Trick("dropout of 50% in G, also when samples are made", {"dropout of 0.5 in G": "better"}),
)
