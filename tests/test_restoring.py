"""What is put back into a state is checked first, all of it; and all of it is put back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dcgan_core.config import InvalidInput
from dcgan_core.iteration import advance
from dcgan_core.runs.restoring import all_finite, restore
from dcgan_core.runtime import choose_machine
from dcgan_core.state import State, start

Tensors = dict[str, Tensor]
WEIGHT = "generator.layers.0.weight"
MOMENT, SQUARES = "generator_optimizer.0.exp_avg", "discriminator_optimizer.1.exp_avg_sq"


def tensors_of(state: State) -> Tensors:
    return {name: value.clone() for name, value in state.tensors().items()}


def played(config, machine) -> State:
    state = start(config, machine)
    for _ in range(2):
        advance(state, torch.zeros(8, 1, 16, 16), machine)
    return state


FAULTS: dict[str, Callable[[Tensors], object]] = {
    "is missing": lambda tensors: tensors.pop(MOMENT),
    "is not known": lambda tensors: tensors.update(surprise=torch.ones(3)),
    r"is float32 \(1,\), but must be float32": lambda tensors: tensors.update({MOMENT: torch.ones(1)}),
    "is float64 .* but must be float32": lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].double()}),
    f"{WEIGHT} holds values that are not finite": lambda tensors: tensors[WEIGHT].view(-1)[3].fill_(float("nan")),
    f"{MOMENT} holds values that are not finite": lambda tensors: tensors[MOMENT].view(-1)[3].fill_(float("inf")),
    "holds negative values": lambda tensors: tensors[SQUARES].sub_(1),
    "torch_rng is no state of random numbers": lambda tensors: tensors["torch_rng"].fill_(255),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_before_anything_is_changed(tiny_config, cpu, fault):
    tensors = tensors_of(played(tiny_config, cpu))
    FAULTS[fault](tensors)
    state = start(tiny_config, cpu)
    before = tensors_of(state)
    with pytest.raises(InvalidInput, match=fault):
        restore(state, tensors, 2)
    after = state.tensors()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert state.step == 0


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_everything_is_put_back(tiny_config, precision):
    machine = choose_machine("cpu", precision)
    whole = played(tiny_config, machine)
    if whole.scaler:
        whole.scaler.load_state_dict(whole.scaler.state_dict() | {"scale": 8.0, "_growth_tracker": 7})
    tensors = tensors_of(whole)
    state = start(tiny_config, machine)
    assert restore(state, tensors, 2) == []
    found = state.tensors()
    assert found.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(found[name], tensors[name])] == []
    assert state.step == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["first", "last"])
def test_infinity_and_nan_are_not_finite_wherever_they_are(name, value):
    tensors = {"first": torch.ones(3), "count": torch.tensor(7), "last": torch.ones(2, 2)}
    assert all_finite(tensors) and all_finite({"count": torch.tensor(7)})
    tensors[name].view(-1)[-1] = value
    assert not all_finite(tensors)
