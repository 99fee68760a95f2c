"""What each of several processes takes, says and hears, without starting any: the others are played."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcgan_core import parallel
from dcgan_core.config import InvalidInput


@pytest.fixture
def second(cpu):
    """The second of two processes."""
    return replace(cpu, rank=1, num_processes=2)


def test_a_process_takes_its_share_of_each_part_of_a_batch(cpu, second):
    assert parallel.own_rows(24, 3, second) == [slice(4, 8), slice(12, 16), slice(20, 24)]
    assert parallel.own_rows(24, 3, replace(second, rank=0)) == [slice(0, 4), slice(8, 12), slice(16, 20)]
    assert parallel.own_rows(24, 3, cpu) == [slice(0, 24)]


def test_losses_are_means_over_the_processes(second, monkeypatch):
    monkeypatch.setattr(parallel.dist, "all_reduce", lambda tensor: tensor.add_(torch.tensor([3.0, 5.0])))
    mean = torch.tensor([1.0, 1.0])
    parallel.average(mean, second)
    assert mean.tolist() == [2.0, 3.0]


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_what_happens_in_one_process_is_heard_in_all(second, monkeypatch, here, there):
    monkeypatch.setattr(parallel.dist, "all_reduce", lambda tensor: tensor.add_(float(there)))
    assert parallel.anywhere(here, second) == (here or there)


def test_a_mistake_in_another_process_is_raised_here_too(second, monkeypatch):
    def gathered(things, thing):
        things[:] = [InvalidInput("the data are missing."), thing]

    monkeypatch.setattr(parallel.dist, "all_gather_object", gathered)
    with pytest.raises(InvalidInput, match="the data are missing"):
        parallel.by_all(second, lambda: "all is well here")


def test_what_the_first_process_does_no_other_one_does(second, monkeypatch):
    monkeypatch.setattr(parallel.dist, "all_gather_object", lambda things, thing: None)
    done = []
    for rank in (0, 1):
        parallel.by_first(replace(second, rank=rank), done.append, rank)
    assert done == [0]


def test_what_cannot_be_shared_is_refused(tiny_config, second):
    parallel.check(replace(tiny_config, batch_size=4), second)
    for batch_size in (2, 5):
        with pytest.raises(InvalidInput, match=f"batch_size is {batch_size}, which 2 processes cannot share"):
            parallel.check(replace(tiny_config, batch_size=batch_size), second)
    with pytest.raises(InvalidInput, match="unrolled_steps is 3"):
        parallel.check(replace(tiny_config, unrolled_steps=3), second)
