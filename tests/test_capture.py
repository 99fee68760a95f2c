"""A captured iteration does what the eager one does, and the warm-up leaves no trace.

Without a GPU, a stand-in records every operation that an iteration runs, with the values that Python gave it, and
replays them on the same memory: what a CUDA graph does. Whatever it finds (a value from Python that changes, a result
that is read on the host) would break the real one, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from dcgan_core import capture as capturing
from dcgan_core import iteration
from dcgan_core.capture import capture, snapshot
from dcgan_core.config import Config
from dcgan_core.data import Batches
from dcgan_core.iteration import advance, iterate, prepare
from dcgan_core.runtime import Machine, choose_machine
from dcgan_core.state import State, start

GAMES = {
    "plain": {},
    "no average": {"ema_halflife_images": 0},
    "three updates": {"discriminator_steps": 3},
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
    "spectrum": {
        "loss": "hinge",
        "discriminator_norm": "none",
        "spectral_norm": True,
        "minibatch_std": True,
        "unrolled_steps": 2,
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


def test_where_recording_fails_the_run_goes_on_without_and_nothing_is_lost(tiny_config, tiny_dataset, cpu):
    def fail(iteration, undo):
        iteration()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    expected, _ = run(tiny_config, batches, cpu, range(3))
    expected = everything(expected)
    state = start(tiny_config, cpu)
    with pytest.warns(UserWarning, match=r"could not be captured \(CUDA error: operation not permitted"):
        step = capture(state, cpu, fail)
    state, _ = run(tiny_config, batches, cpu, range(3), step, state)
    found = everything(state)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


# On a GPU. Sums may be taken in another order from call to call, hence a tolerance.


@pytest.fixture
def exact() -> Iterator[Machine]:
    """A GPU with algorithms that give the same bits each time, so that several steps can be compared."""
    machine = choose_machine("cuda", "float32")
    wanted = {"deterministic": True, "benchmark": False, "allow_tf32": False}
    before = {name: getattr(torch.backends.cudnn, name) for name in wanted}
    for name, value in wanted.items():
        setattr(torch.backends.cudnn, name, value)
    torch.backends.cuda.matmul.allow_tf32 = False
    yield machine
    for name, value in before.items():
        setattr(torch.backends.cudnn, name, value)
    torch.backends.cuda.matmul.allow_tf32 = True


@pytest.mark.gpu
@pytest.mark.parametrize("before", [0, 2])
def test_on_a_gpu_a_captured_iteration_equals_an_eager_one(config, batches, exact, before):
    assert_captured_equals_eager(config, batches, exact, capturing.record_cuda_graph, before=before, tolerance=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_on_a_gpu_low_precision_can_be_captured(tiny_config, tiny_dataset, precision):
    if precision == "bfloat16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("the card has no bfloat16")
    machine = choose_machine("cuda", precision)
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    state = start(tiny_config, machine)
    step = capture(state, machine)
    assert step is not advance, "recording failed"
    before = state.generator.layers[0].weight.clone()
    state, losses = run(tiny_config, batches, machine, range(20), step, state)
    assert torch.stack(losses).isfinite().all()
    assert not torch.equal(state.generator.layers[0].weight, before)
    if precision == "float16":
        assert state.scaler.get_scale() <= 65536  # began too large, and was lowered on the device


@pytest.mark.gpu
@pytest.mark.parametrize("before", [0, 2])
def test_on_a_gpu_recording_leaves_no_trace(tiny_config, tiny_dataset, before):
    machine = choose_machine("cuda", "float32")
    batches = Batches(tiny_dataset.images, batch_size=8, seed=0)
    state, _ = run(tiny_config, batches, machine, range(before))
    found = everything(state)
    assert capture(state, machine) is not advance
    after = everything(state)
    assert found.keys() == after.keys()
    assert [name for name in found if not torch.equal(found[name], after[name])] == []


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
