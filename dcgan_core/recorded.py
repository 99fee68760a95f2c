"""Small recorded runs that ship with the package: weights, metrics, samples over time, and who made them.

What takes longer than a reader wants to wait is shown from a recorded run. Each one is a folder that `export` makes
from a run folder: weights.safetensors (float16), samples.png (one row a moment, the same latents in each column),
record.json (config, metrics, provenance, evaluation) and MODEL_CARD.md. Both texts are written to be published: of an
absolute path they hold the last part only.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dcgan_core import models
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import unscale
from dcgan_core.metrics import judge_for
from dcgan_core.runs.card import check_record, exported_at, means, model_card, publishable
from dcgan_core.runs.continuing import moved
from dcgan_core.runs.files import PARTIAL
from dcgan_core.runs.folder import choose_checkpoint
from dcgan_core.runtime import choose_machine
from dcgan_core.train import NUM_WATCHED, State, draw_latents, load_state, read_metrics, sample

FOLDER = Path(__file__).parent / "recorded_runs"
NUM_COLUMNS = 16  # watched latents that are kept
NUM_MOMENTS = 12  # rows that are kept: the first, the last, and others at growing distances between


@dataclass(frozen=True)
class Recorded:
    """A run as it was. The networks are in eval mode, on the CPU; the generator is the averaged one."""

    name: str
    config: Config
    generator: models.Generator
    discriminator: models.Discriminator
    metrics: list[dict[str, Any]]  # the lines of metrics.jsonl
    samples: Tensor  # uint8 (moments, 16, C, S, S)
    samples_at: list[int]  # real images seen at each moment
    latents: Tensor  # (16, latent_size), which the samples were drawn from
    provenance: list[dict[str, Any]]  # one entry for each session of the run
    evaluation: dict[str, Any]
    images: int = 0  # real images that the networks had seen

    def caption(self) -> str:
        """One sentence on where the run comes from, for the caption of a figure."""
        seen, seconds = self.metrics[-1]["images"], self.metrics[-1]["seconds"]
        machines = dict.fromkeys(
            f"{session['device']}, {means(session)}, torch {session['torch']}" for session in self.provenance
        )
        return (
            f"Recorded run “{self.name}”: {seen:,} images in {seconds / 60:.0f} minutes on {'; then '.join(machines)}, "
            f"seed {self.config.seed}, {self.provenance[-1]['started'][:10]}."
        )


def names() -> list[str]:
    """The recorded runs that ship with this version."""
    return sorted(path.parent.name for path in FOLDER.glob("*/record.json"))


def load(name: str | Path) -> Recorded:
    """The recorded run of that name, or in that folder.

    Raises `InvalidInput` if there is none, or if its files do not fit each other; what they say about sizes is believed
    only as far as the weights in the file go.
    """
    folder = FOLDER / name if (FOLDER / name).is_dir() else Path(name)
    if not (folder / "record.json").exists():
        raise InvalidInput(f"there is no recorded run {str(name)!r}: choose one of {', '.join(names())}, or a folder.")
    record = _read_json(folder / "record.json")
    check_record(record, f"the recorded run {str(folder)!r}")
    try:
        config = Config.from_dict(record["config"])
    except TypeError as error:
        raise InvalidInput(f"the config of the recorded run {str(folder)!r} is damaged: get another copy.") from error
    generator, discriminator = _networks(config, _read_weights(folder / "weights.safetensors"))
    samples = _split(folder / "samples.png", len(record["samples_at"]), NUM_COLUMNS, config)
    latents = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)[:NUM_COLUMNS]
    return Recorded(
        name=folder.name,
        config=config,
        generator=generator,
        discriminator=discriminator,
        metrics=record["metrics"],
        samples=samples,
        samples_at=record["samples_at"],
        latents=latents,
        provenance=record["provenance"],
        evaluation=record["evaluation"],
        images=exported_at(record),
    )


def export(
    run: str | Path,
    folder: str | Path,
    *,
    checkpoint: Literal["auto", "best", "last"] = "auto",
    data: str | None = None,
    data_root: str | None = None,
) -> tuple[str, int]:
    """Writes a checkpoint of the run folder `run`, and how it came about, into the new folder `folder`.

    auto is the best checkpoint where there is one, else the last. The samples over time end with that checkpoint.
    `data` and `data_root` say where the data are now, if they have moved. Returns which checkpoint it is, and how many
    images it had seen. Nothing written says where on this disk anything is: of an absolute path, as of the data or in a
    command, the last part is left. Raises `InvalidInput` if the run lacks something, or if the folder exists or cannot
    be written; then nothing is left of it.
    """
    from torchvision.utils import save_image  # here: importing it takes as long as PyTorch

    run, folder = Path(run), Path(folder)
    if folder.exists():
        raise InvalidInput(f"{str(folder)!r} already exists: choose another folder, or delete it first.")
    which = choose_checkpoint(run, checkpoint)
    state = load_state(run, choose_machine("cpu", "float32"), checkpoint=which)
    config = state.config
    weights = {f"generator.{name}": value for name, value in state.sampler.state_dict().items()}
    weights |= {f"discriminator.{name}": value for name, value in state.discriminator.state_dict().items()}
    weights = {name: _half(value) for name, value in weights.items()}
    samples_at, rows = _growth(run, state)
    record = {
        "config": config.to_dict(),
        "checkpoint": {"which": which, "images": state.images},
        "samples_at": samples_at,
        "evaluation": {},
        "metrics": read_metrics(run),
        "provenance": _read_json(run / "provenance.json"),
    }
    check_record(record, f"the run {str(run)!r}")
    latents = draw_latents(2_000, config.latent_size, seed=1)
    record["evaluation"] = judge_for(moved(config, data, data_root)).report(sample(state.sampler, latents))
    record = publishable(record)
    ships = folder.absolute().parent.resolve() == FOLDER.resolve()
    with _appearing(folder) as new:
        save_file(weights, new / "weights.safetensors")
        save_image(torch.cat(rows).float() / 255, new / "samples.png", nrow=NUM_COLUMNS, padding=0)
        (new / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        card = model_card(folder.name, record, ships=ships)
        (new / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return which, state.images


def _growth(run: Path, state: State) -> tuple[list[int], list[Tensor]]:
    """When samples were saved until the state's moment, and those kept of them, uint8 (16, C, S, S) each; the last ones
    are the state's own.
    """
    paths = sorted(path for path in (run / "samples").glob("*.png") if re.fullmatch("[0-9]+", path.stem))
    if not paths:
        raise InvalidInput(f"{str(run)!r} has no sample grids in its folder samples: nothing shows how it grew.")
    config = state.config
    moments = [int(path.stem) for path in paths if int(path.stem) <= state.images]
    own = state.images not in moments
    chosen = _choose([path for path in paths if int(path.stem) in moments], NUM_MOMENTS - own)
    rows = [_split(path, 8, NUM_WATCHED // 8, config).flatten(0, 1)[:NUM_COLUMNS] for path in chosen]
    samples_at = [int(path.stem) for path in chosen]
    if own:
        latents = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)[:NUM_COLUMNS]
        rows.append(unscale(sample(state.sampler, latents)))
        samples_at.append(state.images)
    return samples_at, rows


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Inside, a folder of another name, which becomes `folder` in the end: either all of it is there, or nothing."""
    new = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        new.mkdir(parents=True)
        yield new
        new.replace(folder)
    except (OSError, SafetensorError) as error:
        raise InvalidInput(
            f"cannot write the copy {str(folder)!r} ({getattr(error, 'strerror', None) or error}): make room or choose "
            "another folder; nothing is left of it."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise InvalidInput(f"{str(path)!r} is missing or damaged: restore it from a copy of the run.") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, floating-point ones in float32."""
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InvalidInput(f"{str(path)!r} is missing or damaged: restore it from a copy of the run.") from error
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def _networks(config: Config, weights: dict[str, Tensor]) -> tuple[models.Generator, models.Discriminator]:
    """The two networks of `config` with these weights, in eval mode.

    They are first built without memory (on the device "meta") and compared with the weights: a config of a few bytes
    must not ask for more than there is.
    """
    try:
        with torch.device("meta"):
            expected = _named(models.build(config))
    except (AttributeError, TypeError, ValueError, OverflowError, RuntimeError) as error:  # odd types, huge sizes
        raise InvalidInput("no networks can be built from the recorded config: get another copy of the run.") from error
    shapes, found = ({name: value.shape for name, value in named.items()} for named in (expected, weights))
    if shapes != found or not all(bool(value.isfinite().all()) for value in weights.values()):
        raise InvalidInput("the recorded weights do not fit the recorded config, or are not finite: get another copy.")
    networks = models.build(config)
    for name, value in _named(networks).items():
        value.copy_(weights[name])
    for network in networks:
        network.eval()
    return networks


def _named(networks: tuple[models.Generator, models.Discriminator]) -> dict[str, Tensor]:
    """What the networks consist of, by names that begin with generator or discriminator."""
    pairs = zip(("generator", "discriminator"), networks, strict=True)
    return {f"{part}.{name}": value for part, network in pairs for name, value in network.state_dict().items()}


def _half(tensor: Tensor) -> Tensor:
    halved = tensor.half().contiguous() if tensor.is_floating_point() else tensor
    if not halved.isfinite().all():
        raise InvalidInput("a weight is not finite in half precision: this run has diverged, and is not worth a copy.")
    return halved


def _choose(paths: list[Path], at_most: int) -> list[Path]:
    """At most so many of the paths, denser at the start, where most happens."""
    if len(paths) <= at_most:
        return paths
    places = np.unique(np.geomspace(1, len(paths), at_most).round().astype(int)) - 1
    return [paths[place] for place in places]


def _split(path: Path, rows: int, columns: int, config: Config) -> Tensor:
    """A grid picture without padding as uint8 (rows, columns, C, S, S)."""
    size = config.image_size
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.size != (columns * size, rows * size):  # before its pixels are unpacked
                raise ValueError(f"it has {picture.width} x {picture.height} pixels")
            pixels = np.array(picture.convert("L" if config.num_channels == 1 else "RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(
            f"{str(path)!r} is not the grid of {rows} x {columns} samples that belongs to the run ({error}): "
            "restore it from a copy."
        ) from error
    return torch.from_numpy(pixels.reshape(rows, size, columns, size, config.num_channels)).permute(0, 2, 4, 1, 3)
