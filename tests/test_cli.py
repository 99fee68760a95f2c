"""The command line: the whole job in four commands, and one sentence for every mistake."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from dcgan_core import runtime
from dcgan_core.config import RECIPES, Config
from dcgan_core.data import NAMES, named, unscale
from dcgan_core.data.latents import numbered_latents
from dcgan_core.train import BEST, CHECKPOINT, load_state, read_config, sample

QUICK = (
    *("--image-size", "16", "--latent-size", "8", "--generator-width", "4", "--discriminator-width", "4"),
    *("--batch-size", "8", "--total-images", "64", "--device", "cpu"),
)


@pytest.fixture
def trained(run, tiny_folder, tmp_path) -> Path:
    code, _, errors = run("train", "--data", tiny_folder, "--out", tmp_path / "run", *QUICK)
    assert code == 0, errors
    return tmp_path / "run"


def assert_one_sentence(answer: tuple[int, str, str], *parts: str) -> None:
    """Exit code 2, no traceback, and a single line that starts with "error:" and names what matters."""
    code, _, errors = answer
    assert code == 2, errors
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert lines[0].endswith(".")
    for part in parts:
        assert part in lines[0], lines[0]


def test_train_sample_resume_and_evaluate_work_one_after_the_other(run, trained, tmp_path):
    code, output, _ = run("sample", trained, "--num-images", 9, "--out", tmp_path / "grid.png")
    assert code == 0 and output.strip() == str(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (3 * 16 + 4 * 2, 3 * 16 + 4 * 2)

    code, output, _ = run("resume", trained, "--total-images", 96)
    assert code == 0 and re.search(r"done: 96 images in .*, best at \d+ \(Fréchet distance", output)
    code, output, _ = run("evaluate", trained, "--num-samples", 100, "--checkpoint", "last")
    report = json.loads(output)
    assert code == 0
    assert report["images_seen"] == 96 and report["num_samples"] == 100 and report["num_reference"] == 4
    assert report["frechet_distance"] > 0
    assert report["classes_covered"] is report["recognised"] is None  # a folder has no labels
    assert report["features"] == "general features"
    assert report["num_compared"] == 4 and 0 <= report["precision"] <= 1 and 0 <= report["recall"] <= 1
    assert report["kid_error"] > 0 and 0 <= report["one_nn_accuracy"] <= 1


def test_another_seed_measures_other_samples_and_the_same_seed_the_same(run, trained):
    def distance(seed: int) -> float:
        code, output, _ = run("evaluate", trained, "--num-samples", 100, "--seed", seed)
        assert code == 0 and json.loads(output)["seed"] == seed
        return json.loads(output)["frechet_distance"]

    assert distance(3) == distance(3) != distance(4)


def test_evaluate_counts_the_letters_of_a_run_on_glyphs(run, tmp_path, monkeypatch):
    monkeypatch.setattr(named, "NUM_GLYPHS", {"train": 600, "test": 400})
    assert run("train", "--data", "glyphs", "--out", tmp_path / "run", *QUICK)[0] == 0
    code, output, _ = run("evaluate", tmp_path / "run", "--num-samples", 200)
    report = json.loads(output)
    assert code == 0
    assert report["num_classes"] == 26 and report["num_samples"] == 200 and report["num_reference"] == 400
    assert 0 <= report["classes_covered"] <= 26 and 0 <= report["recognised"] <= 1
    assert sum(report["class_counts"]) == round(200 * report["recognised"])


def test_inception_that_cannot_be_had_is_one_sentence(run, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    answer = run("evaluate", trained, "--features", "inception")
    assert_one_sentence(answer, "torchmetrics and torch-fidelity", "pip install")


def test_help_names_every_field_of_the_config(run):
    code, output, _ = run("train", "--help")
    assert code == 0
    words = set(re.findall(r"--[a-z0-9-]+", output))
    assert {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Config)} <= words


@pytest.mark.parametrize("command", ["train", "resume", "sample", "evaluate"])
def test_help_of_each_command_has_an_example(run, command):
    code, output, _ = run(command, "--help")
    assert code == 0
    assert f"Example: python -m dcgan_core {command}" in " ".join(output.split())


def configured(run, folder: Path, *arguments: object) -> Config:
    """The config of a run of a single iteration that is begun with these flags."""
    code, _, errors = run("train", "--data", folder, "--out", folder / "run", *arguments, "--device", "cpu")
    assert code == 0, errors
    return read_config(folder / "run")


@pytest.mark.parametrize("flag", [("--recipe", "paper"), ("--recipe=paper",)])
def test_flags_override_a_recipe_and_the_run_holds_what_came_of_it(run, tiny_folder, tmp_path, flag):
    folder = tmp_path / "images"
    shutil.copytree(tiny_folder, folder)
    smaller = ("--batch-size", 8, "--total-images", 8, "--image-size", 16, "--evaluate-every-images", 0)
    found = configured(run, folder, *flag, *smaller)
    changed = {"batch_size": 8, "total_images": 8, "image_size": 16, "evaluate_every_images": 0, "data": str(folder)}
    assert found == Config(**RECIPES["paper"] | changed)
    assert found.generator_learning_rate == 2e-4 and found.ema_halflife_images == 0


def test_help_shows_the_settings_of_the_recipe_and_an_unknown_one_is_refused(run):
    for arguments, batch_size in (((), 64), (("--recipe", "paper"), 128)):
        code, output, _ = run("train", *arguments, "--help")
        assert code == 0
        assert f"as many fake ones. (default: {batch_size})" in " ".join(re.sub("│", " ", output).split())
    for arguments in (("--recipe", "cake"), ("--recipe",)):
        code, output, errors = run("train", "--out", "nowhere", *arguments)
        assert code == 2 and "--recipe" in output + errors


def test_unknown_data_set(run, tmp_path):
    answer = run("train", "--data", "glyhps", "--out", tmp_path / "run")
    assert_one_sentence(answer, "'glyhps'", ", ".join(NAMES), "check the spelling")
    assert not (tmp_path / "run").exists()


def test_folder_that_is_missing_or_empty(run, tmp_path):
    assert_one_sentence(run("train", "--data", tmp_path / "none", "--out", tmp_path / "run"), str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert_one_sentence(run("train", "--data", tmp_path / "empty", "--out", tmp_path / "run"), "empty")


@pytest.mark.filterwarnings("always")  # as outside of the tests
def test_a_corrupt_file_among_good_ones_is_named_and_the_rest_is_used(run, tiny_folder, tmp_path):
    (tmp_path / "images").mkdir()
    for path in tiny_folder.iterdir():
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    code, _, errors = run("train", "--data", tmp_path / "images", "--out", tmp_path / "run", *QUICK)
    assert code == 0
    warnings = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1 and "broken.png" in warnings[0] and "notes.txt" in warnings[0]


def test_a_folder_of_no_images(run, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("no image")
    assert_one_sentence(run("train", "--data", tmp_path / "texts", "--out", tmp_path / "run"), "no usable image")


def test_image_size_48(run, tmp_path):
    assert_one_sentence(run("train", "--image-size", 48, "--out", tmp_path / "run"), "48", "8, 16, 32, 64, 128 or 256")


def test_an_existing_run_with_another_config(run, trained, tiny_folder):
    answer = run("train", "--data", tiny_folder, "--out", trained, *QUICK, "--seed", 5)
    assert_one_sentence(answer, "another config", "--out")


@pytest.mark.parametrize("damage", [lambda content: content[:1000], lambda content: b"x" * 100, lambda content: b""])
@pytest.mark.parametrize(("command", "name"), [("resume", CHECKPOINT), ("evaluate", BEST)])
def test_a_damaged_checkpoint(run, trained, command, name, damage):
    checkpoint = trained / name
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    assert_one_sentence(run(command, trained), name, "damaged")


def test_a_folder_without_a_run(run, tmp_path):
    for command in ("resume", "evaluate"):
        assert_one_sentence(run(command, tmp_path), "holds no run")


def test_no_network(run, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", refuse)
    answer = run("train", "--data", "mnist", "--data-root", tmp_path / "data", "--out", tmp_path / "run")
    assert_one_sentence(answer, "'mnist'", str(tmp_path / "data"), "--data glyphs")


def test_numbers_of_samples_that_make_no_sense(run, trained, tmp_path):
    assert_one_sentence(run("evaluate", trained, "--num-samples", 1), "2 or more")
    assert_one_sentence(run("sample", trained, "--num-images", 0, "--out", tmp_path / "x.png"), "1 or more")
    assert_one_sentence(run("sample", trained, "--out", tmp_path / "x.nonsense"), "x.nonsense")


def test_sample_and_evaluate_take_the_best_checkpoint_where_there_is_one_and_say_which(run, tiny_folder, tmp_path):
    out = tmp_path / "run"
    code, _, errors = run("train", "--data", tiny_folder, "--out", out, *QUICK, "--evaluate-every-images", 32)
    assert code == 0, errors
    steps = {name: load_state(out, checkpoint=name).images for name in ("best", "last")}
    assert steps["last"] == 64 and steps["best"] in (32, 64)
    for asked, found in (("auto", "best"), ("best", "best"), ("last", "last")):
        code, output, _ = run("evaluate", out, "--num-samples", 50, "--checkpoint", asked)
        report = json.loads(output)
        assert code == 0 and (report["checkpoint"], report["images_seen"]) == (found, steps[found])
        code, _, errors = run("sample", out, "--checkpoint", asked, "--out", tmp_path / "grid.png")
        assert code == 0 and f"the {found} checkpoint, at {steps[found]} images" in errors
    (out / BEST).unlink()
    assert "the last checkpoint" in run("sample", out, "--out", tmp_path / "grid.png")[2]
    assert_one_sentence(run("sample", out, "--checkpoint", "best", "--out", tmp_path / "x.png"), "no checkpoint", BEST)


def test_insisting_on_a_cuda_graph_without_a_gpu_is_one_sentence_before_anything_is_written(run, trained, tmp_path):
    answer = run("train", "--out", tmp_path / "new", *QUICK, "--capture", "on")
    assert_one_sentence(answer, "capture is 'on'", "CUDA device", "auto or off")
    assert not (tmp_path / "new").exists()
    assert_one_sentence(run("resume", trained, "--capture", "on"), "capture is 'on'")
    assert_one_sentence(run("compare", "--out", tmp_path / "x.jsonl", "--capture", "on"), "capture is 'on'")


def test_resume_computes_as_before_unless_a_flag_says_otherwise(run, tiny_folder, tmp_path, monkeypatch):
    """On a machine whose chip computes in bfloat16."""
    monkeypatch.setattr(runtime, "_cpu_flags", lambda: frozenset({"avx512_bf16"}))
    out = tmp_path / "run"
    _, output, _ = run("train", "--data", tiny_folder, "--out", out, *QUICK, "--precision", "float32")
    assert "float32 (as asked)" in output
    _, output, _ = run("resume", out, "--total-images", 80)
    assert "float32 (as before)" in output
    _, output, _ = run("resume", out, "--total-images", 96, "--precision", "auto", "--capture", "off")
    assert "bfloat16 (the chip has it)" in output
    found = json.loads((out / "provenance.json").read_text())
    assert [session["precision"] for session in found] == ["float32", "float32", "bfloat16"]
    assert [session["capture"] for session in found] == ["auto", "auto", "off"]


def drawn(run, trained: Path, seed: int) -> torch.Tensor:
    """The picture of 4 images that the command writes, grey."""
    out = trained.parent / f"{seed}.png"
    assert run("sample", trained, "--out", out, "--num-images", "4", "--seed", str(seed), "--gap", "0")[0] == 0
    return torch.from_numpy(np.array(Image.open(out).convert("L")))


def test_another_seed_draws_other_images(run, trained):
    assert not torch.equal(drawn(run, trained, 0), drawn(run, trained, 1))


def test_the_picture_shows_the_average_at_the_latents_of_the_seed(run, trained):
    state = load_state(trained)
    latents = numbered_latents(slice(0, 4), state.config.latent_size, seed=3)
    average, raw = (
        torchvision.utils.make_grid(unscale(sample(network, latents)), nrow=2, padding=0)[0]
        for network in (state.average, state.generator)
    )
    shown = drawn(run, trained, 3)
    assert torch.equal(shown, average) and not torch.equal(shown, raw)


def test_a_command_starts_without_importing_what_only_some_commands_need():
    """Each of these takes about as long to import as PyTorch, or half as long; Adam imports the second by itself."""
    late = {"torchvision", "torch._dynamo", "scipy.stats", "sklearn", "matplotlib.figure", "matplotlib.pyplot"}
    code = f"import sys, dcgan_core.cli; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
