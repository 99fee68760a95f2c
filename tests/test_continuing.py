"""A run goes on with what its last session computed with, or says what could not stay as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcgan_core import runtime
from dcgan_core.config import Config, InvalidInput
from dcgan_core.runs.continuing import lengthened, same_machine
from dcgan_core.runtime import Machine, choose_machine, provenance
from dcgan_core.train import resume, train


@pytest.fixture
def bfloat16_chip(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: frozenset({"avx512_bf16"}))


@pytest.fixture
def plain_chip(monkeypatch) -> None:
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: frozenset({"avx2"}))


@pytest.fixture
def after(tmp_path):
    """The folder of a run whose last session had such a machine, or such an entry."""

    def write(last: Machine | dict) -> Path:
        entry = last if isinstance(last, dict) else json.loads(json.dumps(provenance(last)))
        (tmp_path / "provenance.json").write_text(json.dumps([{"precision": "float16", "device_kind": "cpu"}, entry]))
        return tmp_path

    return write


def test_a_float32_run_ends_the_same_after_a_pause_where_a_new_run_would_be_in_bfloat16(
    tiny_config, tiny_dataset, tmp_path, bfloat16_chip
):
    settings = {"dataset": tiny_dataset, "progress": False}
    machine = choose_machine("cpu", "float32")
    whole = train(tiny_config, tmp_path / "whole", machine=machine, **settings).tensors()
    train(replace(tiny_config, total_images=80), tmp_path / "parts", machine=machine, **settings)
    parts = resume(tmp_path / "parts", total_images=160, **settings).tensors()
    assert choose_machine("cpu").precision == torch.bfloat16
    assert whole.keys() == parts.keys()
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
    first, second = json.loads((tmp_path / "parts" / "provenance.json").read_text())
    decides = ("device", "device_kind", "precision", "compiled", "capture", "captured")
    assert {name: first[name] for name in decides} == {name: second[name] for name in decides}
    assert second["precision_because"] == "as before" and "changed" not in second


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_everything_that_decides_the_numbers_is_as_in_the_last_session(after, bfloat16_chip, precision):
    last = replace(choose_machine("cpu", precision), compiled=True, capture="off")
    machine = same_machine(after(last))
    assert machine == replace(last, why="as before")


def test_what_is_asked_for_counts_more_than_what_was(after, bfloat16_chip):
    out = after(replace(choose_machine("cpu", "float32"), compiled=True, capture="off"))
    machine = same_machine(out, precision="bfloat16", compile="off", capture="auto")
    assert machine == choose_machine("cpu", "bfloat16")
    assert same_machine(out, precision="auto").why == "the chip has it"


def test_a_run_without_provenance_goes_on_as_a_new_one_would(tmp_path):
    assert same_machine(tmp_path) == choose_machine()


def test_a_gpu_that_is_gone_is_said_and_noted(after, card, plain_chip, recwarn):
    card(8, 0)
    out = after(choose_machine("cuda", "bfloat16"))
    card()
    machine = same_machine(out)
    assert (machine.device.type, machine.precision) == ("cpu", torch.float32)
    (warning,) = recwarn
    assert "the device" in machine.changed and "no cuda" in machine.changed and "bfloat16" in machine.changed
    assert str(warning.message) == f"{machine.changed}."
    assert provenance(machine)["changed"] == machine.changed


def test_a_run_on_the_cpu_stays_there_where_there_is_a_gpu(after, card):
    out = after(choose_machine("cpu", "float32"))
    card(8, 0)
    assert same_machine(out).device.type == "cpu"
    assert same_machine(out, device="auto").device.type == "cuda"
    assert same_machine(out, device="auto").precision == torch.float32


@pytest.mark.parametrize(("capability", "precision"), [((7, 5), torch.float16), ((6, 1), torch.float32)])
def test_bfloat16_on_a_card_without_it_becomes_what_a_new_run_would_have_there(after, card, capability, precision):
    card(8, 0)
    out = after(choose_machine("cuda", "bfloat16"))
    card(*capability)
    with pytest.warns(UserWarning, match="the precision, since a card .* is not made for bfloat16"):
        assert same_machine(out).precision == precision


def test_a_precision_that_somebody_insisted_on_stays(after, plain_chip):
    machine = choose_machine("cpu", "bfloat16")
    assert "though" in machine.why
    for _ in range(2):  # also the time after
        machine = same_machine(after(machine))
        assert machine.precision == torch.bfloat16 and machine.changed is None


def test_a_measured_precision_is_not_measured_again(after, card):
    card(8, 0)
    measured = replace(choose_machine("cuda"), precision=torch.float32, why="measured", undecided=False)
    machine = same_machine(after(measured))
    assert (machine.precision, machine.undecided, machine.why) == (torch.float32, False, "as before")
    assert same_machine(after(measured), precision="auto").undecided


def test_insisting_on_a_graph_that_cannot_be_any_more_becomes_auto(after, card, plain_chip):
    card(8, 0)
    out = after(choose_machine("cuda", "float32", capture="on"))
    assert same_machine(out).capture == "on"
    card()
    with pytest.warns(UserWarning, match="the recording of iterations, since CUDA graphs need"):
        assert same_machine(out).capture == "auto"
    with pytest.raises(InvalidInput, match="capture is 'on'"):
        same_machine(out, device="cpu", capture="on")


@pytest.mark.parametrize(
    ("entry", "kind", "capture"),
    [
        ({"device": "x86_64 cpu with 1 thread", "captured": False}, "cpu", "auto"),
        ({"device": "arm64 mps with 8 threads", "captured": False}, "mps", "auto"),
        ({"device": "NVIDIA H200", "captured": False}, "cuda", "off"),
        ({"device": "NVIDIA H200", "captured": True}, "cuda", "auto"),
    ],
)
def test_entries_of_older_versions_are_understood(after, card, monkeypatch, entry, kind, capture):
    card(8, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    machine = same_machine(after({"precision": "float32", "compiled": False} | entry))
    assert (machine.device.type, machine.capture, machine.precision) == (kind, capture, torch.float32)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[3]", '[{"precision": "float8"}]', '[{"capture": 3}]', "\x00"])
def test_where_provenance_is_damaged_the_run_goes_on_as_a_new_one_and_says_so(tmp_path, content):
    (tmp_path / "provenance.json").write_text(content)
    with pytest.warns(UserWarning, match=r"provenance\.json' is damaged.* goes on as a new one would"):
        assert same_machine(tmp_path) == choose_machine()
    with pytest.warns(UserWarning, match="damaged"):
        assert same_machine(tmp_path, precision="bfloat16").precision == torch.bfloat16


def test_a_run_may_end_anywhere_from_what_it_has_seen_on():
    """A run of 1,000 images that was stopped at 400 may end where it is, before its old end, or after it."""
    config = Config(total_images=1_000)
    for total in (400, 600, 5_000):
        assert lengthened(config, total, seen=400) == replace(config, total_images=total)
    assert lengthened(config, None, seen=400) == config
    with pytest.raises(InvalidInput, match="total_images is 399, but the run has already seen 400 images"):
        lengthened(config, 399, seen=400)
