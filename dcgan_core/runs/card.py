"""What a run tells strangers: its model card, and a record without the places on its author's disk.

Names of folders, data sets and devices, and the commands that made a run, come from outside: a name may hold Markdown,
HTML or a line end, and a command the author's home folder. None of that reaches a reader.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from dcgan_core.config import InvalidInput
from dcgan_core.data import NAMES

# From where a path begins that does not depend on where one stands (at a root, a drive, a home) to its end.
PLACE = re.compile(r"(?:^|(?<=[\s=:,;|(\[{<'\"`]))(?:[A-Za-z]:[\\/]|[\\/]|~).*", re.DOTALL)
LEFT_OUT = "…/"  # stands for all but the last part of such a path

MEANT_FOR = "teaching, and for comparing methods at this size."
NOT_MEANT_FOR = "producing images that are taken for real ones, or judging other generators."

PARTS: dict[str, type] = {"config": dict, "evaluation": dict, "metrics": list, "provenance": list, "samples_at": list}
ENTRIES: dict[str, dict[str, type | tuple[type, ...]]] = {  # of each entry of a part
    "metrics": {"images": int, "seconds": (int, float)},
    "provenance": {
        "device": str,
        "precision": str,
        "torch": str,
        "started": str,
        "command": (str, type(None)),
        "resumed_at_images": (int, type(None)),
    },
}
LARGEST = 10**15  # of a number in a record


def publishable(record: dict[str, Any]) -> dict[str, Any]:
    """The JSON-able record of a run with only the last part of every absolute path in it: /home/me/cats is …/cats.

    Relative paths stay as they are. In a command, a path with spaces is known by its quotes, which `provenance` writes,
    or by being the config's data or data_root.
    """
    known = [record["config"][name] for name in ("data", "data_root")]

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: cleaned(entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [cleaned(entry) for entry in value]
        return _without_places(value, known) if isinstance(value, str) else value

    return cleaned(record)


def _without_places(text: str, known: list[str]) -> str:
    if words := _quoted_words(text):
        return shlex.join(_last_part(word) for word in words)
    for path in known:
        text = re.sub(rf"(?<![^\s=]){re.escape(path)}(?!\S)", lambda found: _last_part(found[0]), text)
    return re.sub(r"\S+", lambda word: _last_part(word[0]), text)


def _quoted_words(command: str) -> list[str]:
    """The words of a command that `shlex.join` has written, quotes around some of them; of any other text, none."""
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is never closed
        return []
    return words if shlex.join(words) == command != " ".join(words) else []


def _last_part(word: str) -> str:
    """The word, of which only the last part is left from where an absolute path begins."""

    def shortened(path: re.Match[str]) -> str:
        parts = [part for part in re.split(r"[\\/]+", path[0]) if part not in ("", ".")]
        if len(parts) < 2 and path[0][0] not in "/\\":  # a home or a drive, and nothing in it
            return "~" if path[0][0] == "~" else path[0]
        return LEFT_OUT + parts[-1] if parts else path[0]

    return PLACE.sub(shortened, word)


def printable(text: object) -> str:
    """The text with a space for each line end, control character, and what turns the direction of writing."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def code(text: object) -> str:
    """The text as a code span of Markdown, in which no character means anything to Markdown or HTML.

    Line ends, control characters, and those that turn the direction of writing become spaces. Source: CommonMark 0.31,
    section 6.1.
    """
    shown = printable(text).strip() or " "
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    padding = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def check_record(record: Any, where: str) -> None:
    """Raises `InvalidInput` unless the record, which comes from `where`, has all that card, caption and replay show."""
    if fault := _fault(record):
        raise InvalidInput(f"{where} {fault}: restore it from a copy, or train the run again.")


def _fault(record: Any) -> str | None:
    if not isinstance(record, dict):
        return "is no record of a run"
    for part, kind in PARTS.items():
        if not isinstance(record.get(part), kind):
            return f"has no {part}"
        if kind is list and not record[part]:
            return f"has no entry in its {part}"
    for part, fields in ENTRIES.items():
        for entry in record[part]:
            if not isinstance(entry, dict) or not all(isinstance(entry.get(key), fields[key]) for key in fields):
                return f"has an entry in its {part} that makes no sense"
    kept = record.get("checkpoint")
    fits = isinstance(kept, dict) and kept.get("which") in ("best", "last") and isinstance(kept.get("images"), int)
    if kept is not None and not fits:
        return "does not say which checkpoint it holds"
    values = [value for line in record["metrics"] for value in line.values() if value is not None]
    return None if all(map(_is_number, values + record["samples_at"])) else "has numbers that are none"


def _is_number(value: Any) -> bool:
    """True for what can be drawn and written; nan is a gap in a curve."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) > LARGEST


def exported_at(record: dict[str, Any]) -> int:
    """How many real images the weights of a copy had seen; older copies hold the end of their run."""
    return (record.get("checkpoint") or {}).get("images", record["metrics"][-1]["images"])


def model_card(name: str, record: dict[str, Any], *, ships: bool = False) -> str:
    """What a stranger must know before using the weights (Mitchell et al. 2019, arXiv:1810.03993), as Markdown.

    The card says what the `record` of `recorded.export` says, and what is true of every run; more of one that `ships`
    with the package, because the book's authors have made it.
    """
    record = publishable(record)
    config, measured, last = record["config"], record["evaluation"], record["metrics"][-1]
    named = config["data"] in NAMES
    held_out = named or config.get("held_out", 0) > 0  # of folders, older runs held nothing out
    compared = "held-out images" if held_out else "images of the folder itself, which has no held-out part"
    classes = ""
    if measured["num_classes"]:
        classes = f", {measured['classes_covered']} of {measured['num_classes']} classes covered"
        classes += f", {measured['recognised']:.0%} of the samples recognised"
    judged = "; nothing was selected by hand" if ships else ""
    program = not all(entry.get("command") for entry in record["provenance"])
    lines = [
        f"# Model card: {code(name)}",
        "",
        f"A DCGAN of {config['image_size']} x {config['image_size']} pixels and {config['channels']} channel"
        f"{'s' if config['channels'] > 1 else ''}, {'recorded for' if ships else 'trained with the package of'} the "
        f"book *Deep Convolutional GANs in Practice*. {_weights(record)}",
        "",
        f"- **Data**: {code(config['data'])}{'' if named else ', a folder of images'}; labels were not used in "
        f"training.{' A program trained it, which may have shown it other images.' if program else ''}",
        f"- **Training**: {last['images']:,} real images in {_minutes(last['seconds'])}, seed {config['seed']}.",
        "- **Made by**:",
        *(f"  {number}. {_session(entry)}" for number, entry in enumerate(record["provenance"], 1)),
        f"- **Measured** on {measured['num_samples']:,} samples against {measured['num_reference']:,} {compared} "
        f"({code(measured['features'])}): Fréchet distance {measured['frechet_distance']:.1f}{_scale(measured)}"
        f"{classes}.",
        f"- **Meant for**: {MEANT_FOR} One seed{judged}.",
        f"- **Not meant for**: {NOT_MEANT_FOR}",
        f"- **Licence**: {licence(ships=ships)}",
        "",
    ]
    return "\n".join(lines)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"


def _scale(measured: dict[str, Any]) -> str:
    """What the distance would be for real images; nothing if there were too few to tell, or in older records."""
    values = [measured.get(name) for name in ("num_matched", "matched_distance", "real_distance")]
    if not all(map(_is_number, values)):
        return ""
    num, samples, real = values
    return f" (in equal numbers, {num:,}: {samples:.1f}, where real images score {real:.1f})"


def licence(*, ships: bool = False) -> str:
    """What is known of the licence of a run: of other people's, that of the code alone."""
    whose = "the code and the weights" if ships else "the code"
    what = "images that they make" if ships else "the weights and with images that they make"
    return f"MIT for {whose}. What may be done with {what} depends on the licence of the data."


def _weights(record: dict[str, Any]) -> str:
    """Two sentences on what the weights are, which differ from those that were trained."""
    averaged = record["config"].get("ema_halflife_images", 0)
    whose = "those of a moving average over the training" if averaged else "as they were trained, without an average"
    last = record["metrics"][-1]["images"]
    which = {"best": f", of the checkpoint with the lowest Fréchet distance, at {exported_at(record):,} images"}
    which |= {"last": f", of the last checkpoint, at {exported_at(record):,} images"}
    kept = (record.get("checkpoint") or {}).get("which")
    moment = f"{which[kept]} of {last:,}" if kept else ""
    return f"The generator's weights are {whose}{moment}. All weights are kept in half precision."


def means(entry: dict[str, Any]) -> str:
    """Precision, compiler and CUDA graph of one session: what happened, not what was asked for."""
    words = [entry["precision"]]
    words += ["compiled"] * bool(entry.get("compiled"))
    words += ["iterations as a CUDA graph"] * bool(entry.get("captured"))
    return ", ".join(words)


def _session(entry: dict[str, Any]) -> str:
    """One line about one entry of the provenance."""
    command = code(entry["command"]) if entry.get("command") else "a program that calls the package"
    begin = entry.get("resumed_at_images")
    return (
        f"{command}{'' if begin is None else f', from {begin:,} images on'}; on {code(entry['device'])} in "
        f"{code(means(entry))}, torch {code(entry['torch'])}, {code(entry['started'][:10])}"
    )
