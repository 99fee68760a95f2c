"""The report on a GPU: each part by itself, with its time limit; the tests that need a card start anywhere."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dcgan_core.benchmark import gpu_parts, gpu_report, kernels, whole
from dcgan_core.benchmark.gpu_goals import GOALS, goals
from dcgan_core.benchmark.gpu_plan import MINUTES, ORDER, RUNS, Part
from dcgan_core.benchmark.gpu_report import ROOT
from dcgan_core.benchmark.gpu_text import text
from dcgan_core.benchmark.ladder import core_loop
from dcgan_core.metrics import Judge, examiner
from dcgan_core.recorded import load
from dcgan_core.runs import Journal, folder
from dcgan_core.runtime import choose_machine

MAYBE_MISSING = ("hypothesis", "nbformat", "nbmake", "tyro", "sklearn", "scipy", "yaml", "ipywidgets", "torchmetrics")
WITH_PACKAGE = os.environ | {"PYTHONPATH": str(ROOT)}


def pytest_in(where: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)],
        cwd=where,
        env=WITH_PACKAGE | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


# Tests that need a card, on a foreign machine


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> dict:
    """What the report would read of its tests on a machine without a card and without packages that may be missing."""
    folder = tmp_path_factory.mktemp("bare")
    lines = ["import sys", *(f"sys.modules[{name!r}] = None" for name in MAYBE_MISSING)]
    (folder / "bare_machine.py").write_text("\n".join(lines))
    command = gpu_report.tests_command(folder / "tests.xml")
    assert command[:3] == [sys.executable, "-m", "pytest"]
    done = pytest_in(
        ROOT,
        *command[3:],
        "-p",
        "bare_machine",
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        PYTHONPATH=os.pathsep.join([str(ROOT), str(folder)]),
        CUDA_VISIBLE_DEVICES="",
    )
    assert done.returncode == 0, done.stdout
    return gpu_report.read_tests(folder / "tests.xml")


@pytest.mark.slow
def test_the_command_starts_every_test_that_needs_a_gpu_without_packages_that_may_be_missing(started, request):
    """Every one of those that were collected here: of all there are, where the whole suite runs."""
    skipped = started["skipped"]
    reasons = set(skipped.values())
    assert "needs a CUDA device" in reasons and len(reasons) == 2
    assert any("could not import 'scipy'" in reason for reason in reasons)
    names = set()
    for item in request.session.items:
        file, _, test = item.nodeid.partition("::")
        if item.get_closest_marker("gpu"):
            names.add(f"{file.removesuffix('.py').replace('/', '.')}.{test}")
    whole_files = {name.removeprefix(".") for name in skipped if name.startswith(".")}
    assert {name for name in names if name not in skipped} == {
        name for name in names for file in whole_files if name.startswith(f"{file}.")
    }
    assert len(skipped) > 20


@pytest.fixture
def project(tmp_path) -> Path:
    """This project's settings and fixtures, one test that wants warnings to be errors, and a plugin that warns."""
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "warns.py").write_text(
        "import warnings\n\n\ndef pytest_configure(config):\n    warnings.warn('a plugin complains', UserWarning)\n"
    )
    (tmp_path / "tests" / "test_strict.py").write_text(
        "import warnings\n\nimport pytest\n\n\ndef test_strict():\n    with pytest.raises(UserWarning):\n"
        "        warnings.warn('of the code')\n"
    )
    return tmp_path


def with_plugin(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return pytest_in(project, *arguments, "-p", "warns", PYTHONPATH=os.pathsep.join([str(ROOT), str(project)]))


def test_a_foreign_plugin_may_warn_and_the_tests_are_as_strict_as_ever(project):
    done = with_plugin(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    (project / "tests" / "test_at_import.py").write_text("import warnings\n\nwarnings.warn('when it is read')\n")
    assert "UserWarning: when it is read" in with_plugin(project).stdout


def test_strictness_can_be_overruled_from_the_command_line(project):
    assert "DID NOT RAISE" in with_plugin(project, "-o", "filterwarnings=default").stdout


# Parts and their time limits


@pytest.fixture
def asked(tmp_path) -> gpu_report.Asked:
    (tmp_path / "out" / "recorded").mkdir(parents=True)
    return gpu_report.Asked(tmp_path / "out", True, tmp_path / "data", ())


@pytest.fixture
def programs(monkeypatch):
    """Makes each named part a program of a few lines, which finds the file to write in `sys.argv[1]`."""

    def use(**codes: str) -> None:
        monkeypatch.setattr(gpu_report, "ORDER", tuple((Part(name, 20),) for name in codes))
        monkeypatch.setattr(
            gpu_report,
            "_command",
            lambda part, asked, scratch, limit: [
                *(sys.executable, "-c", codes[part.name]),
                str(scratch / f"{part.name}.json"),
            ],
        )

    return use


GOOD = "import sys; print('working'); open(sys.argv[1], 'w').write('{\"x\": 1}')"


def test_a_part_that_hangs_or_fails_takes_no_other_with_it(asked, programs, monkeypatch):
    programs(first=GOOD, hangs="import time; print('still here'); time.sleep(600)", fails="1 / 0", last=GOOD)
    order = [(replace(part, seconds=3 if part.name == "hangs" else 60),) for (part,) in gpu_report.ORDER]
    monkeypatch.setattr(gpu_report, "ORDER", tuple(order))
    monkeypatch.setattr(gpu_report, "LEAST_SECONDS", 0)
    report = gpu_report.run(asked)
    assert {name: part["status"] for name, part in report["parts"].items()} == {
        "first": "finished",
        "hangs": "out of time",
        "fails": "failed",
        "last": "finished",
    }
    assert report["parts"]["first"]["result"] == report["parts"]["last"]["result"] == {"x": 1}
    assert "ZeroDivisionError" in report["parts"]["fails"]["why"]
    assert 3 <= report["parts"]["hangs"]["seconds"] < 10
    assert json.loads((asked.out / "report.json").read_text()) == report
    log = (asked.out / "log.txt").read_text()
    assert log.count("working") == 2 and "still here" in log


def test_a_part_that_is_killed_leaves_no_process_behind(asked, programs, tmp_path):
    programs(hangs=f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    gpu_report.run(asked, minutes=5.5 / 60)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_when_the_time_is_up_the_rest_is_skipped_with_a_word(asked, programs):
    programs(first=GOOD, second=GOOD)
    parts = gpu_report.run(asked, minutes=0)["parts"]
    assert {part["status"] for part in parts.values()} == {"skipped"}
    assert {part["why"] for part in parts.values()} == {"no time was left"}


@pytest.mark.usefixtures("usual_signals")
def test_what_was_finished_survives_a_kill_of_the_report_itself(tmp_path):
    code = (
        "import sys; from dcgan_core.benchmark import gpu_report as r\n"
        "r.ORDER = ((r.Part('first', 60),), (r.Part('hangs', 60),))\n"
        f"codes = {{'first': {GOOD!r}, 'hangs': 'import time; time.sleep(60)'}}\n"
        "r._command = lambda part, asked, scratch, limit: "
        "[sys.executable, '-c', codes[part.name], str(scratch / f'{part.name}.json')]\n"
        "r.main()"
    )
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--out", str(out)], env=WITH_PACKAGE, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (out / "report.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)  # Ctrl-C, so that the part in hand is ended, too
        process.wait(20)
    finally:
        process.kill()
    assert json.loads((out / "report.json").read_text())["parts"]["first"]["result"] == {"x": 1}


def test_a_missing_package_is_named_with_what_is_skipped(tmp_path, programs, monkeypatch, capsys):
    programs(first=GOOD, second=GOOD)
    monkeypatch.setattr(gpu_report, "ORDER", ((Part("first", 20, ("no_such_package",)),), (Part("second", 20),)))
    monkeypatch.setattr(sys, "argv", ["gpu_report", "--out", str(tmp_path / "out")])
    assert gpu_report.main() == 0
    printed = capsys.readouterr().out
    sentence = "no_such_package is missing (pip install no_such_package): skipped are first."
    assert sentence in printed and sentence in (tmp_path / "out" / "report.txt").read_text()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["parts"]["first"]["why"] == "no_such_package is missing: pip install no_such_package"
    assert report["parts"]["second"]["status"] == "finished"
    assert report["missing"] == {"no_such_package": ["first"]}


NEED_LITTLE = ("machine", "ladder-32", "precision-64", "profile-64")


@pytest.fixture(scope="module")
def with_little(tmp_path_factory) -> dict[str, dict]:
    """Results of the parts that need few packages, in the small form, where no others are installed."""
    folder = tmp_path_factory.mktemp("little")
    (needs,) = {part.needs for row in ORDER for part in row if part.name in NEED_LITTLE}
    unneeded = sorted({*RUNS, *MAYBE_MISSING} - set(needs))
    assert "tqdm" in unneeded and "safetensors" in unneeded
    code = (
        f"import sys\nfor name in {unneeded}: sys.modules[name] = None\n"
        "from dcgan_core.benchmark import gpu_parts, gpu_report\n"
        "print(sorted(gpu_report.missing(gpu_report.ORDER)))\n"
        f"for name in {NEED_LITTLE}:\n"
        "    sys.argv[1:] = [name, '--small', '--result', f'{name}.json', '--folder', '.']\n"
        "    gpu_parts.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=WITH_PACKAGE, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "['safetensors', 'tqdm']"
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in NEED_LITTLE}


def test_parts_run_without_the_packages_that_they_do_not_name(with_little):
    for name in ("ladder-32", "precision-64"):
        keys = {"config", "machine", "counts", "matrix_flop_per_second", "copy_bytes_per_second", "rows"}
        assert keys <= with_little[name].keys()
    assert with_little["ladder-32"]["config"]["channels"] == 1
    assert with_little["profile-64"]["eager"]["top"] and with_little["machine"]["torch"] == str(torch.__version__)


def test_data_that_are_not_there_are_named(asked):
    part = next(part for row in ORDER for part in row if part.data == "mnist")
    here = replace(asked, small=False)
    assert "mnist/MNIST/raw" in gpu_report._why_skipped(part, here, 60)
    raw = asked.data_root / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").touch()
    assert gpu_report._why_skipped(part, here, 60) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--out", "{used}"], "is not an empty folder"), (["--out", "{new}", "--only", "ladder"], "no part 'ladder'")],
)
def test_mistakes_on_the_command_line_are_one_sentence(arguments, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    places = {name: str(tmp_path / name) for name in ("used", "new")}
    monkeypatch.setattr(sys, "argv", ["gpu_report", *(word.format(**places) for word in arguments)])
    assert gpu_report.main() == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and words in errors and errors.count("\n") == 1


def test_every_part_is_known_and_the_important_ones_come_before_the_time_is_up():
    names = [part.name for row in ORDER for part in row]
    assert sorted(names) == sorted({*gpu_parts.PARTS, "tests"})
    needed = [max(part.seconds for part in row) for row in ORDER]
    places = [[part.name for part in row] for row in ORDER]
    last = next(i for i, row in enumerate(places) if row[0].startswith("record-"))
    assert sum(needed[:last]) < 60 * MINUTES, "even if each part before needed all its time, runs would be recorded"


# What the parts measure


@pytest.fixture
def few_samples(monkeypatch):
    for module in (whole, examiner):
        monkeypatch.setattr(module, "NUM_JUDGED", 20)


def speeds_of_whole(tiny_config, tiny_dataset, cpu, out) -> dict:
    config = replace(
        tiny_config,
        log_every_images=16,
        sample_every_images=32,
        checkpoint_every_images=32,
        evaluate_every_images=32,
    )
    step = core_loop(config, tiny_dataset.images, cpu)
    return whole.whole(config, tiny_dataset.images, cpu, step, out, min_seconds=0, num_steps=1)


@pytest.mark.usefixtures("few_samples")
def test_the_whole_is_timed_over_a_multiple_of_every_interval(tiny_config, tiny_dataset, cpu, tmp_path):
    found = speeds_of_whole(tiny_config, tiny_dataset, cpu, tmp_path / "run")
    assert (found["images"], found["evaluations"]) == (32, 1)
    assert found["ratio"] == pytest.approx(found["images_per_second"] / found["bare_images_per_second"][0])
    assert found["pause_seconds"].keys() == {"evaluation", "samples", "checkpoint"}
    long = replace(tiny_config, batch_size=24)
    assert [whole._shown(long, number) for number in (1, 2)] == [0, 0]  # never evaluated
    assert [whole._shown(replace(long, evaluate_every_images=100), number) for number in (1, 2, 3)] == [120, 216, 312]


@pytest.mark.usefixtures("few_samples")
@pytest.mark.parametrize(
    ("owner", "name"), [(Judge, "report"), (Journal, "show"), (Journal, "write"), (folder, "save")]
)
def test_whatever_holds_the_run_up_counts(tiny_config, tiny_dataset, cpu, tmp_path, monkeypatch, owner, name):
    right = getattr(owner, name)

    def slow(*given, **named):
        time.sleep(0.5)
        return right(*given, **named)

    monkeypatch.setattr(owner, name, slow)
    found = speeds_of_whole(tiny_config, tiny_dataset, cpu, tmp_path / "run")
    assert found["images"] / found["images_per_second"] > 0.5, "seconds from the first evaluation to the last"


def test_a_profile_shows_what_an_iteration_calls():
    matrix = torch.ones(64, 64)
    found = kernels.profile(lambda: matrix @ matrix, torch.device("cpu"), num_steps=4)
    assert {line["name"]: line["calls_per_step"] for line in found["top"]}["aten::mm"] == 1
    shares = [line["share"] for line in found["top"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=0.2) and sum(shares) <= 1.001
    assert (found["launches_per_step"], found["launch_share"], found["busy"]) == (0, 0, None)


@pytest.mark.gpu
def test_on_a_gpu_a_profile_shows_kernels_and_launches():
    matrix = torch.ones(2048, 2048, device="cuda")
    found = kernels.profile(lambda: matrix @ matrix, torch.device("cuda"), num_steps=4)
    assert found["kernels_per_step"] >= 1 and found["launches_per_step"] >= 1
    assert 0 < found["busy"] < 1.5 and 0 < found["launch_share"] < 1
    assert not any(line["name"].startswith("aten::") for line in found["top"])


def test_a_recording_stops_in_time_and_keeps_what_it_has(tiny_config, tmp_path, monkeypatch):
    endless = replace(tiny_config, total_images=10**9, checkpoint_every_images=10**8, log_every_images=400)
    monkeypatch.setitem(gpu_parts.RECORDED, "letters", endless)
    monkeypatch.setattr(gpu_parts, "training_machine", lambda config: choose_machine("cpu", "float32"))
    asked = gpu_parts.Asked(small=False, folder=tmp_path, data_root="data", seconds=3)
    found = gpu_parts.recording("letters", asked)
    assert 0 < found["images"] < found["asked_images"]
    run = load(tmp_path / "letters")
    assert run.metrics[-1]["images"] == found["images"]
    assert run.provenance[0]["command"] == "python -m dcgan_core.benchmark.gpu_parts record-letters"
    assert found["bytes"].keys() == {path.name for path in (tmp_path / "letters").iterdir()}


# What the report says


def made_up(**results: dict) -> dict:
    parts = {
        name.replace("_", "-"): {"status": "finished", "why": None, "seconds": 1.0, "result": result}
        for name, result in results.items()
    }
    return {"small": False, "parts": parts}


@pytest.mark.parametrize(
    ("part", "enough", "too_little"),
    [
        ("ladder-64", {"rows": [{"skipped": "why"}, {"skipped": None, "images_per_second": [80_000, 1, 2]}]}, None),
        ("ladder-32", {"rows": [{"skipped": None, "images_per_second": [250_001, 1, 2]}]}, {"rows": []}),
        (
            "precision-64",
            {"rows": [{}, {"skipped": None, "ratio": [1.3, 1, 2]}]},
            {"rows": [{}, {"skipped": None, "ratio": [1.2, 1, 2]}]},
        ),
        ("train-64", {"ratio": 0.9}, {"ratio": 0.8}),
        ("train-32", {"ratio": 0.85}, {"ratio": math.nan}),
        ("tests", {"failed": [], "skipped": {}}, {"failed": [], "skipped": {"one": "why"}}),
    ],
)
def test_a_goal_is_reached_by_what_was_found_and_by_nothing_else(part, enough, too_little):
    place = [goal.part for goal in GOALS].index(part)
    reached = goals(made_up(**{part: enough}))
    assert reached[place]["reached"] is True
    assert {line["found"] for line in reached if line is not reached[place]} == {None}
    assert goals(made_up(**{part: too_little}))[place]["reached"] in (None, False)
    assert goals(made_up(**{part: enough}) | {"small": True})[place]["reached"] is None


def test_tests_that_failed_or_were_skipped_are_named(tmp_path):
    (tmp_path / "test_x.py").write_text(
        "import pytest\n\n\ndef test_a(): pass\n\n\ndef test_b(): assert 0\n\n\ndef test_c(): pytest.skip('no card')\n"
        "\n\n@pytest.fixture\ndef bad(): 1 / 0\n\n\ndef test_d(bad): pass\n"
    )
    pytest_in(tmp_path, f"--junitxml={tmp_path / 'tests.xml'}", "-c", os.devnull, "--rootdir", tmp_path)
    assert gpu_report.read_tests(tmp_path / "tests.xml") == {
        "passed": 1,
        "failed": ["test_x.test_b", "test_x.test_d"],
        "skipped": {"test_x.test_c": "no card"},
    }


def small_form(name: str, folder: Path, monkeypatch) -> dict:
    """The result of a part in the small form, in this process, which saves most of its time."""
    options = ["--small", "--result", str(folder / f"{name}.json"), "--folder", str(folder)]
    monkeypatch.setattr(sys, "argv", ["gpu_parts", name, *options])
    gpu_parts.main()
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
@pytest.mark.usefixtures("few_samples")
def test_the_small_form_runs_from_end_to_end(tmp_path, monkeypatch, with_little, started):
    out = tmp_path / "out"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dcgan_core.benchmark.gpu_report", "--small", "--out", str(out)),
            *("--only", "record-glyphs32_gpu", "ladder-64-compiled"),
        ],
        cwd=tmp_path,
        env=WITH_PACKAGE,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout + done.stderr + (out / "log.txt").read_text()
    report = json.loads((out / "report.json").read_text())
    assert report.keys() == {"format", "small", "started", "seconds", "missing", "goals", "parts"}
    assert report["parts"].keys() == {part.name for row in ORDER for part in row}
    finished = {name for name, part in report["parts"].items() if part["status"] == "finished"}
    assert finished == {"record-glyphs32_gpu"}
    assert report["parts"]["ladder-64-compiled"]["why"] == "not part of the small form"
    assert report["parts"]["tests"]["why"] == "not asked for"
    assert load(out / "recorded" / "glyphs32_gpu").metrics[-1]["images"] == 80
    assert text(report) == (out / "report.txt").read_text() and text(report) in done.stdout
    assert {path.name for path in out.iterdir()} == {"report.txt", "report.json", "log.txt", "recorded"}

    in_here = ("ladder-64", "train-64", "train-32", "costs-32")
    others = {name: small_form(name, tmp_path, monkeypatch) for name in in_here}
    assert others["costs-32"]["costs"].keys() == {"as it is", "R1"}
    assert others["ladder-64"]["config"]["channels"] == 3
    for name, result in (others | with_little | {"tests": started}).items():
        report["parts"][name] |= {"status": "finished", "why": None, "result": result}
    not_small = {part.name for row in ORDER for part in row if not part.small}
    results = {name: part["result"] for name, part in report["parts"].items() if name not in not_small}
    assert all("peak_memory_bytes" in result for name, result in results.items() if name != "tests")
    reached = goals(report)
    assert [line["goal"] for line in reached] == [goal.what for goal in GOALS]
    assert not any(line["found"] is None for line in reached)
    written = text(report | {"goals": reached})
    for word in (
        "small form",
        "GOALS",
        "PARTS",
        "TESTS",
        "LADDER-64",
        "TRAIN-32",
        "PROFILE-64",
        "COSTS-32",
        "RECORDED",
    ):
        assert word in written
