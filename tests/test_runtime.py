"""Which precision, and by which means, a machine is given to compute with."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcgan_core import runtime
from dcgan_core.config import InvalidInput
from dcgan_core.runtime import choose_machine, process, provenance


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
    assert (machine.capture, machine.no_graph, machine.compiled) == ("auto", None, False)
    assert "iterations as a CUDA graph" in machine.reason
    assert machine.undecided == (precision == torch.bfloat16), "only bfloat16 is measured against float32"


def test_what_is_asked_for_is_done_and_the_reason_says_whether_the_chip_is_made_for_it(card):
    card(7, 5)
    assert "not made for it" in choose_machine(precision="bfloat16").reason
    assert "not made for it" not in choose_machine(precision="float32").reason
    card(8, 0)
    for precision in ("bfloat16", "float32"):
        assert not choose_machine(precision=precision).undecided


@pytest.mark.parametrize(("flags", "precision"), [({"avx512_bf16"}, torch.bfloat16), ({"avx2"}, torch.float32)])
def test_a_cpu_gets_bfloat16_where_it_has_the_instructions(monkeypatch, flags, precision):
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: frozenset(flags))
    machine = choose_machine("cpu")
    assert machine.precision == precision and machine.no_graph and machine.scaler() is None
    assert not machine.undecided and "CUDA graph" not in machine.reason


def test_float16_alone_comes_with_a_scaler():
    assert isinstance(choose_machine("cpu", "float16").scaler(), torch.amp.GradScaler)
    for precision in ("float32", "bfloat16"):
        assert choose_machine("cpu", precision).scaler() is None


def test_capturing_is_for_one_process_on_cuda_and_insisting_is_one_sentence_where_it_is_impossible(card, monkeypatch):
    assert choose_machine("cpu").no_graph == "CUDA graphs need a CUDA device"
    with pytest.raises(
        InvalidInput, match="capture is 'on', but CUDA graphs need a CUDA device: set it to auto or off"
    ):
        choose_machine("cpu", capture="on")
    card(8, 0)
    assert choose_machine(capture="on").no_graph is choose_machine().no_graph is None
    assert choose_machine(capture="off").no_graph == "switched off"
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    machine = choose_machine()
    assert (machine.rank, machine.local_rank, machine.num_processes, machine.undecided) == (3, 1, 4, False)
    assert machine.no_graph and "one process" in machine.no_graph
    assert machine.device == torch.device("cuda", 1)
    with pytest.raises(InvalidInput, match="one process"):
        choose_machine(capture="on")
    assert "4 processes, batch statistics of the whole batch" in machine.reason
    assert "batch statistics of each one's own rows" in choose_machine("cpu").reason
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(
        InvalidInput, match=r"process 2 of this computer.* no card.* there are 2: lower --nproc-per-node"
    ):
        choose_machine()
    assert choose_machine("cpu").local_rank == 2
    monkeypatch.setenv("LOCAL_RANK", "first")
    with pytest.raises(InvalidInput, match="LOCAL_RANK=first"):
        choose_machine("cpu")


@pytest.fixture
def environment(monkeypatch):
    def say(**variables: str) -> None:
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return say


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, (0, 1)),
        ({"RANK": "0"}, (0, 1)),
        ({"WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "0", "WORLD_SIZE": "2"}, (0, 2)),
        ({"RANK": "63", "WORLD_SIZE": "64"}, (63, 64)),
    ],
)
def test_the_number_of_a_process_is_what_torchrun_says(environment, variables, found):
    environment(**variables)
    assert process() == found


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "1"},
        {"RANK": "1", "WORLD_SIZE": "1"},
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "0"},
        {"RANK": "0", "WORLD_SIZE": "-2"},
        {"RANK": "first", "WORLD_SIZE": "2"},
        {"RANK": "0", "WORLD_SIZE": "two"},
        {"RANK": "0.5", "WORLD_SIZE": "2"},
        {"RANK": "", "WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2"},  # each process would take itself for the first
    ],
)
def test_a_number_that_makes_no_sense_is_one_sentence(environment, variables):
    environment(**variables)
    with pytest.raises(InvalidInput, match="0 <= RANK < WORLD_SIZE") as found:
        process()
    assert all(f"{name}={value}" in str(found.value) for name, value in variables.items())
    with pytest.raises(InvalidInput):
        choose_machine("cpu")


def test_compiled_networks_are_not_compiled_twice_to_measure_a_precision(card):
    card(8, 0)
    machine = choose_machine(compiled=True)
    assert machine.precision == torch.bfloat16 and not machine.undecided and "compiled" in machine.reason


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        ({}, {"capture": "auto", "captured": None}),  # nobody has tried yet
        ({"capture": "off"}, {"capture": "off", "captured": False}),
        ({"capture": "auto", "failure": "why"}, {"captured": False, "not_captured_because": "why"}),
        ({"precision": torch.bfloat16, "why": "measured"}, {"precision": "bfloat16", "precision_because": "measured"}),
        ({"changed": "the chip"}, {"changed": "the chip"}),
    ],
)
def test_provenance_holds_what_was_asked_for_and_what_is_known_of_what_happened(card, asked, facts):
    card(8, 0)
    found = provenance(replace(choose_machine(), **asked))
    assert {name: found[name] for name in facts} == facts
    assert found["device_kind"] == "cuda"
    assert ("not_captured_because" in found) == ("failure" in asked) and ("changed" in found) == ("changed" in asked)


def test_provenance_on_a_cpu_says_nothing_about_a_graph_that_nobody_asked_for():
    found = provenance(choose_machine("cpu", "float32"))
    assert (found["captured"], found["device_kind"]) == (False, "cpu") and "not_captured_because" not in found


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
