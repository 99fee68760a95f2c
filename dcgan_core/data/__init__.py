"""What a run learns from: data sets by name, folders of your own images, batches and latents drawn reproducibly."""

from dcgan_core.data.batches import Batches, Dataset, scale, unscale
from dcgan_core.data.folder import load_folder
from dcgan_core.data.named import NAMES, load, load_for, stacked_digits

__all__ = ["NAMES", "Batches", "Dataset", "load", "load_folder", "load_for", "scale", "stacked_digits", "unscale"]
