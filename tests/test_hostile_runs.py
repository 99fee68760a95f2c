"""Run folders that are damaged, forged or in use: one sentence, nothing crashes, nothing is lost or let in."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dcgan_core import models
from dcgan_core import train as training
from dcgan_core.cli import main
from dcgan_core.config import Config, InvalidInput
from dcgan_core.metrics import examiner
from dcgan_core.runs import checkpoint, folder, journal, lock
from dcgan_core.runtime import choose_machine
from dcgan_core.train import CHECKPOINT, load_state, read_metrics, resume, train

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def made(tiny_config, tiny_dataset, tmp_path_factory) -> Path:
    """A run of 12 of 20 steps that nothing is wrong with."""
    out = tmp_path_factory.mktemp("made") / "run"
    machine = choose_machine("cpu", "float32")
    train(replace(tiny_config, total_images=96), out, machine=machine, dataset=tiny_dataset, progress=False)
    return out


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of it to damage."""
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def settings(cpu, tiny_dataset):
    return {"machine": cpu, "dataset": tiny_dataset, "progress": False}


@pytest.fixture
def command(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """The command line, in this process: exit code, and what it complains about."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["dcgan_core", *map(str, arguments)])
        code = main()
        return code, capsys.readouterr().err

    return call


def content(out: Path) -> dict[str, bytes]:
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != lock.NAME)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def forge(run: Path, change: Callable[[Tensors, dict], object]) -> None:
    """Rewrites the checkpoint, with a right checksum, as a stranger could."""
    tensors, facts = checkpoint.load(run / CHECKPOINT)
    change(tensors, facts)
    checkpoint.save(run / CHECKPOINT, tensors, facts)


WEIGHT = "generator.layers.0.weight"
MOMENT = "generator_optimizer.0.exp_avg"
SQUARES = "discriminator_optimizer.1.exp_avg_sq"
FORGERIES: dict[str, Callable[[Tensors, dict], object]] = {
    "a weight is missing": lambda tensors, facts: tensors.pop(WEIGHT),
    "a moment is missing": lambda tensors, facts: tensors.pop(MOMENT),
    "an unknown tensor": lambda tensors, facts: tensors.update(surprise=torch.ones(3)),
    "a moment of a parameter that is not there": lambda tensors, facts: tensors.update(
        {"generator_optimizer.99.exp_avg": torch.ones(3)}
    ),
    "a weight of another shape": lambda tensors, facts: tensors.update({WEIGHT: torch.ones(2, 2)}),
    "a moment of another shape": lambda tensors, facts: tensors.update({MOMENT: torch.ones(1)}),
    "a moment that is too long": lambda tensors, facts: tensors.update({MOMENT: torch.ones(10_000, 7)}),
    "a moment of another type": lambda tensors, facts: tensors.update({MOMENT: tensors[MOMENT].double()}),
    "a step that is no number": lambda tensors, facts: tensors.update({"generator_optimizer.0.step": torch.ones(2)}),
    "weights in half precision": lambda tensors, facts: tensors.update({WEIGHT: tensors[WEIGHT].half()}),
    "a weight that is not finite": lambda tensors, facts: tensors[WEIGHT].view(-1)[0].fill_(float("nan")),
    "an infinite moment": lambda tensors, facts: tensors[MOMENT].view(-1)[0].fill_(float("inf")),
    "a negative mean of squares": lambda tensors, facts: tensors[SQUARES].view(-1)[0].fill_(-1),
    "a negative variance": lambda tensors, facts: tensors["generator.layers.2.running_var"].neg_(),
    "random numbers of no generator": lambda tensors, facts: tensors.update(torch_rng=torch.ones(5, dtype=torch.uint8)),
    "random numbers that make no sense": lambda tensors, facts: tensors["torch_rng"].fill_(255),
    "latents that make no sense": lambda tensors, facts: tensors["latent_rng"].fill_(255),
    "random numbers of another type": lambda tensors, facts: tensors.update(latent_rng=torch.ones(5056)),
    "no random numbers": lambda tensors, facts: tensors.pop("torch_rng"),
    "a process without a number": lambda tensors, facts: tensors.update(
        {"process_x.torch_rng": tensors["torch_rng"].clone()}
    ),
    "no step": lambda tensors, facts: facts.pop("step"),
    "a negative step": lambda tensors, facts: facts.update(step=-1),
    "a step in words": lambda tensors, facts: facts.update(step="twelve"),
    "half a step": lambda tensors, facts: facts.update(step=1.5),
    "a true step": lambda tensors, facts: facts.update(step=True),
    "a best that is a list": lambda tensors, facts: facts.update(best=[1]),
    "a best without a distance": lambda tensors, facts: facts.update(best={"step": 3}),
    "a best at no step": lambda tensors, facts: facts.update(best={"step": None, "frechet_distance": 1.0}),
    "a line that is a text": lambda tensors, facts: facts.update(line="images"),
    "no config": lambda tensors, facts: facts.pop("config"),
    "a config that is a list": lambda tensors, facts: facts.update(config=[]),
    "a config without a loss": lambda tensors, facts: facts["config"].pop("loss"),
    "a config with a width in words": lambda tensors, facts: facts["config"].update(generator_width="4"),
    "a config with an absurd width": lambda tensors, facts: facts["config"].update(generator_width=10_000_000),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_checkpoint_is_refused_before_anything_is_changed(run, command, name):
    forge(run, FORGERIES[name])
    if "absurd" in name:  # the run's config agrees with it
        (run / "config.json").write_text(json.dumps(checkpoint.load(run / CHECKPOINT)[1]["config"]))
    before = content(run)
    for arguments in (("resume", run), ("sample", run, "--out", run.parent / "grid.png")):
        code, complaint = command(*arguments)
        last = complaint.strip().splitlines()[-1]
        assert code == 2 and last.startswith(f"error: the checkpoint '{run / CHECKPOINT}' cannot be used: "), complaint
        assert last.endswith(".") and complaint.count("error:") == 1
    assert content(run) == before


def test_the_run_that_is_forged_above_is_fine_as_it_is(run, command):
    forge(run, lambda tensors, facts: None)
    assert command("sample", run, "--out", run.parent / "grid.png") == (0, "the last checkpoint, at 96 images\n")


def test_checking_changes_nothing_in_the_state(run, cpu):
    """The mutant would restore the generator before it finds the moment that does not fit."""
    state = load_state(run, cpu)
    before = {name: value.clone() for name, value in state.tensors().items()}
    tensors = {name: torch.ones_like(value) if "generator." in name else value for name, value in before.items()}
    tensors[SQUARES] = torch.ones(1)
    with pytest.raises(InvalidInput, match=r"discriminator_optimizer\.1\.exp_avg_sq is float32"):
        folder.restore(state, tensors, 3)
    assert all(torch.equal(value, before[name]) for name, value in state.tensors().items()) and state.step == 12


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"glyphs"', "{}", "\xff\xfe", "[" * 100_000, '{"data": "glyphs"}'],
    ids=["empty", "cut", "list", "null", "number", "text", "no fields", "binary", "deep", "one field"],
)
def test_a_damaged_config_is_one_sentence(run, command, text):
    (run / "config.json").write_bytes(text.encode("latin-1"))
    for name in ("resume", "evaluate"):
        code, complaint = command(name, run)
        assert code == 2 and complaint.startswith("error: ") and complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(name, value) for name in ("generator_width", "batch_size", "seed") for value in ("8", None, 1.5, [], True)],
        *[("generator_learning_rate", value) for value in ("fast", None, True, [1e-3])],
        *[("spectral_norm", value) for value in (1, "yes", None)],
        *[("loss", value) for value in (7, None, "toString")],
        *[("generator_width", 10**7), ("discriminator_width", 10**30), ("latent_size", 10**15)],
    ],
)
def test_a_config_edited_by_hand_is_refused_with_the_field_before_memory_is_taken(run, cpu, field, value):
    config = json.loads((run / "config.json").read_text()) | {field: value}
    (run / "config.json").write_text(json.dumps(config))
    forge(run, lambda tensors, facts: facts["config"].update({field: value}))
    word = "widths" if isinstance(value, int) and abs(value) > 10**6 else field
    with pytest.raises(InvalidInput, match=word):
        load_state(run, cpu)


def test_what_the_networks_need_is_counted_nearly_to_the_last_weight():
    for config in (Config(), Config(image_size=64, channels=3, generator_width=64, upsampling="nearest")):
        generator, discriminator = map(models.num_parameters, models.build(config))
        assert models.least_bytes(config) == pytest.approx(4 * (5 * generator + 4 * discriminator), rel=0.02)


def test_where_config_and_checkpoint_disagree_the_checkpoint_counts_and_that_is_said(run, settings):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"loss": "minimax", "seed": 5, "total_images": 160}))
    with pytest.warns(UserWarning, match=r"the checkpoint counts: loss is 'non-saturating', seed is 0\.$"):
        state = resume(run, **settings)
    assert (state.config.loss, state.config.seed, state.images) == ("non-saturating", 0, 160)
    assert json.loads((run / "config.json").read_text())["loss"] == "non-saturating"


def test_a_run_whose_data_have_moved_goes_on_with_the_place_in_its_config(run, settings):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": "elsewhere"}))
    with pytest.warns(UserWarning, match=r"it counts: data is 'elsewhere'\.$"):
        assert resume(run, total_images=160, **settings).config.data == "elsewhere"


@pytest.mark.parametrize("text", ["{", "{}", "[]", "[1]", "null", "[[]]", "\xff"])
def test_a_damaged_provenance_is_set_aside_by_resume_and_not_lost(run, settings, text):
    (run / "provenance.json").write_bytes(text.encode("latin-1"))
    with pytest.warns(UserWarning, match="was renamed to"):
        resume(run, total_images=160, **settings)
    assert (run / "provenance.json.damaged").read_bytes() == text.encode("latin-1")
    (entry,) = json.loads((run / "provenance.json").read_text())
    assert entry["resumed_at_images"] == 96


BAD_LINES = [b"{}", b"[1]", b"7", b"null", b'"x"', b"\xff\x00", b"{", b'{"images": "many", "seconds": 1}',
             b'{"images": -8, "seconds": 1}', b'{"images": 56, "seconds": NaN}', b'{"images": 56}',
             b'{"images": 56, "seconds": 1.0, "generator_loss": []}', b"[" * 100_000]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_LINES)
def test_a_line_of_metrics_that_makes_no_sense_costs_no_other_line(run, settings, bad):
    lines = (run / "metrics.jsonl").read_bytes().splitlines()
    (run / "metrics.jsonl").write_bytes(b"\n".join([lines[0], bad, *lines[1:]]) + b"\n")
    with pytest.warns(UserWarning, match=r"^line 2 of .* cannot be read: left out\.$"):
        assert [line["images"] for line in read_metrics(run)] == [40, 48, 80, 96]
    with pytest.warns(UserWarning, match="line 2"):
        resume(run, total_images=160, **settings)
    after = (run / "metrics.jsonl").read_bytes().splitlines()
    assert after[:5] == [lines[0], bad, *lines[1:]], "byte for byte"
    assert [json.loads(line)["images"] for line in after[5:]] == [120, 144, 160]


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs links")
@pytest.mark.parametrize(
    "name",
    ["checkpoint.safetensors.partial", "config.json.partial", "metrics.jsonl", "provenance.json", "config.json",
     "samples/000000160.png", "best.safetensors", ".lock"],
)  # fmt: skip
def test_nothing_is_written_through_a_link_in_a_strangers_folder(run, settings, tmp_path, name):
    precious = tmp_path / "precious"
    original = (run / name).read_bytes() if (run / name).exists() else b"precious"
    precious.write_bytes(original)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(precious)
    try:
        resume(run, total_images=160, **settings)
    except InvalidInput as error:
        assert "link" in str(error)
    assert precious.read_bytes() == original


@pytest.mark.skipif(os.name == "nt", reason="needs links")
@pytest.mark.parametrize("name", ["samples", "tensorboard"])
def test_no_folder_inside_a_run_may_be_a_link(run, settings, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    if (run / name).exists():
        shutil.rmtree(run / name)
    (run / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="nothing is written through links"):
        resume(run, total_images=160, **settings)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_second_process_is_refused_while_a_first_one_trains(run, settings, command):
    before = content(run)
    with lock.locked(run):
        code, complaint = command("resume", run, "--total-images", "160")
        assert code == 2 and "another process is training" in complaint
        with pytest.raises(InvalidInput, match="another process is training"):
            resume(run, total_images=160, **settings)
    assert content(run) == before
    assert resume(run, total_images=160, **settings).images == 160, "and afterwards it is free"


HOLD = """
import sys, time
from pathlib import Path
from dcgan_core.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_lock_does_not_outlive_a_kill(run, settings):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InvalidInput, match="another process"), lock.locked(run):
            pass
    finally:
        process.kill()
        process.communicate()
    assert resume(run, total_images=160, **settings).images == 160


def test_a_start_that_failed_blocks_nothing(tiny_config, settings, tmp_path, monkeypatch):
    """A full disk while the folder is made, and one while the first picture is saved."""

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    for module, name in ((folder, "write_json"), (journal, "write_whole")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(InvalidInput, match="No space left"):
                train(tiny_config, tmp_path / "run", **settings)
    other = replace(tiny_config, total_images=16, seed=4)
    assert train(other, tmp_path / "run", **settings).images == 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"], "nothing lies about"
    with pytest.raises(InvalidInput, match="already holds a run"):
        train(other, tmp_path / "run", **settings)


def test_a_folder_with_a_line_of_metrics_is_no_failed_start(tiny_config, settings, tmp_path):
    train(tiny_config, tmp_path / "run", **settings)
    (tmp_path / "run" / CHECKPOINT).unlink()
    before = content(tmp_path / "run")
    with pytest.raises(InvalidInput, match="already holds a run"):
        train(tiny_config, tmp_path / "run", **settings)
    assert content(tmp_path / "run") == before


def test_weights_that_are_no_longer_finite_are_not_saved(run, settings, monkeypatch):
    """The loss was finite, and the step after it was not: no line of the log tells."""
    before = (run / CHECKPOINT).read_bytes()
    real = training.advance

    def burst(state, *rest):
        losses = real(state, *rest)
        if state.images == 144:  # a checkpoint, and no evaluation
            next(state.generator.parameters()).data.view(-1)[0] = float("inf")
        return losses

    monkeypatch.setattr(training, "ready", lambda state, machine: (burst, {}))
    with pytest.raises(training.Diverged, match="weights are no longer finite at 144 images"):
        resume(run, total_images=160, **settings)
    assert (run / CHECKPOINT).read_bytes() == before


class Signalling:
    """A judge during whose work a signal comes."""

    def __init__(self, at: int, number: int) -> None:
        self.calls, self.at, self.number = 0, at, number

    def to(self, device: torch.device) -> Signalling:
        return self

    def report(self, images: Tensor) -> dict[str, object]:
        self.calls += 1
        torch.randn(7)
        if self.calls == self.at:
            os.kill(os.getpid(), self.number)
            time.sleep(60)  # seconds that nobody has to wait for
        distance = float((images.std() - 0.02).abs())
        return {"frechet_distance": distance, "classes_covered": 0, "recognised": 0.0, "num_samples": len(images)}


def described(out: Path) -> list[object]:
    lines = [{key: value for key, value in line.items() if key != "seconds"} for line in read_metrics(out)]
    files = [checkpoint.load(out / name) for name in (CHECKPOINT, training.BEST)]
    return [lines, *[({key: value.tolist() for key, value in tensors.items()}, facts) for tensors, facts in files]]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
@pytest.mark.parametrize("at", [2, 5])
def test_a_signal_during_an_evaluation_saves_at_once_and_resume_makes_up_for_it(
    tiny_config, settings, tmp_path, monkeypatch, number, at
):
    """At the fifth evaluation the run is finished, but for what was broken off."""
    monkeypatch.setattr(examiner, "NUM_JUDGED", 4)
    config = replace(tiny_config, evaluate_every_images=32)
    train(config, tmp_path / "whole", judge=Signalling(0, 0), **settings)
    begin = time.perf_counter()
    with pytest.raises(training.Stopped) as caught:
        train(config, tmp_path / "parts", judge=Signalling(at, number), **settings)
    assert caught.value.number == number and time.perf_counter() - begin < 60
    assert load_state(tmp_path / "parts", settings["machine"]).images == 32 * at
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "put back"
    resume(tmp_path / "parts", judge=Signalling(0, 0), **settings)
    assert described(tmp_path / "parts") == described(tmp_path / "whole")


def test_an_evaluation_that_is_broken_off_twice_is_still_made_up_for(tiny_config, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(examiner, "NUM_JUDGED", 4)
    config = replace(tiny_config, evaluate_every_images=32)
    train(config, tmp_path / "whole", judge=Signalling(0, 0), **settings)
    with pytest.raises(training.Stopped):
        train(config, tmp_path / "parts", judge=Signalling(3, signal.SIGTERM), **settings)
    with pytest.raises(training.Stopped):
        resume(tmp_path / "parts", judge=Signalling(1, signal.SIGTERM), **settings)
    resume(tmp_path / "parts", judge=Signalling(0, 0), **settings)
    assert described(tmp_path / "parts") == described(tmp_path / "whole")


def changed(config: Config) -> list[str]:
    """The flags of what differs from the defaults."""
    defaults = Config().to_dict()
    settings = {key: value for key, value in config.to_dict().items() if value != defaults[key]}
    return [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_real_process_that_gets_a_signal_saves_and_says_so(tiny_config, tmp_path, name):
    flags = changed(replace(tiny_config, total_images=80_000, checkpoint_every_images=80_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "dcgan_core", "train", *flags, "--out", tmp_path / "run"],
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not (tmp_path / "run" / "metrics.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, name), errors
    assert "stopped and saved" in errors and "Traceback" not in errors
    assert load_state(tmp_path / "run").step > 0


def test_nohup_stays_in_force(tiny_config, settings, tmp_path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with training.stopping(settings["machine"]) as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not request
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [10**13, 10**20])
def test_more_samples_than_memory_holds_are_refused_at_once(run, command, number):
    for arguments in (("sample", run, "--out", "x.png", "--num-images"), ("evaluate", run, "--num-samples")):
        code, complaint = command(*arguments, number)
        assert code == 2 and "GB of memory" in complaint.splitlines()[-1]


@pytest.mark.parametrize("size", [16, 44])
def test_a_checkpoint_of_another_kind_of_device_is_opened_and_says_what_starts_again(run, settings, command, size):
    """A GPU's generator has a state of 16 bytes, one of a Mac's 44; a CPU's has 5,056."""

    def from_a_gpu(tensors: Tensors, facts: dict) -> None:
        tensors["latent_rng"] = torch.arange(size, dtype=torch.uint8)
        tensors["cuda_rng"] = torch.arange(16, dtype=torch.uint8)

    forge(run, from_a_gpu)
    assert command("sample", run, "--out", run.parent / "grid.png")[0] == 0
    first, second = run, run.parent / "second"
    shutil.copytree(first, second)
    one, other = (resume(where, total_images=160, **settings) for where in (first, second))
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items()), "always the same"
    last = json.loads((run / "provenance.json").read_text())[-1]
    assert last["started_again"] == ["dropout and other random numbers of the device", "latents"]


def test_a_run_that_goes_on_where_it_was_starts_nothing_again(run, settings):
    resume(run, total_images=160, **settings)
    assert "started_again" not in json.loads((run / "provenance.json").read_text())[-1]


@pytest.mark.slow
@pytest.mark.skipif("DCGAN_PATIENT" not in os.environ, reason="takes a quarter of an hour; set DCGAN_PATIENT=1")
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_of_50_kills_of_the_command_none_loses_a_run(tiny_config, tmp_path):
    """`train` killed, then `resume RUN` killed again and again, each at a random moment, until it is done."""
    rng = random.Random(0)
    config = replace(tiny_config, total_images=16_000, checkpoint_every_images=800, sample_every_images=4_000)
    flags = changed(config)
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dcgan_core", "train", *flags, "--out", tmp_path / "whole"], check=True)
    duration = time.perf_counter() - begin
    whole, number, kills = load_state(tmp_path / "whole").tensors(), 0, 0
    while kills < 50:
        out = tmp_path / f"run{number}"
        arguments = ["resume", out] if out.exists() else ["train", *flags, "--out", out]
        process = subprocess.Popen([sys.executable, "-m", "dcgan_core", *map(str, arguments)], stderr=subprocess.PIPE)
        try:
            _, errors = process.communicate(timeout=rng.uniform(0, 1.2 * duration))
            assert process.returncode == 0, errors.decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            continue
        found = load_state(out).tensors()
        assert [name for name in whole if not torch.equal(whole[name], found[name])] == []
        number += 1
    print(f"{kills} kills, {number} runs finished")


def test_a_folder_of_other_things_is_refused(tiny_config, settings, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(InvalidInput, match="is not an empty folder"):
        train(tiny_config, tmp_path / "thesis", **settings)
    assert content(tmp_path / "thesis") == {"chapter.txt": b"precious"}


def test_every_session_of_a_run_is_kept(run, settings):
    for images in (120, 160):
        resume(run, total_images=images, **settings)
    sessions = json.loads((run / "provenance.json").read_text())
    assert [session.get("resumed_at_images") for session in sessions] == [None, 96, 120]
