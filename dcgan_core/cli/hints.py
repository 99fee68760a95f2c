"""Names of flags that everyone tries, and what they are called here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from dcgan_core.config import Config, InvalidInput
from dcgan_core.data.files import find_files
from dcgan_core.data.named import NUM_GLYPHS, NUM_STACKED

NUM_IMAGES = {"mnist": 60_000, "fashion-mnist": 60_000, "cifar10": 50_000}
NUM_IMAGES |= dict.fromkeys(("glyphs", "digits"), NUM_GLYPHS["train"])
NUM_IMAGES |= dict.fromkeys(("stacked-digits", "stacked-mnist"), NUM_STACKED["train"])

RENAMED = {  # of every command that has the flag on the right
    "--output": "--out",
    "--output-dir": "--out",
    "--outdir": "--out",
    "--save-dir": "--out",
    "-o": "--out",
    "--name": "--out",
    "--run": "--out",
    "--dataset": "--data",
    "--dataset-path": "--data",
    "--data-dir": "--data",
    "--data-path": "--data",
    "--dataroot": "--data",
    "--input": "--data",
    "--images": "--data",
    "--size": "--image-size",
    "--img-size": "--image-size",
    "--imagesize": "--image-size",
    "--resolution": "--image-size",
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "-b": "--batch-size",
    "--nz": "--latent-size",
    "--z-dim": "--latent-size",
    "--latent-dim": "--latent-size",
    "--ngf": "--generator-width",
    "--ndf": "--discriminator-width",
    "--manual-seed": "--seed",
    "--manualseed": "--seed",
    "--random-seed": "--seed",
    "--num": "--num-images",
    "--count": "--num-images",
    "--number": "--num-images",
    "-n": "--num-images",
    "--num-samples": "--num-images",
    "--fps": "--frames-per-second",
}
WORDS = {"--in-channels": "--channels", "--nc": "--channels", "--num-channels": "--channels"}
RENAMED |= WORDS
RATES = ("--lr", "--learning-rate", "--rate", "--lrate")
PASSES = ("--epochs", "--epoch", "--num-epochs", "--n-epochs", "--niter", "--passes")
UPDATES = ("--steps", "--iterations", "--iters", "--num-steps", "--max-steps", "--num-iterations", "--train-steps")


def check_flags(arguments: Sequence[str], known: Callable[[str], bool]) -> None:
    """Raises `InvalidInput`, with the right name and value, for the first flag that this command does not have but that
    has another name here. `arguments` are those after the command, `known` tells whether it has a flag.
    """
    for place, argument in enumerate(arguments):
        flag, sign, value = argument.partition("=")
        name = flag.lower().replace("_", "-")
        if not name.startswith("-") or known(name):
            continue
        if not sign:
            following = arguments[place + 1 : place + 2]
            value = following[0] if following and not following[0].startswith("-") else ""
        hint = _hint(name, value, arguments, known)
        if hint:
            raise InvalidInput(f"there is no flag {flag}: {hint}.")


def check_one_place(command: str, arguments: Sequence[str]) -> None:
    """Raises `InvalidInput` if there are several names where one folder is meant: a pattern that the shell has filled
    in, or a name with spaces that has no quotes.
    """
    given: list[str] = []
    if command == "train" and "--data" in arguments:
        given = _until_flag(arguments[arguments.index("--data") + 1 :])
    elif command == "inspect":
        given = _until_flag(arguments)
    if len(given) > 1:
        raise InvalidInput(
            f"{len(given)} names are given where one folder is meant, {given[0]!r} first: name the folder that the "
            "images are in, and put a name with spaces in quotes."
        )


def _until_flag(arguments: Sequence[str]) -> list[str]:
    """The first arguments that are no flags."""
    return list(takewhile(lambda argument: not argument.startswith("-"), arguments))


def _hint(name: str, value: str, arguments: Sequence[str], known: Callable[[str], bool]) -> str | None:
    """What to write in place of the flag `name`; None if nobody can know."""
    right = RENAMED.get(name)
    if right and known(right):
        return f"use {right}{' ' + value if value else ''}"
    if name in ("--gpu", "--gpus", "--cuda", "--gpu-id", "--gpu-ids", "--use-gpu") and known("--device"):
        card = f", and CUDA_VISIBLE_DEVICES={value} before the command for that card" if value.isdecimal() else ""
        return f"a GPU is taken where there is one; to insist, use --device cuda{card}"
    if name in ("--cpu", "--no-cuda", "--no-gpu") and known("--device"):
        return "use --device cpu"
    if name in ("--fp16", "--half", "--amp", "--bf16") and known("--precision"):
        precision = "float16" if name in ("--fp16", "--half") else "bfloat16"
        return f"use --precision {precision}, or leave it out: auto takes what the chip is fastest in"
    if not known("--total-images"):
        return None
    if name in RATES and known("--generator-learning-rate"):
        rate = value or "RATE"
        return f"each network has its own, so use --generator-learning-rate {rate} --discriminator-learning-rate {rate}"
    if name in PASSES:
        return _total_images(value, "passes over the data", num_images(_given(arguments, "--data") or Config.data))
    if name in UPDATES:
        batch = _given(arguments, "--batch-size") or str(Config.batch_size)
        times = _given(arguments, "--discriminator-steps") or "1"
        images = int(batch) * int(times) if batch.isdecimal() and times.isdecimal() else None
        return _total_images(value, f"updates with {images} images each", images)
    return None


def _total_images(value: str, what: str, times: int | None) -> str:
    """The sentence for a length that is not counted in images."""
    begin = "the length of a run is counted in images"
    if not (value.isdecimal() and times):
        return f"{begin}, so use --total-images"
    return f"{begin}, so for {value} {what} use --total-images {int(value) * times}"


def _given(arguments: Sequence[str], flag: str) -> str | None:
    """The value of a flag among the arguments, if it is there."""
    for place, argument in enumerate(arguments):
        name, sign, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            return value if sign else next(iter(arguments[place + 1 : place + 2]), None)
    return None


def num_images(data: str) -> int | None:
    """How many images the data set has, or how many files a folder or zip; None if there is nothing of that name."""
    if data in NUM_IMAGES:
        return NUM_IMAGES[data]
    return len(find_files(Path(data)).files) or None if Path(data).exists() else None
