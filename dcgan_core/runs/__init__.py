"""What a run leaves behind: a folder with its checkpoints, and the journal that people read."""

from dcgan_core.runs.folder import BEST, CHECKPOINT, load_state, read_config
from dcgan_core.runs.journal import Journal, read_metrics

__all__ = ["BEST", "CHECKPOINT", "Journal", "load_state", "read_config", "read_metrics"]
