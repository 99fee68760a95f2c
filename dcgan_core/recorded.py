"""Small recorded runs that ship with the package: weights, metrics, samples over time, and who made them.

What takes longer than a reader wants to wait is shown from a recorded run. Each one is a folder that `export` makes
from a run folder: weights.safetensors (float16), samples.png (one row a moment, the same latents in each column),
record.json (config, metrics, provenance, evaluation) and MODEL_CARD.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.utils import save_image

from dcgan_core import models
from dcgan_core.config import Config, InvalidInput
from dcgan_core.metrics import judge_for
from dcgan_core.runtime import choose_machine
from dcgan_core.train import NUM_WATCHED, draw_latents, load_state, read_metrics, sample

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

    def caption(self) -> str:
        """One sentence on where the run comes from, for the caption of a figure."""
        last = self.provenance[-1]
        seen, seconds = self.metrics[-1]["images"], self.metrics[-1]["seconds"]
        return (
            f"Recorded run “{self.name}”: {seen:,} images in {seconds / 60:.0f} minutes on {last['device']}, "
            f"{_means(self.provenance)}, torch {last['torch']}, seed {self.config.seed}, {last['started'][:10]}."
        )


def names() -> list[str]:
    """The recorded runs that ship with this version."""
    return sorted(path.parent.name for path in FOLDER.glob("*/record.json"))


def load(name: str | Path) -> Recorded:
    """The recorded run of that name, or in that folder. Raises `InvalidInput` if there is none."""
    folder = FOLDER / name if (FOLDER / name).is_dir() else Path(name)
    if not (folder / "record.json").exists():
        raise InvalidInput(f"there is no recorded run {str(name)!r}: choose one of {', '.join(names())}, or a folder.")
    record = json.loads((folder / "record.json").read_text())
    config = Config.from_dict(record["config"])
    generator, discriminator = models.build(config)
    weights = load_file(folder / "weights.safetensors")
    for prefix, network in (("generator.", generator), ("discriminator.", discriminator)):
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in own.items()}
        )
        network.eval()
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
    )


def export(run: str | Path, folder: str | Path) -> None:
    """Writes the last checkpoint of the run folder `run`, and how it came about, into the new folder `folder`."""
    run, folder = Path(run), Path(folder)
    if folder.exists():
        raise InvalidInput(f"{str(folder)!r} already exists: choose another folder, or delete it first.")
    state = load_state(run, choose_machine("cpu", "float32"))
    config = state.config
    weights = {f"generator.{name}": value for name, value in state.sampler.state_dict().items()}
    weights |= {f"discriminator.{name}": value for name, value in state.discriminator.state_dict().items()}
    grids = _choose(sorted((run / "samples").glob("*.png")))
    if not grids:
        raise InvalidInput(f"{str(run)!r} has no sample grids in its folder samples: nothing shows how it grew.")
    rows = [_split(path, 8, NUM_WATCHED // 8, config).flatten(0, 1)[:NUM_COLUMNS] for path in grids]
    latents = draw_latents(2_000, config.latent_size, seed=1)
    record = {
        "config": config.to_dict(),
        "samples_at": [int(path.stem) for path in grids],
        "evaluation": judge_for(config).report(sample(state.sampler, latents)),
        "metrics": read_metrics(run),
        "provenance": json.loads((run / "provenance.json").read_text()),
    }
    folder.mkdir(parents=True)
    save_file(
        {name: _half(value) for name, value in weights.items()},
        folder / "weights.safetensors",
    )
    save_image(torch.cat(rows).float() / 255, folder / "samples.png", nrow=NUM_COLUMNS, padding=0)
    (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "MODEL_CARD.md").write_text(model_card(folder.name, config, record))


def model_card(name: str, config: Config, record: dict[str, Any]) -> str:
    """What a stranger must know before using the weights (Mitchell et al. 2019, arXiv:1810.03993), as Markdown."""
    measured, last = record["evaluation"], record["provenance"][-1]
    lines = [
        f"# Model card: {name}",
        "",
        f"A DCGAN of {config.image_size} x {config.image_size} pixels and {config.channels} channel"
        f"{'s' if config.channels > 1 else ''}, recorded for the book *Deep Convolutional GANs in Practice*.",
        "",
        f"- **Data**: {config.data}; labels were not used in training.",
        f"- **Training**: {record['metrics'][-1]['images']:,} real images, {record['metrics'][-1]['seconds'] / 60:.0f} "
        f"minutes on {last['device']} ({_means(record['provenance'])}), torch {last['torch']}, seed {config.seed}, "
        f"{last['started'][:10]}.",
        f"- **Made by**: `{last['command']}`, then `python -m dcgan_core export`.",
        f"- **Measured** on {measured['num_samples']:,} samples against {measured['num_reference']:,} held-out images "
        f"({measured['features']}): Fréchet distance {measured['frechet_distance']:.1f}"
        + (
            f", {measured['classes_covered']} of {measured['num_classes']} classes covered, "
            f"{measured['recognised']:.0%} of the samples recognised."
            if measured["num_classes"]
            else "."
        ),
        "- **Meant for**: teaching, and for comparing methods at this size. One seed; nothing was selected by hand.",
        "- **Not meant for**: producing images that are taken for real ones, or judging other generators.",
        "- **Licence**: MIT, as the code; the images that it makes may be used freely.",
        "",
    ]
    return "\n".join(lines)


def _means(sessions: list[dict[str, Any]]) -> str:
    """Precision, compiler and CUDA graph of a run: what happened, in each session that differs from the one before."""
    found: list[str] = []
    for session in sessions:
        means = [session["precision"]]
        means += ["compiled"] * bool(session.get("compiled"))
        means += ["iterations as a CUDA graph"] * bool(session.get("captured"))
        if found[-1:] != [", ".join(means)]:
            found.append(", ".join(means))
    return ", then ".join(found)


def _half(tensor: Tensor) -> Tensor:
    return tensor.half().contiguous() if tensor.is_floating_point() else tensor


def _choose(paths: list[Path]) -> list[Path]:
    """At most `NUM_MOMENTS` of the paths, denser at the start, where most happens."""
    if len(paths) <= NUM_MOMENTS:
        return paths
    places = np.unique(np.geomspace(1, len(paths), NUM_MOMENTS).round().astype(int)) - 1
    return [paths[place] for place in places]


def _split(path: Path, rows: int, columns: int, config: Config) -> Tensor:
    """A grid picture without padding as uint8 (rows, columns, C, S, S)."""
    pixels = np.array(Image.open(path).convert("L" if config.channels == 1 else "RGB"))
    size = config.image_size
    return torch.from_numpy(pixels.reshape(rows, size, columns, size, config.channels)).permute(0, 2, 4, 1, 3)
