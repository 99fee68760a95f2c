"""The loop: step; then once per interval log, sample, save."""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.utils import save_image
from tqdm import tqdm

from dcgan_core import checkpoint, models
from dcgan_core.config import Config, InvalidInput
from dcgan_core.data import Batches, Dataset, load, unscale
from dcgan_core.losses import GAMES, gradient_penalty
from dcgan_core.runtime import Machine, choose_machine, provenance, seed_everything
from dcgan_core.steps import clip_weights, update_discriminator, update_generator

NUM_WATCHED = 64  # fixed latents whose samples are saved again and again
CHECKPOINT = "checkpoint.safetensors"
AVERAGE_WARMUP = 0.1  # the half-life is at most this share of the images seen: the untrained weights fade early


class Diverged(RuntimeError):
    """A loss is no longer finite. The last checkpoint from before is kept."""


@dataclass
class State:
    """Everything that changes while a run goes on. `tensors` and `restore` are what a checkpoint holds."""

    config: Config
    generator: models.Generator
    discriminator: models.Discriminator
    average: models.Generator  # moving average of the generator, from which samples are drawn
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    latent_rng: torch.Generator
    step: int = 0

    @property
    def images(self) -> int:
        """Real images shown so far."""
        return self.step * self.config.images_per_step

    @property
    def sampler(self) -> models.Generator:
        """The generator to sample from: the moving average, where there is one."""
        return self.average if self.config.ema_halflife_images else self.generator

    def tensors(self) -> dict[str, Tensor]:
        named = {"latent_rng": self.latent_rng.get_state(), "torch_rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            named["cuda_rng"] = torch.cuda.get_rng_state()
        for name in ("generator", "discriminator", "average"):
            named |= {f"{name}.{key}": value for key, value in getattr(self, name).state_dict().items()}
            if name != "average":
                named |= _optimizer_tensors(f"{name}_optimizer", getattr(self, f"{name}_optimizer"))
        return named

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        for name in ("generator", "discriminator", "average"):
            getattr(self, name).load_state_dict(_below(name, tensors))
            if name != "average":
                _restore_optimizer(getattr(self, f"{name}_optimizer"), _below(f"{name}_optimizer", tensors))
        self.latent_rng.set_state(tensors["latent_rng"])
        torch.set_rng_state(tensors["torch_rng"])
        if "cuda_rng" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["cuda_rng"])
        self.step = step


def start(config: Config, machine: Machine) -> State:
    """Freshly initialised networks, optimizers and random numbers on the machine's device."""
    seed_everything(config.seed)
    generator, discriminator = models.build(config)
    generator = generator.to(machine.device).to(memory_format=torch.channels_last)
    discriminator = discriminator.to(machine.device).to(memory_format=torch.channels_last)

    def adam(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=(config.beta1, config.beta2), fused=True)

    return State(
        config=config,
        generator=generator,
        discriminator=discriminator,
        average=copy.deepcopy(generator).requires_grad_(False),
        generator_optimizer=adam(generator, config.generator_learning_rate),
        discriminator_optimizer=adam(discriminator, config.discriminator_learning_rate),
        latent_rng=torch.Generator(machine.device).manual_seed(config.seed),
    )


def advance(state: State, real: Tensor, machine: Machine) -> tuple[Tensor, Tensor]:
    """One iteration: the discriminator's updates, then the generator's against it, then the average.

    `real` is (discriminator_steps * B, C, S, S) in [-1, 1]. Returns the two losses (the discriminator's is the mean of
    its updates, without the penalty), still on the device.
    """
    config, game = state.config, GAMES[state.config.loss]

    def penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return config.penalty_weight * gradient_penalty(critic, real, fake)

    losses = []
    for part in real.chunk(config.discriminator_steps):
        latents = torch.randn(len(part), config.latent_size, generator=state.latent_rng, device=real.device)
        with machine.autocast():
            fake = state.generator(latents)  # made once; the last one is used by both players
        loss = update_discriminator(
            *(state.discriminator, state.discriminator_optimizer, game.discriminator, part, fake),
            penalty=penalty if config.loss == "wasserstein-penalty" else None,
            autocast=machine.autocast(),
        )
        if config.loss == "wasserstein-clipping":
            clip_weights(state.discriminator, config.clip_limit)
        losses.append(loss)
    generator_loss = update_generator(
        state.discriminator, state.generator_optimizer, game.generator, fake, autocast=machine.autocast()
    )
    state.step += 1
    if config.ema_halflife_images:
        halflife = min(config.ema_halflife_images, AVERAGE_WARMUP * state.images)
        update_average(state.average, state.generator, 0.5 ** (len(real) / halflife))
    return torch.stack(losses).mean(), generator_loss


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Moves the weights and batch-norm statistics of `average` towards `network`: a <- decay a + (1 - decay) n."""
    towards = dict(network.state_dict())
    pairs = [(value, towards[name]) for name, value in average.state_dict().items()]
    floating = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([old for old, _ in floating], [new for _, new in floating], 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():  # the count of batches
            old.copy_(new)


@torch.no_grad()
def sample(generator: models.Generator, latents: Tensor, *, chunk: int = 250) -> Tensor:
    """Images (N, C, S, S) in [-1, 1], float32 on the CPU, from latents (N, latent_size).

    In eval mode: with the statistics of single batches, an image would depend on which others are made beside it.
    """
    was_training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    images = torch.cat([generator(part.to(device)).float().cpu() for part in latents.split(chunk)])
    generator.train(was_training)
    return images


def draw_latents(num_latents: int, latent_size: int, *, seed: int) -> Tensor:
    """Latents (num_latents, latent_size) from N(0, 1) that depend on the seed alone, on the CPU."""
    return torch.randn(num_latents, latent_size, generator=torch.Generator().manual_seed(seed))


def train(
    config: Config,
    out: str | Path,
    *,
    machine: Machine | None = None,
    dataset: Dataset | None = None,
    progress: bool = True,
) -> State:
    """Trains a new run into the folder `out` and returns its final state.

    `out` receives config.json, provenance.json, metrics.jsonl, samples/ and checkpoint.safetensors. `dataset` replaces
    loading `config.data` by name. Raises `InvalidInput` if `out` already holds something, `Diverged` if a loss is no
    longer finite, and `KeyboardInterrupt`, after saving, when interrupted.
    """
    out = Path(out)
    if (out / "config.json").exists():
        same = "a run" if read_config(out) == config else "a run with another config"
        raise InvalidInput(
            f"the folder {str(out)!r} already holds {same}: continue it with 'resume', or choose another --out."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{str(out)!r} already exists and is not an empty folder: choose another --out.")
    machine = machine or choose_machine()
    dataset = dataset or _load_data(config)
    Batches(
        dataset.images, batch_size=config.images_per_step, seed=config.seed
    )  # too few images? say so before writing
    try:
        (out / "samples").mkdir(parents=True)
        _write_json(out / "config.json", config.to_dict())
    except OSError as error:
        raise InvalidInput(f"cannot write into {str(out)!r} ({error.strerror}): choose another --out.") from error
    state = start(config, machine)
    _write_json(out / "provenance.json", [provenance(machine)])
    return _run(state, dataset, out, machine, progress)


def resume(
    out: str | Path,
    *,
    total_images: int | None = None,
    machine: Machine | None = None,
    dataset: Dataset | None = None,
    progress: bool = True,
) -> State:
    """Continues the run in `out` from its checkpoint, as if it had never stopped; optionally to more images."""
    out = Path(out)
    machine = machine or choose_machine()
    state = load_state(out, machine)
    if total_images is not None:
        if total_images < state.images:
            raise InvalidInput(f"total_images is {total_images}, but the run has already seen {state.images} images.")
        state.config = replace(state.config, total_images=total_images)
        _write_json(out / "config.json", state.config.to_dict())
    history = json.loads((out / "provenance.json").read_text())
    _write_json(out / "provenance.json", [*history, provenance(machine) | {"resumed_at_images": state.images}])
    kept = [line for line in read_metrics(out) if line["images"] <= state.images]
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    return _run(state, dataset or _load_data(state.config), out, machine, progress)


def load_state(out: str | Path, machine: Machine | None = None) -> State:
    """The state that the run in the folder `out` has saved last."""
    out = Path(out)
    if not (out / "config.json").exists():
        raise InvalidInput(f"{str(out)!r} holds no run (it has no config.json): check the path, or 'train' one first.")
    tensors, facts = checkpoint.load(out / CHECKPOINT)
    state = start(read_config(out), machine or choose_machine())
    try:
        state.restore(tensors, facts["step"])
    except (RuntimeError, KeyError) as error:
        raise InvalidInput(
            f"the checkpoint {str(out / CHECKPOINT)!r} does not fit the run's config.json: "
            "restore the file that belongs to it, or start a new run."
        ) from error
    return state


def read_config(out: str | Path) -> Config:
    """The config of the run in the folder `out`."""
    path = Path(out) / "config.json"
    try:
        return Config.from_dict(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError, AttributeError, TypeError) as error:
        raise InvalidInput(f"{str(path)!r} is missing or damaged: restore it, or start a new run.") from error


def read_metrics(out: str | Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl so far; a last line cut short by a kill is left out."""
    path = Path(out) / "metrics.jsonl"
    lines = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def _run(state: State, dataset: Dataset, out: Path, machine: Machine, progress: bool) -> State:
    config = state.config
    batches = Batches(dataset.to(machine.device).images, batch_size=config.images_per_step, seed=config.seed)
    watched = draw_latents(NUM_WATCHED, config.latent_size, seed=config.seed)
    if state.step == 0:
        save_samples(state, watched, out)
    losses = torch.zeros(2, device=machine.device)  # summed on the device since the last log
    summed = 0
    clock, seconds_before = time.perf_counter(), _seconds_so_far(out)
    bar = tqdm(
        desc=f"training on {dataset.name}",
        total=config.total_steps * config.images_per_step,
        initial=state.images,
        unit="img",
        unit_scale=True,
        disable=not progress,
    )
    with _interruption() as interrupted, bar:
        while state.step < config.total_steps:
            losses += torch.stack(advance(state, batches(state.step), machine))
            summed += 1
            last = state.step == config.total_steps or interrupted.is_set()
            saving = last or _due(state, config.checkpoint_every_images)
            if saving or _due(state, config.log_every_images):
                discriminator_loss, generator_loss = (losses / summed).tolist()  # waits for the device
                if not (math.isfinite(discriminator_loss) and math.isfinite(generator_loss)):
                    raise Diverged(
                        f"a loss is no longer finite at {state.images} images: the checkpoint from before is kept; "
                        "start again with a lower learning_rate."
                    )
                line = {
                    "images": state.images,
                    "discriminator_loss": discriminator_loss,
                    "generator_loss": generator_loss,
                    "seconds": seconds_before + time.perf_counter() - clock,
                }
                with open(out / "metrics.jsonl", "a") as file:
                    file.write(json.dumps(line) + "\n")
                bar.set_postfix_str(f"loss D {discriminator_loss:.2f}, G {generator_loss:.2f}", refresh=False)
                losses.zero_()
                summed = 0
            if last or _due(state, config.sample_every_images):
                save_samples(state, watched, out)
            if saving:
                checkpoint.save(out / CHECKPOINT, state.tensors(), {"step": state.step, "config": config.to_dict()})
            bar.update(config.images_per_step)
            if interrupted.is_set():
                raise KeyboardInterrupt
    return state


def save_samples(state: State, latents: Tensor, out: Path) -> None:
    """Saves one grid of images from `latents` as samples/IMAGES_SEEN.png."""
    images = unscale(sample(state.sampler, latents)).float() / 255
    save_image(images, out / "samples" / f"{state.images:09d}.png", nrow=math.isqrt(len(latents)), padding=0)


def _due(state: State, every_images: int) -> bool:
    """True in the first iteration that reaches or passes a multiple of `every_images`."""
    return state.images // every_images > (state.images - state.config.images_per_step) // every_images


def _load_data(config: Config) -> Dataset:
    return load(
        config.data,
        image_size=config.image_size,
        channels=config.channels,
        root=config.data_root,
        seed=config.seed,
    )


def _seconds_so_far(out: Path) -> float:
    lines = read_metrics(out)
    return lines[-1]["seconds"] if lines else 0.0


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that the loop can finish its iteration and save; a second one stops."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Gives each moment the memory layout of its parameter, which the fused update relies on."""
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        for key, value in _below(str(index), tensors).items():
            like = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            optimizer.state[parameter][key] = like.detach().copy_(value)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}
