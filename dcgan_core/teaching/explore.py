"""A live explorer of your own generator's latent space, for Jupyter and Colab."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from dcgan_core.config import InvalidInput
from dcgan_core.models import Generator
from dcgan_core.teaching.plots import image_grid, magnified
from dcgan_core.teaching.walks import linear, spherical
from dcgan_core.train import draw_latents, sample

WAYS = {"linear": linear, "spherical": spherical}
STEPS = 9  # images on the way from A to B
REACH = 4.0  # how far a slider goes, each way
SIDE = 192  # pixels of the large image, about


def explore(
    generator: Generator, directions: Mapping[str, Tensor] | None = None, *, num_directions: int = 4, seed: int = 0
) -> Explorer:
    """Shows sliders and buttons that move a latent of `generator` and draw its image, in Jupyter or Colab.

    `directions` maps names to vectors (latent_size,); without it there are `num_directions` random ones at right
    angles to each other. Every slider adds its direction, at length 1, so many times. Raises `InvalidInput` for
    vectors of another size or of length 0, and ModuleNotFoundError where ipywidgets is missing.
    """
    size = generator.latent_size
    if directions is None:
        if not 1 <= num_directions <= size:
            raise InvalidInput(f"num_directions is {num_directions}: choose 1 to {size}, the size of a latent.")
        basis, _ = torch.linalg.qr(draw_latents(num_directions, size, seed=seed).T)
        directions = {f"chance {number}": basis[:, number - 1] for number in range(1, num_directions + 1)}
    for name, vector in directions.items():
        if vector.shape != (size,) or not vector.isfinite().all() or not vector.any():
            raise InvalidInput(f"direction {name!r} must be {size} finite numbers, not all 0: as many as a latent has.")
    return Explorer(generator, {name: normalize(vector.float(), dim=0) for name, vector in directions.items()}, seed)


class Explorer:
    """The controls, as attributes, and what they show. `explore` makes one; as the last line of a cell it is drawn."""

    def __init__(self, generator: Generator, directions: Mapping[str, Tensor], seed: int) -> None:
        widgets = _ipywidgets()
        self.generator = generator
        self.directions = directions
        self._seed = seed
        self.base = self._draw()
        self.ends = {"A": self.base, "B": self._draw()}
        self.sliders = {
            name: widgets.FloatSlider(description=name, min=-REACH, max=REACH, step=0.1) for name in directions
        }
        self.surprise, self.middle, self.keep_a, self.keep_b = (
            widgets.Button(description=text) for text in ("Surprise me", "Back to the middle", "Keep as A", "Keep as B")
        )
        self.way = widgets.ToggleButtons(options=list(WAYS), value="spherical")
        self.share = widgets.FloatSlider(description="A to B", min=0.0, max=1.0, step=0.01, value=0.5)
        self.image, self.strip, self.mixture = (widgets.Image(format="png") for _ in range(3))
        for slider in self.sliders.values():
            slider.observe(lambda _: self._show_image(), names="value")
        for control in (self.way, self.share):
            control.observe(lambda _: self._show_way(), names="value")
        self.surprise.on_click(lambda _: self._start(self._draw()))
        self.middle.on_click(lambda _: self._start(self.base))
        self.keep_a.on_click(lambda _: self._keep("A"))
        self.keep_b.on_click(lambda _: self._keep("B"))
        buttons = widgets.HBox([self.surprise, self.middle, self.keep_a, self.keep_b])
        top = widgets.HBox([self.image, widgets.VBox(list(self.sliders.values()))])
        between = widgets.HBox([self.mixture, widgets.VBox([self.way, self.share, self.strip])])
        self.box = widgets.VBox([top, buttons, between])
        self._show_image()
        self._show_way()

    @property
    def latent(self) -> Tensor:
        """The latent of the large image, (latent_size,)."""
        return self.base + sum(slider.value * self.directions[name] for name, slider in self.sliders.items())

    def between(self, share: float) -> Tensor:
        """The latent at this share of the way from A to B, (latent_size,), by the way that is chosen."""
        return WAYS[self.way.value](self.ends["A"], self.ends["B"], share)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def _draw(self) -> Tensor:
        """Another latent each time, and the same ones again for the same seed."""
        self._seed += 1
        return draw_latents(1, self.generator.latent_size, seed=self._seed)[0]

    def _start(self, base: Tensor) -> None:
        self.base = base
        for slider in self.sliders.values():
            slider.value = 0.0
        self._show_image()

    def _keep(self, end: str) -> None:
        self.ends[end] = self.latent
        self._show_way()

    def _show_image(self) -> None:
        self.image.value = self._png([self.latent], SIDE)

    def _show_way(self) -> None:
        self.mixture.value = self._png([self.between(self.share.value)], SIDE // 2)
        self.strip.value = self._png([self.between(step / (STEPS - 1)) for step in range(STEPS)], SIDE // 4)

    def _png(self, latents: list[Tensor], side: int) -> bytes:
        """The images of the latents side by side, each about `side` pixels large, as a PNG file."""
        grid = image_grid(sample(self.generator, torch.stack(latents)), len(latents))
        file = io.BytesIO()
        Image.fromarray(magnified(grid, max(1, side // grid.shape[0]))).save(file, format="PNG")
        return file.getvalue()


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("explore needs ipywidgets: run `pip install ipywidgets` and restart.") from error
    return ipywidgets
