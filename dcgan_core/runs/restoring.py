"""Puts what a checkpoint holds back into the state of a run."""

from __future__ import annotations

import torch
from torch import Tensor

from dcgan_core.state import State, seed_process


def restore(state: State, tensors: dict[str, Tensor], step: int, rank: int = 0) -> None:
    """Makes `state` what it was when its `State.tensors` were saved, at iteration `step`, in the process `rank`."""
    for name in ("generator", "discriminator", "average"):
        getattr(state, name).load_state_dict(_below(name, tensors))
        if name != "average":
            _restore_optimizer(getattr(state, f"{name}_optimizer"), _below(f"{name}_optimizer", tensors))
    if state.scaler and "scaler.scale" in tensors:  # not there if the run was trained in another precision so far
        restored = {key: value.item() for key, value in _below("scaler", tensors).items()}
        state.scaler.load_state_dict(state.scaler.state_dict() | restored)
    state.latent_rng.set_state(tensors["latent_rng"])
    own = tensors if rank == 0 else _below(f"process_{rank}", tensors)
    if own:
        torch.set_rng_state(own["torch_rng"])
        if "cuda_rng" in own and torch.cuda.is_available():
            torch.cuda.set_rng_state(own["cuda_rng"])
    else:  # a process more than when the checkpoint was saved
        seed_process(state.config, rank, step)
    state.step = step


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Gives each moment the device and memory layout of its parameter, which the fused update relies on."""
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        for key, value in _below(str(index), tensors).items():
            like = parameter if value.shape == parameter.shape else value.to(parameter.device)
            optimizer.state[parameter][key] = torch.empty_like(like, dtype=value.dtype).detach().copy_(value)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}
