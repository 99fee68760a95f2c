"""The whole iteration recorded once as a CUDA graph and replayed: one launch instead of hundreds.

A graph repeats the same kernels on the same memory. So whatever differs between iterations (`iteration.Inputs`) is
copied into fixed tensors before each replay, and everything else stays where it was when the graph was recorded.
Recording needs a few iterations of warm-up, whose effects are undone. Random numbers of the default generator (dropout,
the penalty's points) go on from replay to replay as they do without a graph, since PyTorch counts them.

Sources for the recipe: the PyTorch notes "CUDA semantics", section "CUDA Graphs" (whole-network capture), and
`torch.cuda.make_graphed_callables`, which warms up on the stream that it records on.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dcgan_core.config import CHANNELS, Config, InvalidInput
from dcgan_core.iteration import Inputs, advance, iterate, prepare
from dcgan_core.runtime import Machine, name_of
from dcgan_core.state import State, random_states, start

NUM_WARMUPS = 3
NUM_BLOCKS, BLOCK_SECONDS, MOST_ITERATIONS = 5, 0.1, 50  # of measuring a precision: half a second for each
Losses = tuple[Tensor, Tensor]
Step = Callable[[State, Tensor, Machine], Losses]  # as `iteration.advance`
Record = Callable[[Callable[[], Losses], Callable[[], None]], tuple[Callable[[], None], Losses]]


class Unavailable(InvalidInput):
    """What was asked for failed on this machine; `cause` is PyTorch's first word on it."""

    def __init__(self, sentence: str, cause: str) -> None:
        super().__init__(sentence)
        self.cause = cause


class Way(NamedTuple):
    """How the iterations of a run are computed: what does it, and the facts that only trying could tell."""

    step: Step
    facts: dict[str, Any]  # for provenance.json


def record_cuda_graph(iteration: Callable[[], Losses], undo: Callable[[], None]) -> tuple[Callable[[], None], Losses]:
    """Warms up, undoes it, and records `iteration`; returns what replays it and the tensors it leaves its losses in.

    All of it happens on one stream. The nodes that accumulate gradients belong to the stream on which they were made
    and live as long as a graph of autograd needs them; one that was made on the default stream would draw that stream
    into the recording, and break it. So nothing that keeps a graph alive may survive from before.
    """
    side = torch.cuda.Stream()
    before = torch.cuda.current_stream()
    side.wait_stream(before)
    try:
        with torch.cuda.stream(side):
            for _ in range(NUM_WARMUPS):  # autograd and the libraries allocate what they keep
                iteration()
            undo()
            graph = torch.cuda.CUDAGraph()
            with _usable_random_numbers(), torch.cuda.graph(graph, stream=side):  # records; nothing is computed yet
                losses = iteration()
    finally:
        before.wait_stream(side)
    return graph.replay, losses


@contextmanager
def _usable_random_numbers() -> Iterator[None]:
    """Gives the default generator a new state where a recording fails.

    The old one would believe in the recording for ever, and refuse to be drawn from outside of it (PyTorch up to 2.11
    at least: "Offset increment outside graph capture encountered unexpectedly").
    """
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    state = generator.get_state()
    try:
        yield
    except BaseException:
        fresh = torch.Generator(generator.device)
        fresh.set_state(state)
        generator.graphsafe_set_state(fresh)
        raise


def ready(state: State, machine: Machine, record: Record = record_cuda_graph) -> Way:
    """The iteration as this machine is asked to do it: compiled, recorded, both, or plainly; and what became of that.

    Whatever can fail fails here, before the first iteration, and leaves the state as it was. Where recording fails
    though nobody insisted on it, a warning says so, and the iterations are those of `advance`. Raises `Unavailable` if
    capture is "on" and recording fails, and if torch.compile fails.
    """
    facts: dict[str, Any] = {}
    if machine.compiled:
        _compile(state, machine)
        facts["compiled_networks"] = sorted(state.compiled)
    if machine.no_graph:
        return Way(advance, facts)
    try:
        return Way(capture(state, machine, record), facts | {"captured": True})
    except RuntimeError as error:
        cause = first_cause(error)
    failed = f"the iteration could not be recorded as a CUDA graph ({cause})"
    if machine.capture == "on":
        raise Unavailable(f"capture is 'on', but {failed}: set it to off to train without, and report this.", cause)
    warnings.warn(
        f"{failed}: training without, which is slower; --capture off does the same without this warning. Please "
        "report it.",
        stacklevel=2,
    )
    return Way(advance, facts | {"captured": False, "not_captured_because": cause})


def first_cause(error: BaseException) -> str:
    """The first line of the error that all others followed: after a failed recording, the last ones only say that."""
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__


def capture(state: State, machine: Machine, record: Record = record_cuda_graph) -> Step:
    """A function that does what `iteration.advance` does, for this state alone, by replaying a recording.

    The two losses that it returns are overwritten by its next call. Where recording fails, the state is put back, and
    the `RuntimeError` passed on.
    """
    undo = snapshot(state)
    inputs = _plausible_inputs(state.config, machine)
    try:
        replay, losses = record(lambda: iterate(state, inputs, machine), undo)
    except RuntimeError:
        undo()
        raise

    def advance(of: State, batch: Tensor, on: Machine) -> Losses:
        assert of is state and on is machine, "a recording belongs to the state it was made with"
        inputs.become(prepare(state, batch, machine))
        replay()
        return losses

    return advance


def _plausible_inputs(config: Config, machine: Machine) -> Inputs:
    """What `iterate` takes, of one process, with values for a warm-up."""
    shape = (config.num_channels, config.image_size, config.image_size)
    num_images = config.images_per_step // machine.num_processes
    return Inputs(
        real=torch.empty(num_images, *shape, device=machine.device).uniform_(-1, 1),
        latents=torch.randn(num_images, config.latent_size, device=machine.device),
        decay=torch.zeros((), device=machine.device),
        gamma_share=torch.zeros((), device=machine.device),
        rate_share=torch.zeros((), device=machine.device),
        noise=torch.zeros((), device=machine.device),
    )


def _compile(state: State, machine: Machine) -> None:
    """Has the networks compiled, by an iteration that leaves no trace. Raises `Unavailable` where that fails."""
    undo = snapshot(state)
    inputs = _plausible_inputs(state.config, machine)
    try:
        iterate(state, inputs, machine)
    except RuntimeError as error:
        cause = first_cause(error)
        raise Unavailable(f"torch.compile failed ({cause}): train without it.", cause) from error
    finally:
        undo()


def snapshot(state: State) -> Callable[[], None]:
    """Remembers everything that iterations change; returns the function that puts it back, in place.

    What the optimizers create meanwhile (their moments, before the first step) is set to 0, which is how they start.
    The copies are detached: with their graph, they would keep the nodes alive that accumulate the gradients.
    """
    before = [(tensor, tensor.detach().clone()) for tensor in _changing(state)]
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


def seconds(step: Callable[[], Any], num_steps: int, device: torch.device) -> float:
    """Time that the device takes for `num_steps` calls of `step`, whose last result is a tensor."""
    if device.type == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
    started = time.perf_counter()
    for _ in range(num_steps):
        last = step()
    if device.type == "cuda":
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000
    last.flatten()[0].item()  # waits, where the device works behind Python's back
    return time.perf_counter() - started


def settle(
    config: Config,
    machine: Machine,
    record: Record = record_cuda_graph,
    clock: Callable[[Callable[[], Any], int, torch.device], float] = seconds,
) -> Machine:
    """Decides the precision where nobody asked for one: the chip's own, unless the iteration is faster in float32.

    Small networks wait for memory and launches, not for arithmetic, and converting to bfloat16 costs more of both than
    it saves. Which networks are small depends on the card, so both are tried, recorded as they will be in the run.
    """
    if not machine.undecided:
        return machine
    times = {}
    if config.channels is None and config.data not in CHANNELS:  # a folder's are not known yet, and hardly matter here
        config = replace(config, channels=3)
    for precision in (machine.precision, torch.float32):
        one = replace(machine, precision=precision)
        times[precision], failure = _iteration_seconds(config, one, record, clock)
        machine = replace(machine, failure=failure or machine.failure)  # after one that failed, PyTorch begins no other
    found = " and ".join(f"{1000 * time:.2f} ms in {name_of(precision)}" for precision, time in times.items())
    return replace(
        machine,
        precision=min(times, key=lambda precision: times[precision]),  # of equals, the first
        why=f"measured: an iteration takes {found}",
        undecided=False,
    )


def _iteration_seconds(
    config: Config, machine: Machine, record: Record, clock: Callable[[Callable[[], Any], int, torch.device], float]
) -> tuple[float, str | None]:
    """Median time of an iteration of a new run, after its first ones; and why it was not recorded, if that failed."""
    state = start(config, machine)
    step, facts = ready(state, machine, record)
    real = torch.zeros(config.images_per_step, config.num_channels, config.image_size, config.image_size)
    real = real.to(machine.device)

    def once() -> Tensor:
        return step(state, real, machine)[0]

    clock(once, NUM_WARMUPS, machine.device)
    count = max(1, min(MOST_ITERATIONS, int(BLOCK_SECONDS / clock(once, 1, machine.device))))
    blocks = [clock(once, count, machine.device) / count for _ in range(NUM_BLOCKS)]
    return statistics.median(blocks), facts.get("not_captured_because")
