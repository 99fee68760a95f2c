"""For the notebooks only, never imported by the rest: figures and their style, budgets, exercise checks."""

from dcgan_core.teaching.budget import budget
from dcgan_core.teaching.exercises import Verdict
from dcgan_core.teaching.plots import book_style, image_grid, show_images

__all__ = ["Verdict", "book_style", "budget", "image_grid", "show_images"]
