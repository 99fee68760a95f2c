"""Experiments that compare methods: data with known modes, many small GANs at once, and the recorded comparison."""

from dcgan_core.laboratory.comparison import compare
from dcgan_core.laboratory.ensemble import PointConfig
from dcgan_core.laboratory.mixtures import Mixture, ModeStatistics, grid, mode_statistics, ring
from dcgan_core.laboratory.outcomes import median_interval

__all__ = ["Mixture", "ModeStatistics", "PointConfig", "compare", "grid", "median_interval", "mode_statistics", "ring"]
