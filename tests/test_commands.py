"""Commands that use a run: single samples, films, copies, data that moved, and hints for flags that everyone tries."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from test_best import ScriptedJudge

from dcgan_core import recorded
from dcgan_core.cli.hints import num_images
from dcgan_core.config import Config
from dcgan_core.data import NAMES, load, unscale
from dcgan_core.data.latents import numbered_latents
from dcgan_core.data.walks import loop
from dcgan_core.train import draw_latents, load_state, sample, train

QUICK = (
    *("--image-size", "16", "--latent-size", "8", "--generator-width", "4", "--discriminator-width", "4"),
    *("--batch-size", "8", "--total-images", "64", "--device", "cpu", "--evaluate-every-images", "0"),
)


@pytest.fixture(scope="module")
def trained(tiny_folder, tmp_path_factory) -> Path:
    """A run that was better halfway than it is at its end."""
    config = Config(
        data=str(tiny_folder),
        image_size=16,
        latent_size=8,
        generator_width=4,
        discriminator_width=4,
        batch_size=8,
        total_images=80,
        sample_every_images=32,
        evaluate_every_images=48,
    )
    out = tmp_path_factory.mktemp("commands") / "run"
    train(config, out, judge=ScriptedJudge([1.0, 2.0, 2.0, 1.0]), progress=False)
    return out


def refusal(answer: tuple[int, str, str]) -> str:
    code, _, errors = answer
    assert code == 2, errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and lines[0].endswith(".") and "Traceback" not in errors, errors
    return lines[0]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.convert("L"))


# ------------------------------------------------------------------------------------------------------------- latents


def test_a_numbered_latent_is_the_same_however_many_are_drawn():
    whole = numbered_latents(slice(0, 300), 7, seed=5)
    for start, stop in ((0, 1), (0, 17), (40, 300), (299, 300)):
        assert torch.equal(numbered_latents(slice(start, stop), 7, seed=5), whole[start:stop])
    assert not torch.equal(numbered_latents(slice(0, 300), 7, seed=6), whole)
    assert float(whole.mean()) == pytest.approx(0, abs=0.08) and float(whole.std()) == pytest.approx(1, abs=0.05)


def test_the_latents_of_recorded_runs_are_what_they_were():
    """Their first rows depend on how many there are; pinned, because samples and replays were recorded with them."""
    assert not torch.equal(draw_latents(3, 7, seed=0), draw_latents(5, 7, seed=0)[:3])
    expected = torch.randn(64, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(draw_latents(64, 8, seed=3), expected)


def test_a_loop_passes_every_stop_and_ends_one_frame_before_the_first():
    stops = torch.randn(3, 2, 50, generator=torch.Generator().manual_seed(0))
    ways = loop(stops, 8)
    assert ways.shape == (24, 2, 50)
    for number, stop in enumerate(stops):
        assert torch.allclose(ways[8 * number], stop, atol=1e-5)
    steps = (ways - ways.roll(-1, 0)).norm(dim=2)  # the last one closes the loop
    assert float(steps.max() / steps.min()) < 2


# -------------------------------------------------------------------------------------------------------------- sample


def test_single_files_hold_the_images_of_their_numbers_however_many_are_drawn(run, trained, tmp_path):
    for number in (3, 70):
        code, output, errors = run("sample", trained, "--out", tmp_path / str(number), "--num-images", number)
        assert code == 0, errors
        assert output == f"{number} images in {tmp_path / str(number)}\n"
        assert len(list((tmp_path / str(number)).iterdir())) == number
    for name in ("000000.png", "000001.png", "000002.png"):
        assert (tmp_path / "3" / name).read_bytes() == (tmp_path / "70" / name).read_bytes()
    state = load_state(trained, checkpoint="best")
    expected = unscale(sample(state.sampler, numbered_latents(slice(0, 70), 8, seed=0)))[:, 0].numpy()
    found = np.stack([pixels(tmp_path / "70" / f"{number:06}.png") for number in range(70)])
    assert np.abs(found.astype(int) - expected).max() <= 1  # rounding depends on how many are computed together


def test_files_of_a_later_block_hold_the_images_of_their_numbers(run, tmp_path):
    """Letters, which differ more from one another than the samples of a run of ten steps."""
    letters = recorded.load("glyphs32")
    out = tmp_path / "files"
    assert run("sample", recorded.FOLDER / "glyphs32", "--out", out, "--num-images", 66)[0] == 0
    latents = numbered_latents(slice(0, 66), letters.config.latent_size, seed=0)
    expected = unscale(sample(letters.generator, latents))[:, 0].numpy().astype(int)
    found = np.stack([pixels(out / f"{number:06}.png") for number in range(66)])
    assert np.abs(found - expected).max() <= 1
    assert np.abs(expected[64] - expected[0]).mean() > 10


def test_a_picture_has_gaps_between_the_same_images(run, trained, tmp_path):
    run("sample", trained, "--out", tmp_path / "files", "--num-images", 5)
    for gap in (0, 3):
        out = tmp_path / f"{gap}.png"
        assert run("sample", trained, "--out", out, "--num-images", 5, "--gap", gap)[0] == 0
        picture = pixels(out)
        assert picture.shape == (2 * 16 + 3 * gap, 3 * 16 + 4 * gap)
        y, x = gap + 16 + gap, gap + 16 + gap  # image number 4: second row, second column
        assert np.array_equal(picture[y : y + 16, x : x + 16], pixels(tmp_path / "files" / "000004.png"))
        if gap:
            assert (picture[:gap] == 255).all() and (picture[gap + 16 : y] == 255).all()


def test_places_that_cannot_be_written_are_said_before_anything_is_drawn(run, trained, tmp_path):
    said = refusal(run("sample", trained, "--out", tmp_path / "missing" / "grid.png"))
    assert "does not exist" in said and "such as grid.png" not in said
    assert "such as grid.png" in refusal(run("sample", trained, "--out", tmp_path / "grid.nonsense"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "holds something" in refusal(run("sample", trained, "--out", tmp_path / "full"))
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert "gap is -1" in refusal(run("sample", trained, "--out", tmp_path / "grid.png", "--gap", "-1"))


# --------------------------------------------------------------------------------------------------------- interpolate


@pytest.mark.parametrize("name", ["walk.gif", "walk.webp", "walk.png"])
def test_a_film_is_a_loop_that_begins_with_the_samples_of_its_seed(run, tmp_path, name):
    letters = recorded.FOLDER / "glyphs32"
    smaller = ("--num-images", 4, "--num-stops", 3, "--frames-between", 5, "--frames-per-second", 10)
    code, output, errors = run("interpolate", letters, "--out", tmp_path / name, *smaller, "--seed", 7)
    assert code == 0 and "15 frames, 1.5 s" in output, errors
    with Image.open(tmp_path / name) as film:
        assert film.n_frames == 15 and film.is_animated
        assert film.info["loop"] == 0
        first = np.array(film.convert("L")).astype(int)
        assert round(film.info["duration"]) == 100, "milliseconds at ten frames a second"
    run("sample", letters, "--out", tmp_path / "start.png", "--num-images", 4, "--seed", 7)
    start = pixels(tmp_path / "start.png").astype(int)
    times = first.shape[0] // start.shape[0]
    difference = np.abs(first[::times, ::times] - start)
    assert difference.mean() < 6, "GIF has 256 colours, WebP loses some detail"


def test_formats_that_nothing_here_writes_are_explained(run, trained, tmp_path):
    said = refusal(run("interpolate", trained, "--out", tmp_path / "walk.mp4"))
    assert ".gif" in said and "ffmpeg" in said
    assert "num_stops is 1" in refusal(run("interpolate", trained, "--out", tmp_path / "w.gif", "--num-stops", 1))


# ------------------------------------------------------------------------------------------------------ best and copies


def test_one_rule_decides_between_best_and_last_and_is_said(run, trained, tmp_path):
    assert load_state(trained, checkpoint="best").images == 48 and load_state(trained).images == 80
    for command in ("sample", "interpolate"):
        suffix = "gif" if command == "interpolate" else "png"
        for asked, images in (("auto", 48), ("best", 48), ("last", 80)):
            out = tmp_path / f"{command}-{asked}.{suffix}"
            errors = run(command, trained, "--out", out, "--num-images", 1, "--checkpoint", asked)[2]
            assert f"at {images} images" in errors
            assert ("--checkpoint last" in errors) == (asked == "auto"), "that there is a later state is said"
    for asked, images in (("auto", 48), ("best", 48), ("last", 80)):
        assert json.loads(run("evaluate", trained, "--num-samples", 50, "--checkpoint", asked)[1])["images_seen"] == (
            images
        )
        code, output, errors = run("export", trained, "--out", tmp_path / asked, "--checkpoint", asked)
        assert code == 0 and f"at {images} images" in output, errors
        copy = recorded.load(tmp_path / asked)
        assert copy.images == images == copy.samples_at[-1]
        state = load_state(trained, checkpoint="best" if images == 48 else "last")
        drawn = unscale(sample(state.sampler, copy.latents)).float()
        assert (drawn - copy.samples[-1].float()).abs().max() <= 1
        card = (tmp_path / asked / "MODEL_CARD.md").read_text(encoding="utf-8")
        assert f"at {images} images of 80" in card and "moving average" in card and "half precision" in card


def test_the_samples_over_time_of_a_copy_end_with_its_own_weights(trained):
    state = load_state(trained, checkpoint="best")
    with torch.no_grad():
        state.average.layers[0].weight.mul_(50)  # so that its images differ from one another
    moments, rows = recorded._growth(trained, state)
    drawn = unscale(sample(state.average, draw_latents(64, 8, seed=0)[:16]))
    assert moments == [0, 32, 48]
    assert torch.equal(rows[-1], drawn) and not torch.equal(drawn, drawn.flip(0))


def test_a_copy_can_be_sampled_and_measured_like_the_run(run, trained, tiny_folder, tmp_path):
    assert run("export", trained, "--out", tmp_path / "copy")[0] == 0
    for source, name in ((trained, "run.png"), (tmp_path / "copy", "copy.png")):
        code, _, errors = run("sample", source, "--out", tmp_path / name, "--num-images", 9)
        assert code == 0, errors
    assert "exported copy, at 48 images" in errors
    difference = pixels(tmp_path / "run.png").astype(int) - pixels(tmp_path / "copy.png").astype(int)
    assert np.abs(difference).mean() < 2
    assert "one state" in refusal(run("sample", tmp_path / "copy", "--out", tmp_path / "x.png", "--checkpoint", "last"))
    assert "--data" in refusal(run("evaluate", tmp_path / "copy", "--num-samples", 50)), "a copy tells no place"
    code, output, _ = run("evaluate", tmp_path / "copy", "--num-samples", 50, "--data", tiny_folder)
    ours = json.loads(run("evaluate", trained, "--num-samples", 50)[1])
    assert code == 0
    assert json.loads(output)["frechet_distance"] == pytest.approx(ours["frechet_distance"], rel=0.05)


def test_a_copy_in_a_folder_named_like_one_of_the_books_is_that_copy(run, trained, tmp_path, monkeypatch):
    name = recorded.names()[0]
    assert run("export", trained, "--out", tmp_path / name)[0] == 0
    monkeypatch.chdir(tmp_path)
    assert run("sample", name, "--out", "grid.png", "--num-images", 1, "--gap", 0)[0] == 0
    assert pixels(tmp_path / "grid.png").shape == (16, 16)


def test_an_export_on_a_full_disk_leaves_nothing_that_blocks(run, trained, tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.utils, "save_image", full)
        assert "No space left" in refusal(run("export", trained, "--out", tmp_path / "copy"))
    assert list(tmp_path.iterdir()) == []
    assert run("export", trained, "--out", tmp_path / "copy")[0] == 0


# ------------------------------------------------------------------------------------------------------ data that moved


def test_each_command_that_reads_the_data_can_be_told_where_they_are_now(run, tiny_folder, tmp_path):
    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "run"
    shutil.copytree(tiny_folder, old)
    assert run("train", "--data", old, "--out", out, *QUICK, "--no-report")[0] == 0
    old.rename(new)
    commands = (
        ("evaluate", out, "--num-samples", 50),
        ("export", out, "--out", tmp_path / "copy"),
        ("resume", out, "--total-images", 96),
    )
    for command in commands:
        before = sorted(tmp_path.rglob("*"))
        assert "--data" in refusal(run(*command)) and sorted(tmp_path.rglob("*")) == before
        code, _, errors = run(*command, "--data", new)
        assert code == 0, errors
        assert "warning" not in errors
    assert json.loads((out / "config.json").read_text())["data"] == str(new)
    assert run("resume", out, "--total-images", 128)[0] == 0, "the new place is kept"


@pytest.mark.filterwarnings("always")  # as outside of the tests
@pytest.mark.parametrize("change", ["fewer", "other pixels"])
def test_a_run_that_goes_on_with_other_images_says_so(run, tiny_folder, tmp_path, change):
    data, out = tmp_path / "images", tmp_path / "run"
    shutil.copytree(tiny_folder, data)
    assert run("train", "--data", data, "--out", out, *QUICK, "--no-report")[0] == 0
    assert "other pixels" not in run("resume", out, "--total-images", 80, "--no-report")[2]
    first = sorted(data.iterdir())[0]
    first.unlink() if change == "fewer" else Image.new("L", (16, 16), 77).save(first)
    errors = run("resume", out, "--total-images", 96, "--no-report")[2]
    warned = [line for line in errors.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1 and ("40 images then, 39 now" if change == "fewer" else "other pixels") in warned[0]


# --------------------------------------------------------------------------------------------------------------- hints


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--lr", "0.0002"), "--generator-learning-rate 0.0002 --discriminator-learning-rate 0.0002"),
        (("--learning_rate=1e-4",), "--generator-learning-rate 1e-4"),
        (("--epochs", "10"), "for 10 passes over the data use --total-images 200000"),
        (("--epochs", "10", "--data", "FOLDER"), "use --total-images 440"),
        (("--data=FOLDER", "--num-epochs=2"), "use --total-images 88"),
        (("--epochs", "many"), "so use --total-images"),
        (("--steps", "1000"), "for 1000 updates with 64 images each use --total-images 64000"),
        (("--iterations", "10", "--batch-size", "8", "--discriminator_steps", "5"), "--total-images 400"),
        (("--batch", "32"), "use --batch-size 32"),
        (("--size", "64"), "use --image-size 64"),
        (("--output", "runs/x"), "use --out runs/x"),
        (("-o", "runs/x"), "use --out runs/x"),
        (("--name", "first"), "use --out first"),
        (("--gpu",), "--device cuda"),
        (("--gpu", "1"), "CUDA_VISIBLE_DEVICES=1"),
        (("--cpu",), "--device cpu"),
        (("--fp16",), "--precision float16"),
        (("--dataset", "photos"), "use --data photos"),
        (("--nz", "64"), "use --latent-size 64"),
    ],
)
def test_a_flag_that_everyone_tries_is_answered_with_the_right_one(run, tiny_folder, arguments, said):
    arguments = [argument.replace("FOLDER", str(tiny_folder)) for argument in arguments]
    answer = refusal(run("train", *arguments))
    assert said in answer and answer.count(". ") == 0


def test_hints_belong_to_the_command_that_has_the_flag(run, trained, tmp_path):
    out = tmp_path / "x.png"
    assert "--num-images 9" in refusal(run("sample", trained, "-n", "9", "--out", out))
    assert "--num-images 9" in refusal(run("sample", trained, "--num-samples", "9", "--out", out))
    assert run("evaluate", trained, "--num-samples", "50")[0] == 0, "a flag of this command"
    assert "Unrecognized" in "".join(run("sample", trained, "--lr", "9", "--out", out)[1:]), "has no rates at all"


@pytest.mark.parametrize("command", ["train", "resume", "report", "sample", "interpolate", "evaluate", "export"])
def test_no_flag_that_exists_is_taken_for_a_mistake(run, command):
    code, output, _ = run(command, "--help")
    assert code == 0
    flags = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", output)) - {"--nproc-per-node", "--nnodes"}
    for flag in flags:
        assert "there is no flag" not in "".join(run(command, flag, "1", "--help")[1:]), flag


def test_lengths_of_named_data_sets_are_those_of_the_data():
    for name in ("glyphs", "stacked-digits"):
        channels = 3 if name.startswith("stacked") else 1
        assert num_images(name) == len(load(name, image_size=16, channels=channels).images)
    assert all(num_images(name) for name in NAMES)
    assert num_images("no such folder") is None


# ---------------------------------------------------------------------------------------------------- names and locales


@pytest.mark.slow
def test_names_beyond_ascii_work_where_the_locale_is_ascii(tiny_folder, tmp_path):
    folder = tmp_path / "写真 ü"
    folder.mkdir()
    shutil.copytree(tiny_folder, folder / "images")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    several = (  # in one process, which saves starting three
        "import sys\nfrom dcgan_core.cli import main\nname, *words = sys.argv\n"
        "while words:\n    end = words.index('then')\n    sys.argv = [name, *words[:end]]\n    assert main() == 0\n"
        "    words = words[end + 1 :]\n"
    )
    for arguments in (
        ("-m", "dcgan_core", "train", "--data", folder / "images", "--out", folder / "run", *QUICK),
        (
            *("-c", several),
            *("sample", folder / "run", "--out", folder / "格.png", "then"),
            *("export", folder / "run", "--out", folder / "写し", "then"),
            *("report", folder / "run", "--out", folder / "頁.html", "then"),
        ),
    ):
        done = subprocess.run(
            [sys.executable, *map(os.fsencode, arguments)],
            env={**os.environ, **ascii_only},
            capture_output=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert (folder / "格.png").exists()
    for name in ("MODEL_CARD.md", "record.json"):
        assert (folder / "写し" / name).read_text(encoding="utf-8")
    assert "<title>run" in (folder / "頁.html").read_text(encoding="utf-8")
