"""Which precision, and by which means, a machine is given to compute with."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import torch

from dcgan_core import runtime
from dcgan_core.runtime import choose_machine


@pytest.fixture
def card(monkeypatch):
    """Makes this machine look as if it had a CUDA card of some compute capability."""

    def install(*capability: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)  # by emulation: must not count

    switches = [(torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32")]
    switches.append((torch.backends.cuda.matmul, "allow_tf32"))
    before = [getattr(*switch) for switch in switches]
    yield install
    for (module, name), value in zip(switches, before, strict=True):
        setattr(module, name, value)


@pytest.mark.parametrize(
    ("capability", "precision"),
    [
        ((6, 1), torch.float32),  # GTX 1080: no tensor cores
        ((7, 0), torch.float16),  # V100
        ((7, 5), torch.float16),  # T4, which torch says "supports" bfloat16
        ((8, 0), torch.bfloat16),  # A100
        ((9, 0), torch.bfloat16),  # H100
    ],
)
def test_a_card_gets_the_precision_that_it_is_made_for(card, capability, precision):
    card(*capability)
    machine = choose_machine()
    assert machine.device == torch.device("cuda") and machine.precision == precision
    assert str(precision).removeprefix("torch.") in machine.reason
    assert (machine.captured, machine.compiled) == (False, False)


def test_what_is_asked_for_is_done_and_the_reason_says_whether_the_chip_is_made_for_it(card):
    card(7, 5)
    assert "not made for it" in choose_machine(precision="bfloat16").reason
    assert "not made for it" not in choose_machine(precision="float32").reason


@pytest.mark.parametrize(("flags", "precision"), [({"avx512_bf16"}, torch.bfloat16), ({"avx2"}, torch.float32)])
def test_a_cpu_gets_bfloat16_where_it_has_the_instructions(monkeypatch, flags, precision):
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: frozenset(flags))
    machine = choose_machine("cpu")
    assert machine.precision == precision and not machine.captured and machine.scaler() is None


def test_float16_alone_comes_with_a_scaler():
    assert isinstance(choose_machine("cpu", "float16").scaler(), torch.amp.GradScaler)
    for precision in ("float32", "bfloat16"):
        assert choose_machine("cpu", precision).scaler() is None


def test_capturing_is_for_one_process_on_cuda_and_a_warning_where_it_is_impossible(card, monkeypatch):
    with pytest.warns(UserWarning, match="CUDA"):
        assert not choose_machine("cpu", captured=True).captured
    card(8, 0)
    assert choose_machine(captured=True).captured
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    machine = choose_machine()
    assert (machine.rank, machine.num_processes, machine.captured) == (3, 4, False)
    assert machine.device == torch.device("cuda", 1)


def test_the_recorded_command_can_be_run_again_whatever_its_words_hold(monkeypatch):
    words = ["train", "--data", "my cats", "--out=it's $HOME", "C:\\cats"]
    own = Path(runtime.__file__).with_name("__main__.py")
    monkeypatch.setattr(sys, "argv", [str(own), *words])
    command = runtime.provenance(choose_machine("cpu"))["command"]
    assert shlex.split(command) == ["python", "-m", "dcgan_core", *words]


def test_another_program_is_not_recorded_as_a_command_of_the_package(monkeypatch):
    for program in ("/usr/lib/python3/pytest/__main__.py", "train.py", ""):
        monkeypatch.setattr(sys, "argv", [program, "train"])
        assert runtime.provenance(choose_machine("cpu"))["command"] is None
