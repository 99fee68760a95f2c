"""One HTML page about a run: it holds all that it shows, and opens from the file system."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from torch import Tensor

from dcgan_core import __version__
from dcgan_core.config import Config, InvalidInput, first_line
from dcgan_core.data import load_for
from dcgan_core.data.latents import numbered_latents
from dcgan_core.report import pictures
from dcgan_core.report.advice import Advice, advise, best_of, evaluated
from dcgan_core.report.contents import curves, numbers, publishing, sessions, settings, summary
from dcgan_core.report.examination import Nearest, ask, nearest
from dcgan_core.runs import CHECKPOINT, read_config, read_metrics
from dcgan_core.runs.card import printable, publishable
from dcgan_core.runs.continuing import moved
from dcgan_core.runs.ending import read_evaluation
from dcgan_core.runs.files import write_whole
from dcgan_core.runs.folder import choose_checkpoint, read_provenance
from dcgan_core.runtime import Device, choose_machine
from dcgan_core.state import State, sample
from dcgan_core.train import NUM_WATCHED, load_state, random_numbers_kept

FOLDER = Path(__file__).parent
NAME = "report.html"
LONGEST_UPDATE = 10.0  # seconds; of a network that is slower here, the tree is not asked
Found = TypeVar("Found")


def write_report(
    run: str | Path,
    out: str | Path | None = None,
    *,
    data: str | None = None,
    data_root: str | None = None,
    device: Device = "auto",
) -> tuple[Path, list[Advice]]:
    """Writes the page about the run in the folder `run`, by default to report.html in it. Returns where it is, and the
    advice in it, with the folder's name as it was given.

    `data` and `data_root` say where the data are now, if they have moved. What cannot be shown is left out, and the
    page says why. The run itself is not changed. Raises `InvalidInput` if there is no run, or if the page cannot be
    written.
    """
    run = Path(run)
    out = run / NAME if out is None else Path(out)
    with random_numbers_kept():
        page, advice = _compose(run, data, data_root, device)
    try:
        write_whole(out, page.encode("utf-8", "replace"))
    except OSError as error:
        raise InvalidInput(
            f"cannot write the report {str(out)!r} ({error.strerror}): choose another place with --out."
        ) from error
    return out, advice


def _compose(run: Path, data: str | None, data_root: str | None, device: Device) -> tuple[str, list[Advice]]:
    config, lines = read_config(run), read_metrics(run)
    missing: list[str] = []

    def attempt(what: str, find: Callable[[], Found]) -> Found | None:
        try:
            return find()
        except (InvalidInput, OSError, RuntimeError, ValueError) as error:
            missing.append(f"{what}: {first_line(error)}.")
            return None

    compared = read_evaluation(run)
    machine = choose_machine(device, "float32")
    history = attempt("who made the run", lambda: read_provenance(run)) or []
    grids = attempt("how the samples came about", lambda: pictures.frames(run, config)) or []
    dataset = attempt("the training images", lambda: load_for(moved(config, data, data_root), say=False))
    held_out = None
    if dataset is not None:
        where = moved(config, data, data_root)
        held_out = attempt("the held-out images", lambda: load_for(where, "test", say=False))
    which = choose_checkpoint(run, "auto")
    state = attempt("samples", lambda: load_state(run, machine, checkpoint=which))
    samples = None if state is None else _draw(state, config)
    near = None
    if samples is not None and dataset is not None:
        near = attempt("the nearest training images", lambda: nearest(samples, dataset, held_out))
    answers = []
    if dataset is not None and lines and (run / CHECKPOINT).exists():
        per_update = lines[-1]["seconds"] / max(1, lines[-1]["images"]) * config.images_per_step
        if per_update < LONGEST_UPDATE:
            answers = attempt("the tree", lambda: ask(load_state(run, machine), dataset, machine, per_update)) or []
        else:
            missing.append("the tree: an update takes too long on this machine.")
    num_images = None if dataset is None else len(dataset.images)
    found: dict[str, Any] = {"num_images": num_images, "answers": answers, "nearest": near}
    to_send = run.name if run.is_absolute() else run  # a page tells no place on a disk
    record = publishable({"config": config.to_dict(), "provenance": history, "missing": missing})
    changed, unchanged = settings(record["config"])
    shown = {} if samples is None or state is None else _shown(samples, state, which, config)
    measured = evaluated(lines)
    is_best = measured[-1] == best_of(measured) if measured else None
    side = min(pictures.WIDEST, pictures.COLUMNS * config.image_size)
    page = _render(
        name=run.absolute().name,
        summary=summary(record["config"], lines, num_images),
        advice=advise(to_send, config, lines, **found),
        missing=record["missing"],
        samples=shown,
        frames=grids,
        side=pictures.WIDEST,
        averaged=bool(config.ema_halflife_images),
        cropped=side // config.image_size if side < pictures.COLUMNS * config.image_size else 0,
        pixelated=config.image_size <= pictures.SMALL,
        charts=curves(lines, config),
        numbers=numbers(lines, config, compared),
        compared=compared is not None,
        has_best=is_best is False,
        is_best=is_best is True,
        pairs=None if near is None else _pairs(near, config),
        answers=answers,
        changed=changed,
        unchanged=unchanged,
        sessions=sessions(record["provenance"]),
        publishing=publishing(record["config"], near is not None),
    )
    return page, advise(run, config, lines, **found)


def _draw(state: State, config: Config) -> Tensor:
    """The samples that the command `sample` draws, (64, C, S, S)."""
    return sample(state.sampler, numbered_latents(slice(0, NUM_WATCHED), config.latent_size, seed=0))


def _shown(samples: Tensor, state: State, which: str, config: Config) -> dict[str, Any]:
    reason = ", which had the lowest Fréchet distance" if which == "best" else ""
    return {
        "picture": pictures.grid(samples, config),
        "side": max(pictures.WIDEST, pictures.COLUMNS * config.image_size),
        "alt": f"{len(samples)} samples in a grid",
        "caption": f"{len(samples)} samples of the {which} checkpoint, at {state.images:,} images{reason}. Nothing was "
        "selected: these are the first latents of seed 0.",
    }


def _pairs(near: Nearest, config: Config) -> dict[str, Any]:
    each = [
        {
            "sample": pictures.grid(near.samples[number : number + 1], config, 1),
            "image": pictures.grid(near.images[number : number + 1], config, 1),
            "share": f"{share:.1f}×",
        }
        for number, share in enumerate(near.shares)
    ]
    reading = (
        f"Left of each pair a sample, right the nearest of {near.num_images:,} training images, compared as "
        "thumbnails of 8 x 8 pixels of equal brightness and contrast. Below, how far they are apart, where 1× is how "
        "far a training image usually is from the "
        "one nearest to it. Well below 1× with the same picture on both sides means that the generator has learnt "
        "images by heart."
    )
    return {"each": each, "reading": reading}


def _render(**contents: Any) -> str:
    """The page. Whatever is no `Markup` is escaped, and has no letters that cannot be seen or turn the others round."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["flags"] = _flags
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html").render(
        style=Markup(style),
        script=Markup(script),
        script_hash=digest,
        version=__version__,
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        **contents,
    )


def _flags(text: str) -> Markup:
    """The text, escaped, with flags that no line breaks: `--a-flag` would otherwise end a line as `-`."""
    return Markup(re.sub(r"(--[a-z][a-z0-9-]*)", r'<span class="flag">\1</span>', str(escape(printable(text)))))
