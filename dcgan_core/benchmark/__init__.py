"""How fast the training loop is: the same losses from a tutorial's loop to the fastest here, timed in turns."""

from dcgan_core.benchmark.ladder import LossesDiffer
from dcgan_core.benchmark.timing import measure, pictures, table

__all__ = ["LossesDiffer", "measure", "pictures", "table"]
