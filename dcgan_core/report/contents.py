"""What the page says in words and numbers, from the log, the settings and the sessions of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dcgan_core.config import LABELLED, RECIPES, Config
from dcgan_core.data import NAMES
from dcgan_core.report.advice import best_of, duration, evaluated
from dcgan_core.report.charts import chart
from dcgan_core.runs.card import MEANT_FOR, NOT_MEANT_FOR, licence, means

EQUILIBRIUM = 2 * math.log(2)  # of the discriminator's loss, where it can only guess

READINGS = {
    "discriminator_loss": "What the discriminator minimises. It says who is ahead in the game, not how good the "
    "samples are.",
    "generator_loss": "What the generator minimises. It often rises while the samples get better, because the "
    "discriminator gets better, too.",
    "frechet_distance": "How far the samples are from real images as a whole; 0 would be equal. It compares only with "
    "the same features and as many samples.",
    "matched_distance": "The same distance of fewer samples, as many as there are real images in the next row: these "
    "two can be compared.",
    "real_distance": "The same distance of real images from other ones: what perfect samples would score.",
    "recognised": "How many of the samples a classifier of such images is sure of (at least 90%).",
    "classes_covered": "Classes of which at least one sample was recognised; classes that are missing are the sign of "
    "mode collapse.",
    "num_samples": "Samples that were measured: with fewer than 1,000, the distance says more about their number than "
    "about their quality.",
    "images": "Real images that the run had seen, with repetitions.",
}
TITLES = {
    "images": "Images seen",
    "frechet_distance": "Fréchet distance",
    "matched_distance": "The same, in equal numbers",
    "real_distance": "Real images, in equal numbers",
    "recognised": "Samples recognised",
    "classes_covered": "Classes covered",
    "num_samples": "Samples measured",
    "discriminator_loss": "Discriminator loss",
    "generator_loss": "Generator loss",
}
WITH_LEVEL = " The dotted line is where a discriminator that can only guess stands, 2 ln 2 = 1.39."


def summary(config: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], num_images: int | None) -> str:
    """One or two sentences at the top."""
    kind = f"{config['image_size']} x {config['image_size']} pixels, {'grey' if config['channels'] == 1 else 'colour'}"
    data = f"{num_images:,} images of " if num_images else ""
    begin = f"A DCGAN trained on {data}“{config['data']}” ({kind})."
    if not lines:
        return begin
    seen, seconds = lines[-1]["images"], lines[-1]["seconds"]
    speed = f", {seen / seconds:,.0f} images per second" if seconds > 0 else ""
    return f"{begin} It has seen {seen:,} images in {duration(seconds)}{speed}."


def curves(lines: Sequence[Mapping[str, Any]], config: Config) -> list[dict[str, Any]]:
    """The charts for which there are at least two points: title, svg, and a sentence on how to read it."""
    level = EQUILIBRIUM if config.loss in LABELLED and config.real_label == 1 else None
    wanted = [
        ("Losses", {"discriminator_loss": "discriminator", "generator_loss": "generator"}, level),
        ("Fréchet distance", {"frechet_distance": "distance"}, None),
        ("Samples recognised", {"recognised": "share"}, None),
        ("Classes covered", {"classes_covered": "classes"}, None),
    ]
    found = []
    for title, keys, at in wanted:
        drawn = {}
        for key, name in keys.items():
            points = [(line["images"], line[key]) for line in lines if _is_finite(line.get(key))]
            if len(points) > 1:
                places, values = zip(*points, strict=True)
                drawn[name] = (places, values)
        if drawn:
            reading = " ".join(READINGS[key] for key in keys) + (WITH_LEVEL if at else "")
            logarithmic = "frechet_distance" in keys
            svg = chart(drawn, title=title, logarithmic=logarithmic, level=at)
            found.append({"title": title, "svg": svg, "reading": reading})
    return found


def numbers(
    lines: Sequence[dict[str, Any]], config: Config, compared: dict[str, dict[str, Any]] | None = None
) -> list[dict[str, str]]:
    """The last measured state beside the best: what, last, best, and how to read it.

    `compared` holds their measures with latents that chose neither, which count where the run has come to its end.
    """
    if not lines:
        return []
    measured = evaluated(lines)
    last = measured[-1] if measured else lines[-1]
    best = best_of(measured) if measured else lines[-1]
    if compared:
        last, best = last | compared["last"], best | compared.get("best", {})
    return [
        {"what": title, "last": _written(key, last[key]), "best": _written(key, best[key]), "reading": READINGS[key]}
        for key, title in TITLES.items()
        if _is_finite(last.get(key)) and _is_finite(best.get(key))
    ]


def _written(key: str, value: float) -> str:
    if key == "recognised":
        return f"{value:.0%}"
    if isinstance(value, int) or key == "classes_covered":
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def settings(config: Mapping[str, Any]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Settings that differ from those that `train` starts from, with these, and then the others."""
    changed, unchanged = [], []
    usual = Config(**RECIPES["default"]).to_dict()
    for field in dataclasses.fields(Config):
        if field.name not in config:
            continue
        value = config[field.name]
        if _same(value, usual[field.name]):
            unchanged.append((field.name, _plain(value)))
        else:
            changed.append((field.name, _plain(value), _plain(usual[field.name])))
    return changed, unchanged


def _same(value: Any, default: Any) -> bool:
    return (tuple(value) if isinstance(value, list) else value) == default


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def sessions(history: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Each session's command, and where it ran."""
    found = []
    for entry in history:
        begin = entry.get("resumed_at_images")
        where = f"on {entry.get('device', 'an unknown device')} in {means({'precision': 'unknown precision', **entry})}"
        where += f", torch {entry.get('torch', 'unknown')}, {str(entry.get('started', ''))[:10]}"
        where += "" if begin is None else f"; from {begin:,} images on" if isinstance(begin, int) else ""
        found.append({"command": str(entry.get("command") or "a program that calls the package"), "where": where})
    return found


def publishing(config: Mapping[str, Any], shows_images: bool) -> list[tuple[str, str]]:
    """What a model card would say, and what this page itself holds."""
    what = "a data set known by its name" if config["data"] in NAMES else "images of your own"
    weights = "a moving average of the generator" if config["ema_halflife_images"] else "the generator"
    found = [
        ("Data", f"“{config['data']}”, {what}; labels were not used in training."),
        ("Weights", f"Samples are drawn by {weights}. The command “export” writes it in half precision, with a card."),
        ("Meant for", _sentence(MEANT_FOR)),
        ("Not meant for", _sentence(NOT_MEANT_FOR)),
        ("Licence", licence()),
    ]
    if shows_images:
        found.append(("This page", "It holds some of the training images. Send it only to those who may see them."))
    return found


def _sentence(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
