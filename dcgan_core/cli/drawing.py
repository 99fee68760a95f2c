"""The commands that draw: sample, interpolate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tyro.conf import Positional

from dcgan_core.cli.flags import Opened, Which, check_least, check_parent, check_seed
from dcgan_core.cli.opening import BLOCK, Trained, opened
from dcgan_core.config import InvalidInput
from dcgan_core.data import unscale
from dcgan_core.data.latents import numbered_latents
from dcgan_core.data.progress import progress_bar
from dcgan_core.data.walks import loop
from dcgan_core.runtime import Device, refuse_too_large

SCREEN = 256  # pixels that the side of a film has, or a little more: small images are magnified
FILMS = (".gif", ".webp", ".png")  # that Pillow writes with several frames
PAPER = 255  # grey level of the gaps in a picture


def sample(
    run: Positional[Opened],
    out: Path,
    num_images: int = 64,
    seed: int = 0,
    gap: int = 2,
    checkpoint: Which = "auto",
    device: Device = "auto",
) -> None:
    """Draw images from a trained generator into one picture, or into a folder of single files.

    Image number i of a seed is the same however many are drawn.

    Example: python -m dcgan_core sample runs/first --num-images 64 --out grid.png

    A folder, with one file per image: python -m dcgan_core sample runs/first --num-images 1000 --out samples/

    Args:
        out: Picture to write, for example grid.png; or, without an extension, a new folder for single files.
        num_images: Images to draw; in a picture, in rows of equal length.
        seed: Seed of the latents; another seed gives other images.
        gap: White pixels between the images of a picture.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        device: Where to compute; auto takes a GPU if there is one.
    """
    check_least("num_images", num_images, 1)
    check_least("gap", gap, 0)
    check_seed(seed)
    to_folder = out.is_dir() or not out.suffix
    if to_folder and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{str(out)!r} already exists and holds something: choose a new folder, or a picture.")
    if not to_folder:
        check_parent(out)
        if out.suffix.lower() not in Image.registered_extensions():
            raise InvalidInput(f"cannot write a picture {str(out)!r}: use a name such as grid.png, or a new folder.")
    trained = opened(run, checkpoint, device)
    if to_folder:
        _write_files(trained, out, num_images, seed)
        print(f"{num_images:,} images in {out}")
        return
    _refuse("num_images", num_images, trained)
    images = unscale(trained.draw(numbered_latents(slice(0, num_images), trained.config.latent_size, seed=seed)))
    from torchvision.utils import save_image  # here: importing it takes as long as PyTorch

    columns = math.ceil(math.sqrt(num_images))
    with _said(out):
        save_image(images.float() / 255, out, nrow=columns, padding=gap, pad_value=PAPER / 255)
    print(out)


def interpolate(
    run: Positional[Opened],
    out: Path,
    num_images: int = 16,
    num_stops: int = 5,
    frames_between: int = 16,
    frames_per_second: int = 20,
    seed: int = 0,
    checkpoint: Which = "auto",
    device: Device = "auto",
) -> None:
    """Draw a film in which each image changes into another, and in the end back into the first.

    Each image goes along the sphere from one latent to the next. The film begins with the images that `sample` draws
    from the same seed.

    Example: python -m dcgan_core interpolate runs/first --out walk.gif

    Args:
        out: Film to write: a name that ends in .gif, .webp or .png (an animated PNG).
        num_images: Images that change side by side.
        num_stops: Latents that each image passes through.
        frames_between: Frames from one of these to the next.
        frames_per_second: Speed of the film; many programs show no more than 50.
        seed: Seed of the latents; another seed gives other images.
        checkpoint: The best so far (lowest frechet_distance) or the last; auto is the best where there is one.
        device: Where to compute; auto takes a GPU if there is one.
    """
    check_least("num_images", num_images, 1)
    check_least("num_stops", num_stops, 2)
    check_least("frames_between", frames_between, 1)
    check_least("frames_per_second", frames_per_second, 1)
    check_seed(seed)
    if out.suffix.lower() not in FILMS:
        raise InvalidInput(
            f"out is {str(out)!r}, but a film is written as .gif, .webp or .png: choose such a name; for MP4, write "
            "walk.gif first, and convert it with ffmpeg -i walk.gif walk.mp4."
        )
    check_parent(out)
    trained = opened(run, checkpoint, device)
    _refuse("the number of images in all frames", num_images * num_stops * frames_between, trained)
    stops = torch.stack(
        [
            numbered_latents(slice(0, num_images), trained.config.latent_size, seed=(seed + stop) % 2**32)
            for stop in range(num_stops)
        ]
    )  # (S, N, latent_size)
    latents = loop(stops, frames_between)  # (F, N, latent_size)
    frames = [_frame(trained.draw(moment)) for moment in latents]
    with _said(out):
        duration = round(1000 / frames_per_second)
        frames[0].save(out, save_all=True, append_images=frames[1:], duration=duration, loop=0)
    print(f"{len(frames)} frames, {len(frames) / frames_per_second:.1f} s: {out}")


def _frame(images: Tensor) -> Image.Image:
    """The images (N, C, S, S) in [-1, 1] in one picture, magnified until they can be seen."""
    from torchvision.utils import make_grid  # here: importing it takes as long as PyTorch

    grid = make_grid(unscale(images), nrow=math.ceil(math.sqrt(len(images))), padding=2, pad_value=PAPER)
    picture = Image.fromarray(grid.permute(1, 2, 0).contiguous().numpy())
    times = max(1, -(-SCREEN // max(picture.size)))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def _write_files(trained: Trained, folder: Path, num_images: int, seed: int) -> None:
    """One file for each image, named after its number; no more than a block of them is in memory at a time."""
    with _said(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with progress_bar("drawing", total=num_images, shown=num_images > 10 * BLOCK) as bar:
        for start in range(0, num_images, BLOCK):
            rows = slice(start, min(start + BLOCK, num_images))
            images = unscale(trained.draw(numbered_latents(rows, trained.config.latent_size, seed=seed)))
            with _said(folder):
                for number, image in enumerate(images, start):
                    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0).contiguous()  # (S, S[, 3])
                    Image.fromarray(pixels.numpy()).save(folder / f"{number:06}.png")
            bar.update(len(images))


def _refuse(what: str, number: int, trained: Trained) -> None:
    """Raises `InvalidInput` if so many images need more than all memory."""
    config = trained.config
    num_bytes = 4 * number * (config.latent_size + 3 * config.num_channels * config.image_size**2)
    refuse_too_large(f"{what} is {number}", num_bytes, torch.device("cpu"))


@contextmanager
def _said(out: Path) -> Iterator[None]:
    """Whatever cannot be written is one sentence. Pillow knows endings that it can only read: a ValueError."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"cannot write all of {str(out)!r} ({getattr(error, 'strerror', None) or error}): delete what is there of "
            "it, and make room or choose another place."
        ) from error
