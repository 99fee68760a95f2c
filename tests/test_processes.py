"""What a second process is worth: the ways that are timed, what is recorded, and how it is read. No speeds."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from dcgan_core import models
from dcgan_core.benchmark import processes
from dcgan_core.config import Config
from dcgan_core.laboratory.studies import read_lines

WAYS = ["alone", "side by side", "shared", "split", "exchange"]


@pytest.fixture
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_each_way_is_timed_once_in_every_turn_that_counts(group, cpu, monkeypatch):
    called: list[tuple[int, int]] = []

    def clock(step, num_steps, device):
        called.append((len(step().flatten()), num_steps))
        return 6.0

    monkeypatch.setattr(processes, "IMAGES", 4)
    monkeypatch.setattr(processes, "seconds", clock)
    found = processes.work(cpu, num_turns=2, num_steps=3)
    assert found["seconds"] == {name: [2.0, 2.0] for name in WAYS}
    num_gradients = sum(map(models.num_parameters, models.build(Config(channels=1))))
    assert found["gradient_bytes"] == 4 * num_gradients
    assert called == 3 * [*4 * [(2, 3)], (num_gradients, 3)], "two losses in each way of training, then all gradients"


def test_where_one_works_alone_the_others_do_not(group, cpu, monkeypatch):
    monkeypatch.setattr(processes, "iteration", lambda config, machine: lambda: torch.zeros(2))
    found = processes.work(replace(cpu, rank=1), num_turns=1, num_steps=1)["seconds"]
    assert found["alone"] == [0.0] and all(found[name][0] > 0 for name in WAYS[1:])


@pytest.mark.parametrize("num_processes", [1, 2])
def test_an_iteration_of_several_processes_shares_gradients_and_rows(cpu, monkeypatch, num_processes):
    shared = []
    monkeypatch.setattr(processes.parallel, "share_gradients", lambda networks, machine: networks)
    monkeypatch.setattr(
        processes, "advance", lambda state, real, machine: shared.append((state, real)) or (real[0, 0], real[0, 0])
    )
    config = Config(channels=1, image_size=16, generator_width=4, discriminator_width=4, batch_size=8)
    processes.iteration(config, replace(cpu, num_processes=num_processes))()
    ((state, real),) = shared
    assert real.shape == (8 // num_processes, 1, 16, 16) and set(state.sharing) == {"generator", "discriminator"}


def test_speeds_are_images_of_all_processes_in_the_time_of_one_alone():
    times = {
        "alone": [4.0, 2.0, 2.0],
        "side by side": [4.0, 2.0, 4.0],
        "shared": [8.0, 4.0, 4.0],
        "split": [2.0, 2.0, 2.0],
    }
    assert processes.speeds({"num_processes": 2, "seconds": times | {"exchange": [1.0, 1.0, 1.0]}}) == {
        "alone": [1, 1, 1],
        "side by side": [2, 1, 2],
        "shared": [1, 1, 1],
        "split": [1, 1, 2],
    }


def test_the_command_starts_two_processes_with_one_thread_each(monkeypatch):
    started = {}

    def run(command, env):
        started.update(command=command, env=env)
        return type("Ended", (), {"returncode": 3})

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(processes.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["processes.py", "--turns", "7"])
    with pytest.raises(SystemExit) as ended:
        processes.main()
    assert ended.value.code == 3 and started["env"] == os.environ | {"OMP_NUM_THREADS": "1"}
    assert started["command"][:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert {"--standalone", "--nproc-per-node=2", "dcgan_core.benchmark.processes"} < set(started["command"])
    assert started["command"][-2:] == ["--turns", "7"]


def test_the_record_that_ships_has_every_way_in_every_turn_and_says_how_to_make_it_again():
    for line in read_lines(processes.RECORD):
        turns = int(re.search(r"--turns (\d+)", line["machine"]["command"])[1])
        assert [len(line["seconds"][name]) for name in WAYS] == 5 * [turns] and turns >= 5
        assert line["num_processes"] == 2 and line["machine"]["threads"] == 1 and line["load_before"] >= 0
        assert "/" not in json.dumps({key: value for key, value in line["machine"].items() if key != "system"})
