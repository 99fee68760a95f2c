"""Fixtures of the core's tests: a data set, a config and a machine so small that a run takes a second."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.overrides import TorchFunctionMode

from dcgan_core.config import Config
from dcgan_core.data import Dataset, cache, glyphs
from dcgan_core.runtime import Machine, choose_machine


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors from here on: when test files are read and when tests run. `-o filterwarnings=...` overrules.

    In pyproject.toml this would hold for pytest's own start, too, and a foreign plugin that warns would end it.
    """
    config.getini("filterwarnings").insert(0, "error")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def cpu() -> Machine:
    return choose_machine("cpu", "float32")


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, which is not there yet."""
    folder = tmp_path_factory.mktemp("own") / "cache"
    monkeypatch.setenv(cache.FOLDER, str(folder))
    return folder


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Ctrl-C and SIGHUP as in a terminal, also where the tests themselves run under nohup or in the background of a
    script, which have them ignored.
    """
    usual = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    numbers = {name: getattr(signal, name) for name in usual if hasattr(signal, name)}
    before = {number: signal.signal(number, usual[name]) for name, number in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes this machine look as if it had a CUDA card of some compute capability; or, without one, no card."""

    def install(*capability: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capability))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: f"a card {capability}")
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)  # by emulation: must not count

    switches = [(torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "allow_tf32")]
    switches.append((torch.backends.cuda.matmul, "allow_tf32"))
    before = [getattr(*switch) for switch in switches]
    yield install
    for (module, name), value in zip(switches, before, strict=True):
        setattr(module, name, value)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: (exit code, standard output, standard error)."""

    from dcgan_core.cli import main  # here: where only the GPU is tested, tyro may be missing

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dcgan_core", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """While a module's tests run, torch computes with one thread, as the margins of claims were measured."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is read from folders is kept here, not with the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCGAN_CORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    letters = glyphs.render(44, image_size=16)
    return Dataset("tiny", torch.from_numpy(letters.images), torch.from_numpy(letters.letter), tuple(glyphs.LETTERS))


@pytest.fixture(scope="session")
def tiny_folder(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `tiny_dataset` as files."""
    folder = tmp_path_factory.mktemp("letters")
    for number, image in enumerate(tiny_dataset.images):
        Image.fromarray(image[0].numpy()).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_folder: Path) -> Config:
    """A run of 20 steps that uses all that a checkpoint must hold: dropout, average, several epochs."""
    return Config(
        data=str(tiny_folder),
        image_size=16,
        channels=1,
        latent_size=8,
        generator_width=4,
        discriminator_width=4,
        dropout=0.3,
        batch_size=8,
        total_images=160,
        ema_halflife_images=50,
        log_every_images=40,
        sample_every_images=80,
        checkpoint_every_images=48,
        evaluate_every_images=0,
        held_out=0.0,
    )


READS = {"item", "tolist", "numpy", "cpu", "equal", "is_nonzero", "nonzero"}
READS |= {"__bool__", "__float__", "__int__", "__index__", "__array__", "__contains__"}


class _HostReads(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        if getattr(function, "__name__", "") in READS:
            self.found.append(function.__name__)
        return function(*arguments, **(keywords or {}))


@pytest.fixture
def host_reads() -> Callable[[], AbstractContextManager[list[str]]]:
    """A context that lists every operation inside that brings values of tensors to Python: on a GPU, each one waits."""

    @contextmanager
    def listening() -> Iterator[list[str]]:
        with _HostReads() as mode:
            yield mode.found

    return listening
