"""The command line: one room for each group of commands, and the program that calls them."""

from dcgan_core.cli.program import main

__all__ = ["main"]
