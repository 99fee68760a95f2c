"""The command line: inspect, train, resume, report, sample, interpolate, evaluate, export, benchmark, compare.

The flags of `train` are the fields of `Config`.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import tyro

from dcgan_core.benchmark.ladder import LossesDiffer
from dcgan_core.cli.drawing import interpolate, sample
from dcgan_core.cli.experiments import benchmark, compare
from dcgan_core.cli.hints import check_flags, check_one_place
from dcgan_core.cli.inspection import inspect as inspect_folder
from dcgan_core.cli.outcome import evaluate, export, report
from dcgan_core.cli.training import resume, train
from dcgan_core.config import RECIPES, Config, InvalidInput, first_line
from dcgan_core.parallel import NotJoined
from dcgan_core.runtime import process
from dcgan_core.train import CHECKPOINT, Diverged, Stopped


def main() -> int:
    """Runs the command line; the user's mistakes come out as one sentence, without a traceback."""
    rank = 0  # should the environment make no sense, each process says so
    warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}", rank)
    others = (inspect_folder, resume, report, sample, interpolate, evaluate, export, benchmark, compare)
    commands: dict[str, Callable[..., Any]] = {command.__name__: command for command in others}
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show
    try:
        rank, _ = process()
        commands = {"train": partial(train, config=_recipe(sys.argv[1:])), **commands}
        if len(sys.argv) > 2 and sys.argv[1] in commands:
            check_one_place(sys.argv[1], sys.argv[2:])
            check_flags(sys.argv[2:], partial(_has_flag, commands[sys.argv[1]]))
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m dcgan_core", description=__doc__)
    except (InvalidInput, Diverged, LossesDiffer) as error:
        _complain(f"error: {error}", 0 if isinstance(error, NotJoined) else rank)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _complain(f"error: out of memory ({first_line(error)}): choose a smaller batch, width or number.", rank)
        return 2
    except Stopped as stopped:
        _complain(f"stopped and saved: continue with 'resume' ({CHECKPOINT}).", rank)
        return 128 + stopped.number
    except KeyboardInterrupt:
        _complain("stopped.", rank)
        return 128 + signal.SIGINT
    return 0


def _has_flag(command: Callable[..., Any], flag: str) -> bool:
    """Whether the command knows the flag, by itself or with a value."""
    parameters = inspect.signature(command, eval_str=True).parameters
    known = {"help"}
    for name, parameter in parameters.items():
        kind = getattr(parameter.annotation, "__origin__", parameter.annotation)
        fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else None
        known |= {field.name for field in fields} if fields is not None else {name}
    name = flag.lstrip("-").replace("-", "_")
    return flag == "-h" or name in known or name.removeprefix("no_") in known


def _is_out_of_memory(error: Exception) -> bool:
    """True for Python's own error, that of a GPU, and that of torch's allocator on a CPU, which has no class."""
    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


def _recipe(arguments: list[str]) -> Config:
    """What the flags of `train` are filled in from, which has to be known before they are read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--recipe", nargs="?", default="default")
    name = parser.parse_known_args(arguments)[0].recipe
    return Config(**RECIPES.get(name, {}))  # `train` itself refuses a name that does not exist


def _complain(sentence: str, rank: int) -> None:
    """Of several processes, the first one speaks for all."""
    if rank == 0:
        print(sentence, file=sys.stderr)
