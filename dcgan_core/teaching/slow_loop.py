"""A small training run whose pieces can be put together well or badly: what the last exercises of chapter 17 mend."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dcgan_core.config import Config
from dcgan_core.data import glyphs, scale
from dcgan_core.iteration import advance
from dcgan_core.metrics import frechet_distance, moments
from dcgan_core.runtime import choose_machine
from dcgan_core.state import draw_latents, sample, start
from dcgan_core.teaching.chapter_17_measuring import part
from dcgan_core.teaching.plots import image_grid

CONFIG = Config(
    channels=1, image_size=16, latent_size=16, generator_width=8, discriminator_width=8, batch_size=16, seed=17
)
NUM_FILES, FILE_SIZE = 48, 256
NUM_JUDGED, NUM_DRAWN = 300, 16


class Bench:
    """Files, networks and tools of one run, which always starts alike. `count` says how often each tool was used."""

    def __init__(self) -> None:
        self.machine = choose_machine("cpu", "float32")
        self.state = start(CONFIG, self.machine)
        drawn = glyphs.render(NUM_FILES, image_size=CONFIG.image_size, seed=CONFIG.seed).images
        self.files = [_large_file(image[0]) for image in drawn]  # PNG, as a camera would leave them: large
        self.reference = moments(scale(torch.from_numpy(drawn)).flatten(1))
        self.latents = draw_latents(NUM_JUDGED, CONFIG.latent_size, seed=CONFIG.seed)
        self.count: Counter[str] = Counter()
        self.used_at: dict[str, int] = {}  # tool to the number of updates before its last use

    def rows(self, step: int) -> list[int]:
        """The numbers of the files that this step trains on."""
        rng = torch.Generator().manual_seed(step)
        return torch.randperm(NUM_FILES, generator=rng)[: CONFIG.batch_size].tolist()

    def decode(self, file: bytes) -> Tensor:
        """The picture in a file, small: (1, 16, 16) in [-1, 1]."""
        self._note("decode")
        with Image.open(io.BytesIO(file)) as picture:
            small = picture.resize((CONFIG.image_size, CONFIG.image_size), Image.Resampling.BOX)
        return scale(torch.from_numpy(np.array(small)[None]))

    def update(self, real: Tensor) -> Tensor:
        """One iteration on real images (16, 1, 16, 16): both losses before it, (2,), still on the device."""
        self._note("update")
        return torch.stack(advance(self.state, real, self.machine))

    def evaluate(self) -> float:
        """How far samples are from the training images: the Fréchet distance of their pixels. It changes nothing."""
        self._note("evaluate")
        return frechet_distance(moments(sample(self.state.average, self.latents).flatten(1)), self.reference)

    def draw(self) -> bytes:
        """A picture of some samples, as PNG. It changes nothing."""
        self._note("draw")
        figure = Figure(figsize=(4, 4))
        axes = figure.subplots()
        axes.imshow(image_grid(sample(self.state.average, self.latents[:NUM_DRAWN]), 4), cmap="gray")
        axes.set_title(f"after {self.count['update']} updates")
        file = io.BytesIO()
        FigureCanvasAgg(figure).print_png(file)
        return file.getvalue()

    def _note(self, tool: str) -> None:
        self.count[tool] += 1
        self.used_at[tool] = self.count["update"]


def _large_file(pixels: np.ndarray) -> bytes:
    picture = Image.fromarray(pixels).resize((FILE_SIZE, FILE_SIZE), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def slow_loop(bench: Bench, num_steps: int) -> tuple[list[list[float]], float]:
    """Losses of all steps, and the distance at the end; with three waits that nobody needs."""
    losses = []
    for step in range(num_steps):
        with part("read"):
            files = [bench.files[row] for row in bench.rows(step)]
            real = torch.stack([bench.decode(file) for file in files])
        with part("update"):
            loss = bench.update(real)
        with part("losses"):
            losses.append(loss.tolist())
        with part("evaluate"):
            score = bench.evaluate()
        with part("draw"):
            bench.draw()
    return losses, score
