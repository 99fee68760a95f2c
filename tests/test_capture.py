"""A captured iteration does what the eager one does, and the warm-up leaves no trace.

Without a GPU, a stand-in records every operation that an iteration runs, with the values that Python gave it, and
replays them on the same memory: what a CUDA graph does. Whatever it finds (a value from Python that changes, a result
that is read on the host) would break the real one, too. What it cannot find is tested by itself: nodes of autograd that
live on, tensors on another device, operations for which the host waits.
"""

from __future__ import annotations

import copy
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from dcgan_core import capture as capturing
from dcgan_core import iteration
from dcgan_core import state as state_module
from dcgan_core import train as training
from dcgan_core.capture import Unavailable, Way, capture, first_cause, ready, settle, snapshot
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Batches
from dcgan_core.iteration import advance, iterate, prepare
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.state import State, start

GAMES = {  # all of them with batch normalisation, dropout, a moving average and fused Adam, unless they say otherwise
    "plain": {},
    "no average": {"ema_halflife_images": 0},
    "five updates": {"discriminator_steps": 5},
    "clipping": {"loss": "wasserstein-clipping", "discriminator_steps": 2},
    "penalty": {"loss": "wasserstein-penalty", "discriminator_norm": "layer", "discriminator_steps": 2},
    "penalties at the data": {
        "discriminator_norm": "none",
        "discriminator_steps": 2,
        "r1_gamma": 0.5,
        "r2_gamma": 0.5,
        "gamma_final_share": 0.1,
    },
    "relativistic": {"loss": "relativistic", "discriminator_steps": 2},
    "smoothed labels": {"real_label": 0.9},
    "changed images": {
        "augment": ("colour", "translation", "cutout", "flip"),
        "instance_noise": 0.2,
        "discriminator_norm": "none",
        "r1_gamma": 0.5,
    },
    "falling rates": {"rate_schedule": "linear", "discriminator_steps": 2},
    "falling rates ahead": {"rate_schedule": "cosine", "rate_final_share": 0.1, "unrolled_steps": 2},
    "unrolled with changed images": {"augment": ("translation",), "instance_noise": 0.2, "unrolled_steps": 2},
    "unrolled": {"unrolled_steps": 2},
    "unrolled relativistic": {"unrolled_steps": 2, "loss": "relativistic"},
    "unrolled minimax": {"unrolled_steps": 2, "loss": "minimax"},
    "spectral norm": {"loss": "hinge", "discriminator_norm": "none", "spectral_norm": True},
    "minibatch std": {"loss": "least-squares", "minibatch_std": True, "upsampling": "nearest"},
    "everything": {
        "loss": "hinge",
        "discriminator_norm": "none",
        "spectral_norm": True,
        "minibatch_std": True,
        "unrolled_steps": 2,
        "discriminator_steps": 2,
    },
}


class Recorder(TorchDispatchMode):
    """Keeps every operation with the tensors and values it was given, and can run them all again in place."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        outputs = function(*arguments, **(keywords or {}))
        self.operations.append((function, arguments, keywords or {}, outputs))
        return outputs

    def replay(self) -> None:
        with torch.no_grad():
            for function, arguments, keywords, outputs in self.operations:
                given = {tensor.untyped_storage().data_ptr() for tensor in tensors_in((arguments, keywords))}
                again = function(*arguments, **keywords)
                for old, new in zip(tensors_in(outputs), tensors_in(again), strict=True):
                    if old.untyped_storage().data_ptr() not in given:  # neither a view nor in place: fixed memory
                        old.copy_(new)


def tensors_in(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def record_operations(iteration, undo):
    """The stand-in for `capture.record_cuda_graph`."""
    for _ in range(capturing.NUM_WARMUPS):
        iteration()
    undo()
    recorder = Recorder()
    with recorder:
        losses = iteration()
    undo()  # recording a CUDA graph computes nothing, but this did
    return recorder.replay, losses


@pytest.fixture(params=GAMES)
def config(request, tiny_config) -> Config:
    return replace(tiny_config, **GAMES[request.param])


@pytest.fixture
def batches(config, tiny_dataset) -> Batches:
    return Batches(tiny_dataset.images, batch_size=config.images_per_step, seed=0)


def run(config: Config, batches: Batches, machine: Machine, steps: range, step=advance, state: State | None = None):
    """The state after some iterations, and the losses of each."""
    state = state or start(config, machine)
    return state, [torch.stack(step(state, batches(number).to(machine.device), machine)).clone() for number in steps]


def assert_captured_equals_eager(config, batches, machine, record, *, before: int, tolerance: float = 0.0) -> None:
    """Both start after `before` eager iterations: with 0, Adam has no moments yet."""
    eager, losses = run(config, batches, machine, range(before + 4))
    expected = eager.tensors()
    state, _ = run(config, batches, machine, range(before))
    captured, others = run(config, batches, machine, range(before, before + 4), capture(state, machine, record), state)
    assert captured.step == eager.step
    found = captured.tensors()
    assert expected.keys() == found.keys()
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(torch.stack(others), torch.stack(losses[before:]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("before", [0, 2])
def test_a_replayed_iteration_equals_an_eager_one(config, batches, cpu, before):
    assert_captured_equals_eager(config, batches, cpu, record_operations, before=before)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_replayed_iteration_in_low_precision_equals_an_eager_one(config, batches, precision):
    """In float16 it scales the loss, leaves out the steps that overflow, and moves the scale, all by replaying."""
    machine = choose_machine("cpu", precision)
    assert_captured_equals_eager(config, batches, machine, record_operations, before=1)


def test_mutants_with_something_that_python_decides_each_time_are_caught(tiny_config, tiny_dataset, cpu, monkeypatch):
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)

    def with_number(average, network, decay):
        return right(average, network, float(decay))  # the value of the recorded iteration, for ever

    def with_new_tensors(average, network, decay):
        for old, new in zip(average.parameters(), network.parameters(), strict=True):
            old.data = torch.lerp(new, old, decay)  # not where the graph will write

    right = iteration.update_average
    for mutant in (with_number, with_new_tensors):
        monkeypatch.setattr(iteration, "update_average", mutant)
        with pytest.raises(AssertionError):
            assert_captured_equals_eager(tiny_config, batches, cpu, record_operations, before=2)


def test_mutant_whose_learning_rate_is_a_number_is_caught(tiny_config, tiny_dataset, cpu, monkeypatch):
    """Adam would repeat the recorded one for ever."""
    config = replace(tiny_config, rate_schedule="linear")

    def with_numbers(state: State, share: Tensor) -> None:
        for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
            optimizer.param_groups[0]["lr"] = float(share) * config.generator_learning_rate

    monkeypatch.setattr(iteration, "_set_rates", with_numbers)
    with pytest.raises(AssertionError):
        assert_captured_equals_eager(
            config, Batches(tiny_dataset.images, batch_size=8, seed=0), cpu, record_operations, before=2
        )


def everything(state: State) -> dict[str, Tensor]:
    """All that a checkpoint holds; what Adam has not yet made counts as the 0 it starts from."""
    found = {name: value.clone() for name, value in state.tensors().items()}
    return {name: value for name, value in found.items() if "_optimizer." not in name or value.any()}


def assert_warm_up_leaves_no_trace(state, batches, machine, take_snapshot) -> None:
    inputs = prepare(copy.copy(state), batches(5), machine)
    before = everything(state)
    step = state.step
    undo = take_snapshot(state)
    for _ in range(capturing.NUM_WARMUPS):
        iterate(state, inputs, machine)
    assert not torch.equal(everything(state)["generator.layers.0.weight"], before["generator.layers.0.weight"])
    undo()
    after = everything(state)
    assert after.keys() == before.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert state.step == step
    networks = (state.generator, state.discriminator)
    assert all(weight.grad is None for network in networks for weight in network.parameters())


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("before", [0, 2])
def test_warm_up_leaves_no_trace(tiny_config, tiny_dataset, before, precision):
    machine = choose_machine("cpu", precision)
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    state, _ = run(tiny_config, batches, machine, range(before))
    assert_warm_up_leaves_no_trace(state, batches, machine, snapshot)


def test_the_numbers_of_the_card_are_put_back_with_those_of_the_processor(tiny_config, cpu, monkeypatch):
    """Of a card that answers as it is told."""
    numbers = [torch.tensor([1], dtype=torch.uint8)]
    state = start(tiny_config, cpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: numbers[-1])
    monkeypatch.setattr(torch.cuda, "set_rng_state", numbers.append)
    undo = snapshot(state)
    numbers.append(torch.tensor([2], dtype=torch.uint8))
    assert state.tensors()["cuda_rng"] == 2
    undo()
    assert state.tensors()["cuda_rng"] == 1


@pytest.mark.parametrize("forgotten", ["discriminator", "average", "generator_optimizer", "numbers"])
def test_a_snapshot_that_forgets_something_is_caught(tiny_config, tiny_dataset, cpu, forgotten):
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    state, _ = run(tiny_config, batches, cpu, range(2))

    def forgetful(state: State):
        partial = copy.copy(state)
        if forgotten != "numbers":
            setattr(partial, forgotten, copy.deepcopy(getattr(state, forgotten)))  # another one is put back
            return snapshot(partial)
        undo = snapshot(state)

        def without_numbers():
            now = torch.get_rng_state()
            undo()
            torch.set_rng_state(now)

        return without_numbers

    with pytest.raises(AssertionError):
        assert_warm_up_leaves_no_trace(state, batches, cpu, forgetful)


def assert_reads_nothing_on_the_host(config: Config, machine: Machine, batches: Batches, host_reads) -> None:
    state, _ = run(config, batches, machine, range(1))
    with host_reads() as found:
        run(config, batches, machine, range(1, 3), state=state)
    assert found == []


def test_an_iteration_reads_nothing_on_the_host(config, batches, cpu, host_reads):
    assert_reads_nothing_on_the_host(config, cpu, batches, host_reads)


@pytest.mark.parametrize("read", [Tensor.item, Tensor.tolist, float, bool, Tensor.cpu, Tensor.numpy])
def test_mutant_that_reads_a_loss_each_time_is_caught(tiny_config, tiny_dataset, cpu, monkeypatch, host_reads, read):
    right = iteration.update_generator
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)

    def with_read(*arguments, **keywords):
        loss = right(*arguments, **keywords)
        read(loss)
        return loss

    monkeypatch.setattr(iteration, "update_generator", with_read)
    with pytest.raises(AssertionError):
        assert_reads_nothing_on_the_host(tiny_config, cpu, batches, host_reads)


# Nodes of autograd that live on. A node that accumulates a parameter's gradient belongs to the stream on which it was
# made, and lives as long as a graph refers to it. One from before a recording, made on the default stream, breaks it.


def accumulators(state: State) -> Iterator[torch.autograd.graph.Node]:
    """The node of each parameter: the one that lives, or else a new one."""
    for network in (state.generator, state.discriminator):
        for parameter in network.parameters():
            yield parameter.expand_as(parameter).grad_fn.next_functions[0][0]


def mark(state: State) -> None:
    """Marks the nodes; those that nothing else refers to die on the spot, with their marks."""
    for node in accumulators(state):
        node.metadata["mark"] = True


def num_marked(state: State) -> int:
    return sum("mark" in node.metadata for node in accumulators(state))


def assert_no_accumulator_survives(config, batches, machine, take_snapshot) -> None:
    state, _ = run(config, batches, machine, range(1))
    mark(state)
    assert num_marked(state) == 0, "something keeps a graph of an iteration alive"
    undo = take_snapshot(state)
    mark(state)
    assert num_marked(state) == 0, "the snapshot keeps a graph alive"
    losses = iterate(state, capturing._plausible_inputs(config, machine), machine)
    undo()
    mark(state)
    assert num_marked(state) == 0, "an iteration, or what it returned, keeps a graph alive"
    assert not any(loss.requires_grad for loss in losses)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_nothing_keeps_the_nodes_alive_that_accumulate_gradients(config, batches, precision):
    assert_no_accumulator_survives(config, batches, choose_machine("cpu", precision), snapshot)


def test_a_snapshot_with_a_graph_keeps_them_alive_and_is_caught(tiny_config, tiny_dataset, cpu):
    """The mutant: what `snapshot` did when no recording ever worked on a GPU."""
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)

    def with_graph(state: State) -> Callable[[], None]:
        undo, copies = snapshot(state), [tensor.clone() for tensor in capturing._changing(state)]
        return lambda: undo() if copies else None

    with pytest.raises(AssertionError, match="the snapshot keeps a graph alive"):
        assert_no_accumulator_survives(tiny_config, batches, cpu, with_graph)


def test_losses_with_a_graph_keep_them_alive_and_are_caught(tiny_config, tiny_dataset, cpu, monkeypatch):
    right = iteration.update_generator
    kept = []

    def with_graph(discriminator, optimizer, loss_function, fake, **keywords):
        kept.append(fake)
        return right(discriminator, optimizer, loss_function, fake, **keywords)

    monkeypatch.setattr(iteration, "update_generator", with_graph)
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    with pytest.raises(AssertionError, match="an iteration alive"):
        assert_no_accumulator_survives(tiny_config, batches, cpu, snapshot)


# Devices, and waiting. Tensors of the device "meta" have no values: an operation that needs one for the host fails, and
# so does one that mixes them with tensors of the CPU.

WAITS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}  # of operations: the host needs their values


class Devices(TorchDispatchMode):
    """Lists the operations that make or take a tensor of another device, or for which the host has to wait."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.found = device, []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        outputs = function(*arguments, **(keywords or {}))
        elsewhere = {tensor.device.type for tensor in tensors_in((arguments, keywords, outputs))} - {self.device}
        if elsewhere or WAITS & set(function.tags):
            self.found.append(str(function))
        return outputs


@pytest.fixture(scope="module")
def shapes_of_adam() -> Iterator[None]:
    """PyTorch has no fused Adam without values for a learning rate that is a tensor. It changes tensors in place."""
    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_fused_adam_.tensor_lr", lambda *_, **__: None)
    yield
    library._destroy()


@pytest.fixture
def without_values(shapes_of_adam, monkeypatch) -> Callable[[Config, torch.dtype], list[str]]:
    """Two iterations, without values, on another device than the CPU: the operations that do not stay there."""
    monkeypatch.setattr(Machine, "autocast", lambda machine: nullcontext())
    for name in ("torch.optim.optimizer", "torch.optim.adam"):  # one of the two asks, depending on the version
        module = importlib.import_module(name)
        monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda *_: ["cuda", "meta"], raising=False)

    def listen(config: Config, precision: torch.dtype) -> list[str]:
        machine = Machine(torch.device("meta"), precision, "a test")
        state = start(config, machine)
        inputs = capturing._plausible_inputs(config, machine)
        with Devices("meta") as mode:
            for _ in range(2):
                losses = iterate(state, inputs, machine)
        assert all(loss.device.type == "meta" for loss in losses)
        return [name for name in mode.found if not name.startswith("profiler.")]

    return listen


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_an_iteration_stays_on_its_device_and_the_host_never_waits(config, without_values, precision):
    assert without_values(config, precision) == []


def test_mutants_that_leave_the_device_or_make_the_host_wait_are_caught(tiny_config, without_values, monkeypatch):
    right = iteration.update_average

    def with_number_of_the_host(average, network, decay):
        right(average, network, decay * torch.ones(()))

    def with_choice(average, network, decay):
        weight = next(network.parameters())
        weight[torch.ones(len(weight), dtype=torch.bool, device=weight.device)]
        right(average, network, decay)

    def with_read(average, network, decay):
        right(average, network, decay.item())

    for mutant in (with_number_of_the_host, with_choice, with_read):
        monkeypatch.setattr(iteration, "update_average", mutant)
        found: list[str] = []
        with pytest.raises((AssertionError, RuntimeError)):
            found += without_values(tiny_config, torch.float32)
            assert found == []


# What happened, and what is said about it.


def break_off(iteration, undo):
    """Fails as PyTorch does: the first error says why, the last one that there was one."""
    iteration()
    try:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCUDA kernel errors might be")
    except RuntimeError:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore") from None


CAUSE = "CUDA error: operation not permitted when stream is capturing"


@pytest.fixture
def recordable(monkeypatch) -> None:
    """Machines without a GPU count as if iterations could be recorded on them."""

    def no_graph(machine: Machine) -> str | None:
        return "switched off" if machine.capture == "off" else machine.failure

    monkeypatch.setattr(Machine, "no_graph", property(no_graph))


def test_the_first_cause_is_found_through_any_chain():
    def chained(*messages: str) -> BaseException:
        try:
            try:
                raise RuntimeError(messages[0])
            finally:
                if messages[1:]:
                    raise chained(*messages[1:])
        except RuntimeError as error:
            return error

    assert first_cause(RuntimeError("one.\ntwo")) == "one"
    assert first_cause(RuntimeError("\n\n  CUDA error: x:\n")) == "CUDA error: x"
    assert first_cause(KeyError()) == "KeyError"
    assert first_cause(chained("first", "second")) == "first"
    try:
        raise ValueError("later") from RuntimeError("before")
    except ValueError as error:
        assert first_cause(error) == "before"


def test_where_recording_fails_the_run_goes_on_without_and_nothing_is_lost(
    tiny_config, tiny_dataset, cpu, recordable, recwarn
):
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    expected, _ = run(tiny_config, batches, cpu, range(3))
    expected = everything(expected)
    state = start(tiny_config, cpu)
    way = ready(state, cpu, break_off)
    (warning,) = recwarn
    assert f"({CAUSE})" in str(warning.message) and "--capture off" in str(warning.message)
    assert way == Way(advance, {"captured": False, "not_captured_because": CAUSE})
    state, _ = run(tiny_config, batches, cpu, range(3), way.step, state)
    found = everything(state)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_where_recording_fails_though_it_was_insisted_on_it_is_one_sentence(tiny_config, cpu, recordable):
    state = start(tiny_config, cpu)
    before = everything(state)
    with pytest.raises(InvalidInput, match=r"capture is 'on', but .* set it to off") as caught:
        ready(state, replace(cpu, capture="on"), break_off)
    assert CAUSE in str(caught.value) and "previous error" not in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.cause == CAUSE
    assert [name for name, value in everything(state).items() if not torch.equal(value, before[name])] == []


def test_a_machine_that_does_not_record_does_not_try(tiny_config, cpu):
    assert ready(start(tiny_config, cpu), cpu, break_off) == Way(advance, {})


def sessions(run: Path) -> list[dict]:
    return json.loads((run / "provenance.json").read_text())


@pytest.mark.parametrize(
    ("capture", "record", "expected"),
    [
        ("auto", record_operations, {"captured": True}),
        ("auto", break_off, {"captured": False, "not_captured_because": CAUSE}),
        ("off", break_off, {"captured": False}),
    ],
)
@pytest.mark.filterwarnings("ignore:the iteration could not be recorded")
def test_provenance_says_what_happened(
    tiny_config, tiny_dataset, cpu, recordable, tmp_path, monkeypatch, capture, record, expected
):
    """And not what was asked for: a run whose recording failed once said that it was captured."""
    monkeypatch.setattr(training, "ready", partial(ready, record=record))
    seen = []
    right = training._Session.show
    monkeypatch.setattr(training._Session, "show", lambda session: (seen.append(sessions(session.out)), right(session)))
    machine = replace(cpu, capture=capture)
    settings = {"dataset": tiny_dataset, "machine": machine, "progress": False}
    training.train(replace(tiny_config, total_images=16), tmp_path / "run", **settings)
    training.resume(tmp_path / "run", total_images=32, **settings)

    before = seen[0][0]["captured"]
    assert before is (False if capture == "off" else None), "nobody has tried yet"
    for session in sessions(tmp_path / "run"):
        assert session["capture"] == capture
        assert {name: session.get(name) for name in ("captured", "not_captured_because")} == {
            "not_captured_because": None
        } | expected


def test_a_run_that_insists_on_recording_ends_before_its_first_iteration_where_that_fails(
    tiny_config, tiny_dataset, cpu, recordable, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "ready", partial(ready, record=break_off))
    settings = {"dataset": tiny_dataset, "progress": False}
    with pytest.raises(Unavailable):
        training.train(tiny_config, tmp_path / "run", machine=replace(cpu, capture="on"), **settings)
    assert sessions(tmp_path / "run")[-1]["captured"] is None
    assert not (tmp_path / "run" / training.CHECKPOINT).exists()
    with pytest.warns(UserWarning, match="starting again"):
        training.resume(tmp_path / "run", total_images=16, machine=replace(cpu, capture="off"), **settings)


@pytest.fixture
def compiler(monkeypatch) -> Callable[[object], None]:
    return lambda backend: monkeypatch.setattr(state_module, "COMPILER", backend)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiler_that_fails_is_one_sentence_before_the_first_iteration(tiny_config, cpu, compiler):
    def fail(graph, inputs):
        raise OSError("no C++ compiler\nwas found")

    compiler(fail)
    state = start(tiny_config, replace(cpu, compiled=True))
    before = everything(state)
    with pytest.raises(
        InvalidInput, match=r"torch\.compile failed \(no C\+\+ compiler\): train without it\."
    ) as caught:
        ready(state, replace(cpu, compiled=True))
    assert caught.value.cause == "no C++ compiler"
    assert [name for name, value in everything(state).items() if not torch.equal(value, before[name])] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_networks_are_recorded_keep_no_graph_alive_and_are_named(
    tiny_config, tiny_dataset, cpu, compiler, recordable
):
    compiler("aot_eager")
    machine = replace(cpu, compiled=True)
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)

    def record_calls(iteration, undo):  # the compiler looks through a recorder of operations
        iteration()
        undo()
        return iteration, (torch.zeros(()), torch.zeros(()))

    state = start(tiny_config, machine)
    way = ready(state, machine, record_calls)
    assert way.facts == {"captured": True, "compiled_networks": ["discriminator", "generator"]}
    assert_no_accumulator_survives(tiny_config, batches, machine, snapshot)
    config = replace(tiny_config, loss="wasserstein-penalty", discriminator_norm="layer")
    assert ready(start(config, machine), machine, record_calls).facts["compiled_networks"] == ["generator"]


# Which precision.


@pytest.fixture
def timed(monkeypatch, tiny_config, recordable) -> Callable[..., tuple[Machine, list[torch.dtype]]]:
    """`settle` on a card that is as fast as it is told: the machine, and the precisions that it has tried."""

    def call(seconds: dict[torch.dtype, float], record=None, spent=None, **fields) -> tuple[Machine, list[torch.dtype]]:
        tried: list[torch.dtype] = []
        spent = [] if spent is None else spent

        def start_noting(config: Config, machine: Machine) -> State:
            tried.append(machine.precision)
            return start(config, machine)

        def clock(step: Callable[[], object], num_steps: int, device: torch.device) -> float:
            step()
            spent.append(num_steps * seconds[tried[-1]])
            return spent[-1]

        def record_calls(iteration, undo):
            return iteration, iteration()

        monkeypatch.setattr(capturing, "start", start_noting)
        machine = Machine(torch.device("cpu"), torch.bfloat16, "the chip has it", **{"undecided": True} | fields)
        return settle(tiny_config, machine, record or record_calls, clock), tried

    return call


@pytest.mark.parametrize(
    ("low", "full", "chosen"),
    [(2e-3, 3e-3, torch.bfloat16), (2e-3, 2e-3, torch.bfloat16), (7.1e-4, 6.1e-4, torch.float32)],
)
def test_an_open_precision_is_the_one_in_which_the_recorded_iteration_is_faster(timed, low, full, chosen):
    machine, tried = timed({torch.bfloat16: low, torch.float32: full})
    assert tried == [torch.bfloat16, torch.float32]
    assert machine.precision == chosen and not machine.undecided
    said = f"measured: an iteration takes {1000 * low:.2f} ms in bfloat16 and {1000 * full:.2f} ms in float32"
    assert machine.why == said and said in machine.reason


def test_a_precision_that_was_asked_for_is_not_measured(timed):
    machine, tried = timed({}, undecided=False)
    assert (machine.precision, machine.why, tried) == (torch.bfloat16, "the chip has it", [])


@pytest.mark.parametrize("one", [1e-5, 1e-3, 0.04, 0.2])
def test_measuring_takes_about_a_second_unless_twenty_iterations_take_longer(timed, one):
    spent: list[float] = []
    timed({torch.bfloat16: one, torch.float32: one}, spent=spent)
    assert sum(spent) <= max(1.5, 20 * one)
    assert len(spent) == 2 * (2 + capturing.NUM_BLOCKS)


@pytest.mark.filterwarnings("ignore:the iteration could not be recorded")
def test_where_recording_fails_precisions_are_measured_without_and_it_is_tried_only_once(timed, tiny_config):
    attempts = []

    def record(iteration, undo):
        attempts.append(1)
        return break_off(iteration, undo)

    machine, tried = timed({torch.bfloat16: 2.0, torch.float32: 1.0}, record)
    assert len(attempts) == 1 and len(tried) == 2
    assert machine.precision == torch.float32 and machine.failure == machine.no_graph == CAUSE
    with pytest.raises(Unavailable):
        timed({}, record, capture="on")


# On a GPU. Sums may be taken in another order from call to call, hence a tolerance.


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Algorithms that give the same bits each time, so that several steps can be compared."""
    choose_machine("cuda")  # sets the switches below as a run does
    convolutions, products = torch.backends.cudnn, torch.backends.cuda.matmul
    wanted = {(convolutions, "deterministic"): True, (convolutions, "benchmark"): False}
    wanted |= {(convolutions, "allow_tf32"): False, (products, "allow_tf32"): False}
    before = {switch: getattr(*switch) for switch in wanted}
    for switch, value in wanted.items():
        setattr(*switch, value)
    yield
    for switch, value in before.items():
        setattr(*switch, value)


@pytest.fixture
def exact(deterministic) -> Machine:
    machine = choose_machine("cuda", "float32", capture="on")
    torch.backends.cudnn.benchmark = torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return machine


def skip_without(precision: str) -> None:
    if precision == "bfloat16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("the card has no bfloat16")


@pytest.mark.gpu
@pytest.mark.parametrize("before", [0, 2])
def test_on_a_gpu_a_captured_iteration_equals_an_eager_one(config, batches, exact, before):
    assert_captured_equals_eager(config, batches, exact, capturing.record_cuda_graph, before=before, tolerance=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_on_a_gpu_low_precision_is_captured_and_has_the_losses_of_eager_iterations(
    config, batches, deterministic, precision
):
    skip_without(precision)
    machine = choose_machine("cuda", precision, capture="on")
    _, expected = run(config, batches, machine, range(6))
    state = start(config, machine)
    before = state.generator.layers[0].weight.detach().clone()  # with its graph, it would break the recording
    state, losses = run(config, batches, machine, range(6), ready(state, machine).step, state)
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected), rtol=0.02, atol=0.02)
    assert not torch.equal(state.generator.layers[0].weight, before)
    if precision == "float16":
        assert state.scaler.get_scale() <= 65536  # began too large, and was lowered on the device


@pytest.mark.gpu
@pytest.mark.parametrize("before", [0, 2])
def test_on_a_gpu_recording_leaves_no_trace(tiny_config, tiny_dataset, before):
    machine = choose_machine("cuda", "float32", capture="on")
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    state, _ = run(tiny_config, batches, machine, range(before))
    found = everything(state)
    assert ready(state, machine).facts == {"captured": True}
    after = everything(state)
    assert found.keys() == after.keys()
    assert [name for name in found if not torch.equal(found[name], after[name])] == []


@pytest.mark.gpu
@pytest.mark.parametrize("game", ["plain", "penalty"])  # dropout, and the penalty's points
def test_on_a_gpu_random_numbers_go_on_from_replay_to_replay_and_after_them(tiny_config, tiny_dataset, exact, game):
    config = replace(tiny_config, **GAMES[game])
    batches = Batches(tiny_dataset.images, batch_size=config.images_per_step, seed=0)
    random = []
    eager = start(config, exact)
    for number in range(4):
        run(config, batches, exact, range(number, number + 1), state=eager)
        random.append(torch.cuda.get_rng_state())
    assert len({tuple(numbers.tolist()) for numbers in random}) == 4

    state = start(config, exact)
    step = ready(state, exact).step
    for number in range(3):
        run(config, batches, exact, range(number, number + 1), step, state)
        assert torch.equal(torch.cuda.get_rng_state(), random[number])
    run(config, batches, exact, range(3, 4), advance, state)  # without the graph
    torch.testing.assert_close(state.tensors(), eager.tensors(), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_on_a_gpu_a_captured_run_that_stopped_goes_on_from_its_checkpoint(tiny_config, tiny_dataset, exact, tmp_path):
    settings = {"dataset": tiny_dataset, "machine": exact, "progress": False}
    whole = training.train(tiny_config, tmp_path / "whole", **settings)
    training.train(replace(tiny_config, total_images=80), tmp_path / "parts", **settings)
    parts = training.resume(tmp_path / "parts", total_images=160, **settings)
    torch.testing.assert_close(parts.tensors(), whole.tensors(), rtol=1e-3, atol=1e-3)
    assert [session["captured"] for session in sessions(tmp_path / "parts")] == [True, True]


@pytest.mark.gpu
def test_on_a_gpu_nothing_keeps_the_nodes_alive_that_accumulate_gradients(config, batches, exact):
    state = start(config, exact)
    step = ready(state, exact).step
    run(config, batches, exact, range(2), step, state)
    mark(state)
    assert num_marked(state) == 0


FAILS = """
import sys, warnings
from dataclasses import replace
import torch
from dcgan_core import iteration
from dcgan_core.capture import ready
from dcgan_core.config import Config
from dcgan_core.iteration import advance
from dcgan_core.runtime import choose_machine
from dcgan_core.state import start

right = iteration.update_average
iteration.update_average = lambda average, network, decay: right(average, network, decay.item())
config = Config(image_size=16, latent_size=8, generator_width=4, discriminator_width=4, batch_size=8, dropout=0.3)
machine = choose_machine("cuda", "float32")
real = torch.rand(8, 1, 16, 16, device="cuda") * 2 - 1

def trained(step, state):
    losses = [torch.stack(step(state, real, machine)).clone() for _ in range(3)]
    return torch.stack(losses).cpu(), torch.cuda.get_rng_state()

expected, random = trained(advance, start(config, machine))
state = start(config, machine)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    step, facts = ready(state, machine)
assert step is advance and facts["captured"] is False, facts
assert "capturing" in facts["not_captured_because"] and "previous error" not in facts["not_captured_because"], facts
assert any(facts["not_captured_because"] in str(warning.message) for warning in caught)
losses, again = trained(step, state)
torch.testing.assert_close(losses, expected, rtol=1e-2, atol=1e-2)
assert torch.equal(again, random), "dropout does not go on where it was"
"""


@pytest.mark.gpu
def test_on_a_gpu_a_recording_that_fails_says_why_and_training_goes_on():
    """In a process of its own, since PyTorch does not forget a recording that failed."""
    answer = subprocess.run([sys.executable, "-c", FAILS], capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.gpu
def test_on_a_gpu_an_open_precision_is_measured(tiny_config):
    machine = choose_machine("cuda")
    settled = settle(tiny_config, machine)
    assert not settled.undecided and settled.failure is None
    assert settled.precision in (machine.precision, torch.float32)
    assert settled.why.startswith("measured") == (torch.cuda.get_device_capability() >= (8, 0))


@pytest.mark.gpu
def test_on_a_gpu_replaying_a_small_iteration_is_faster_than_launching_it(tiny_config, tiny_dataset):
    machine = choose_machine("cuda", "float32", capture="on")
    real = Batches(tiny_dataset.to(machine.device).images, batch_size=8, seed=0)(0)
    times = {}
    for capture_it in ("off", "on"):
        state, one = start(tiny_config, machine), replace(machine, capture=capture_it)
        step = ready(state, one).step
        times[capture_it] = min(
            capturing.seconds(lambda: step(state, real, one)[0], 50, machine.device)  # noqa: B023 (called at once)
            for _ in range(5)
        )
    assert times["on"] < times["off"]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_on_a_gpu_compiled_networks_are_captured(tiny_config, tiny_dataset, exact):
    config = replace(tiny_config, dropout=0.0)  # the compiler draws other random numbers
    machine = replace(exact, compiled=True)
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    _, expected = run(config, batches, exact, range(4))
    state = start(config, machine)
    way = ready(state, machine)
    assert way.facts == {"captured": True, "compiled_networks": ["discriminator", "generator"]}
    _, losses = run(config, batches, machine, range(4), way.step, state)
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected), rtol=0.01, atol=0.01)


@pytest.mark.gpu
def test_on_a_gpu_no_iteration_waits(tiny_config, tiny_dataset):
    """torch raises where it would wait for the device; batches are taken before, since an epoch's order is copied."""
    machine = choose_machine("cuda", "float32")
    batches = Batches(tiny_dataset.to(machine.device).images, batch_size=8, seed=0)
    state = start(tiny_config, machine)
    advance(state, batches(0), machine)
    reals = [batches(number) for number in range(1, 4)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for real in reals:
            advance(state, real, machine)
    finally:
        torch.cuda.set_sync_debug_mode("default")
