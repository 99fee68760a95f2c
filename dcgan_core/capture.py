"""The whole iteration recorded once as a CUDA graph and replayed: one launch instead of hundreds.

A graph repeats the same kernels on the same memory. So whatever differs between iterations (`iteration.Inputs`) is
copied into fixed tensors before each replay, and everything else stays where it was when the graph was recorded.
Recording needs a few iterations of warm-up, whose effects are undone.

Source for the recipe: the PyTorch notes "CUDA semantics", section "CUDA Graphs" (whole-network capture).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor

from dcgan_core.iteration import Inputs, iterate, prepare
from dcgan_core.iteration import advance as eager_advance
from dcgan_core.runtime import Machine
from dcgan_core.state import State, random_states

NUM_WARMUPS = 3
Losses = tuple[Tensor, Tensor]
Record = Callable[[Callable[[], Losses], Callable[[], None]], tuple[Callable[[], None], Losses]]


def record_cuda_graph(iteration: Callable[[], Losses], undo: Callable[[], None]) -> tuple[Callable[[], None], Losses]:
    """Warms up, undoes it, and records `iteration`; returns what replays it and the tensors it leaves its losses in."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # autograd and the libraries must not meet the default stream first in the recording
        for _ in range(NUM_WARMUPS):
            iteration()
    torch.cuda.current_stream().wait_stream(side)
    undo()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # records only; nothing is computed yet
        losses = iteration()
    return graph.replay, losses


def capture(
    state: State, machine: Machine, record: Record = record_cuda_graph
) -> Callable[[State, Tensor, Machine], Losses]:
    """A function that does what `iteration.advance` does, for this state alone, by replaying a recording.

    The two losses that it returns are overwritten by its next call. Where recording fails, the state is put back, a
    warning says so, and the function is `advance` itself.
    """
    config = state.config
    shape = (config.channels, config.image_size, config.image_size)
    inputs = Inputs(
        real=torch.zeros(config.images_per_step, *shape, device=machine.device),
        latents=torch.zeros(config.images_per_step, config.latent_size, device=machine.device),
        decay=torch.zeros((), device=machine.device),
        gamma_share=torch.zeros((), device=machine.device),
        rate_share=torch.zeros((), device=machine.device),
        noise=torch.zeros((), device=machine.device),
    )
    undo = snapshot(state)
    inputs.real.uniform_(-1, 1)  # plausible values for the warm-up
    inputs.latents.normal_()
    try:
        replay, losses = record(lambda: iterate(state, inputs, machine), undo)
    except RuntimeError as error:
        undo()
        reason = str(error).splitlines()[0]
        warnings.warn(f"the iteration could not be captured ({reason}): training without.", stacklevel=2)
        return eager_advance

    def advance(of: State, batch: Tensor, on: Machine) -> Losses:
        assert of is state and on is machine, "a recording belongs to the state it was made with"
        inputs.become(prepare(state, batch, machine))
        replay()
        return losses

    return advance


def snapshot(state: State) -> Callable[[], None]:
    """Remembers everything that iterations change; returns the function that puts it back, in place.

    What the optimizers create meanwhile (their moments, before the first step) is set to 0, which is how they start.
    """
    before = [(tensor, tensor.clone()) for tensor in _changing(state)]
    numbers = random_states()
    scale = state.scaler.state_dict() if state.scaler else {}

    @torch.no_grad()
    def undo() -> None:
        for tensor, value in before:
            tensor.copy_(value)
        known = {id(tensor) for tensor, _ in before}
        for tensor in _changing(state):
            if id(tensor) not in known:
                tensor.zero_()
        for network in (state.generator, state.discriminator):
            network.zero_grad(set_to_none=True)
        torch.set_rng_state(numbers["torch_rng"])
        if "cuda_rng" in numbers:
            torch.cuda.set_rng_state(numbers["cuda_rng"])
        if state.scaler:
            state.scaler.load_state_dict(scale)

    return undo


def _changing(state: State) -> list[Tensor]:
    """The tensors themselves (not copies or views) that an iteration changes."""
    networks = (state.generator, state.discriminator, state.average)
    optimizers = (state.generator_optimizer, state.discriminator_optimizer)
    moments = (entry.values() for optimizer in optimizers for entry in optimizer.state.values())
    return [
        *chain.from_iterable(chain(network.parameters(), network.buffers()) for network in networks),
        *chain(*moments),
    ]
