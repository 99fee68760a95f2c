"""How fast the training loop is, from a tutorial's loop to the fastest here, and what a GPU is worth in all."""

from dcgan_core.benchmark.ladder import LossesDiffer
from dcgan_core.benchmark.timing import measure, pictures, table

__all__ = ["LossesDiffer", "measure", "pictures", "table"]
