"""Opens what was trained, a run or a copy that `export` has written, and says which of its states is taken."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dcgan_core import models, recorded
from dcgan_core.cli.flags import Which
from dcgan_core.config import Config, InvalidInput
from dcgan_core.runs.folder import choose_checkpoint
from dcgan_core.runtime import Device, choose_machine
from dcgan_core.train import load_state, read_metrics
from dcgan_core.train import sample as sample_images

BLOCK = 64  # latents that pass the generator together: always as many, so that rounding is the same for each image


@dataclass(frozen=True)
class Trained:
    """A generator to use, and where it comes from."""

    config: Config
    generator: models.Generator
    checkpoint: str  # best, last or copy
    images: int  # real images that it had seen

    def draw(self, latents: Tensor) -> Tensor:
        """Images (N, C, S, S) in [-1, 1] of the latents (N, latent_size); each is the same whichever others there are.

        The last block is filled up with zeros, whose images are thrown away.
        """
        blocks = []
        for block in latents.split(BLOCK):
            filled = torch.cat([block, block.new_zeros(BLOCK - len(block), block.shape[1])])
            blocks.append(sample_images(self.generator, filled, chunk=BLOCK)[: len(block)])
        return torch.cat(blocks)


def opened(run: Path, checkpoint: Which, device: Device) -> Trained:
    """The state that was asked for, on the device. Says on standard error which it is."""
    machine = choose_machine(device)
    if (run / "record.json").exists():
        if checkpoint != "auto":
            raise InvalidInput(
                f"checkpoint is {checkpoint!r}, but {str(run)!r} is a copy, which holds one state: leave it out."
            )
        copy = recorded.load(run.absolute())
        found = Trained(copy.config, copy.generator.to(machine.device), "copy", copy.images)
        print(f"an exported copy, at {found.images:,} images", file=sys.stderr)
        return found
    which = choose_checkpoint(run, checkpoint)
    state = load_state(run, machine, checkpoint=which)
    last = max((line["images"] for line in read_metrics(run)), default=state.images)
    other = f" (the last is at {last:,}: --checkpoint last)" if checkpoint == "auto" and last > state.images else ""
    print(f"the {which} checkpoint, at {state.images:,} images{other}", file=sys.stderr)
    return Trained(state.config, state.sampler, which, state.images)
