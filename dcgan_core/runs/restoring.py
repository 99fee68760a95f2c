"""Puts what a checkpoint holds back into the state of a run, after everything about it has been checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dcgan_core.config import InvalidInput
from dcgan_core.state import State, mixed_seed, seed_process

NETWORKS = ("generator", "discriminator", "average")
MOMENTS = ("exp_avg", "exp_avg_sq")
SCALER = {"scale": torch.float32, "_growth_tracker": torch.int64}
PROCESS = re.compile(r"(process_[1-9]\d{0,4}\.)?(torch_rng|cuda_rng)")


def restore(state: State, tensors: dict[str, Tensor], step: int, rank: int = 0) -> list[str]:
    """Makes `state` what it was when its `State.tensors` were saved, at iteration `step`, in the process `rank`.

    A checkpoint belongs to no machine: random numbers that cannot go on here, since they were drawn on another kind of
    device, start again from seed and step. Returns which, as words; usually none.

    Raises `InvalidInput`, before anything is changed, for a tensor that is missing or unknown, has another shape or
    type than the state needs, or holds what cannot be: a number that is not finite, a negative mean of squares.
    """
    check(state, tensors)
    for name in NETWORKS:
        getattr(state, name).load_state_dict(_below(name, tensors))
        if name != "average":
            _restore_optimizer(getattr(state, f"{name}_optimizer"), _below(f"{name}_optimizer", tensors))
    if state.scaler and "scaler.scale" in tensors:  # not there if the run was trained in another precision so far
        restored = {key: value.item() for key, value in _below("scaler", tensors).items()}
        state.scaler.load_state_dict(state.scaler.state_dict() | restored)
    state.step = step
    return list(_restore_random_numbers(state, tensors, rank))


def _restore_random_numbers(state: State, tensors: dict[str, Tensor], rank: int) -> Iterator[str]:
    """Puts the states of random numbers back, and names those that have to start again."""
    own = tensors if rank == 0 else _below(f"process_{rank}", tensors)
    on_cuda = next(state.generator.parameters()).is_cuda
    seed_process(state.config, rank, state.step)  # for all that is not put back below
    if own:  # else a process more than when the checkpoint was saved
        torch.set_rng_state(own["torch_rng"])
        if on_cuda and "cuda_rng" in own:
            torch.cuda.set_rng_state(own["cuda_rng"])
        elif on_cuda or "cuda_rng" in own:
            yield "dropout and other random numbers of the device"
    if tensors["latent_rng"].shape == state.latent_rng.get_state().shape:
        state.latent_rng.set_state(tensors["latent_rng"])
    else:  # drawn on a GPU, as older versions did
        state.latent_rng.manual_seed(mixed_seed(state.config.seed, state.step))
        yield "latents"


def check(state: State, tensors: dict[str, Tensor]) -> None:
    """Raises `InvalidInput`, in one sentence, unless `tensors` are what `restore` can put into `state`."""
    expected = dict(_expected(state, tensors))
    random = {name for name in tensors if PROCESS.fullmatch(name)} | {"torch_rng", "latent_rng"}
    if missing := sorted((set(expected) | random) - set(tensors)):
        raise InvalidInput(f"{_some(missing)} {_is(missing)} missing.")
    if unknown := sorted(set(tensors) - set(expected) - random):
        raise InvalidInput(f"{_some(unknown)} {_is(unknown)} not known.")
    for name, (shape, dtype) in expected.items():
        found = tensors[name]
        if found.shape != shape or found.dtype != dtype:
            raise InvalidInput(
                f"{name} is {_name(found.dtype)} {tuple(found.shape)}, but must be {_name(dtype)} {tuple(shape)}."
            )
        _check_values(name, found)
    for name in sorted(random):
        _check_generator(name, tensors[name])


def _expected(state: State, tensors: dict[str, Tensor]) -> Iterator[tuple[str, tuple[torch.Size, torch.dtype]]]:
    """Names of the tensors that `state` needs, with shape and type. Moments are there for all parameters or for none
    (a run that was saved before its first step), the scaler's values in float16 only.
    """
    for name in NETWORKS:
        network: nn.Module = getattr(state, name)
        yield from ((f"{name}.{key}", (value.shape, value.dtype)) for key, value in network.state_dict().items())
        if name == "average" or not any(key.startswith(f"{name}_optimizer.") for key in tensors):
            continue
        for index, parameter in enumerate(getattr(state, f"{name}_optimizer").param_groups[0]["params"]):
            prefix = f"{name}_optimizer.{index}"
            yield f"{prefix}.step", (torch.Size([]), torch.float32)
            yield from ((f"{prefix}.{moment}", (parameter.shape, parameter.dtype)) for moment in MOMENTS)
    if any(name.startswith("scaler.") for name in tensors):
        yield from ((f"scaler.{key}", (torch.Size([]), dtype)) for key, dtype in SCALER.items())


def _check_values(name: str, tensor: Tensor) -> None:
    if not bool(tensor.isfinite().all()):
        raise InvalidInput(f"{name} holds values that are not finite.")
    never_negative = ("exp_avg_sq", "step", "running_var", "num_batches_tracked", "_growth_tracker")
    if name.rpartition(".")[2] in never_negative and bool((tensor < 0).any()):
        raise InvalidInput(f"{name} holds negative values.")
    if name == "scaler.scale" and not tensor > 0:
        raise InvalidInput(f"{name} is {float(tensor)}, but must be more than 0.")


def _check_generator(name: str, state: Tensor) -> None:
    """Lets a generator try the state, if it is one of the CPU's: only torch knows which states there are.

    A state of the CPU's is longer than 1,000 bytes, one of a GPU's shorter than 100.
    """
    of_cpu = state.numel() > 1_000
    fits = state.dtype == torch.uint8 and state.ndim == 1 and 8 <= len(state) <= 10_000
    try:
        if not fits or (name.endswith("torch_rng") and not of_cpu):
            raise RuntimeError
        if of_cpu:
            torch.Generator().set_state(state)
    except RuntimeError as error:
        raise InvalidInput(f"{name} is no state of random numbers.") from error


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Gives each moment the device and memory layout of its parameter, which the fused update relies on."""
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        for key, value in _below(str(index), tensors).items():
            like = parameter if value.shape == parameter.shape else value.to(parameter.device)
            optimizer.state[parameter][key] = torch.empty_like(like, dtype=value.dtype).detach().copy_(value)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name)[1:-1] for name in names[:most]) + more


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def all_finite(tensors: dict[str, Tensor]) -> bool:
    """True if no tensor holds infinity or NaN. Waits for the device, once."""
    found = [tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point()]
    return not found or bool(torch.stack([one.to(found[0].device) for one in found]).all())
