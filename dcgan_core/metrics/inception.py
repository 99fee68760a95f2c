"""The Inception network of published scores, whose weights are checked before anything is loaded from them.

Network and weights are torch-fidelity's, through torchmetrics. Left to itself, torch-fidelity unpickles whatever lies
in torch's cache under the right name, and a pickle can run any code. Here the file is first compared with the published
one, then read as tensors and nothing else, and the network gets a copy that this process has saved itself.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dcgan_core.config import InvalidInput, first_line
from dcgan_core.data import unscale
from dcgan_core.runtime import choose_machine

NUM_INCEPTION_FEATURES = 2048
# The publisher's name for the file ends with the first eight digits of its SHA-256, as torch.hub expects it.
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def inception() -> Callable[[Tensor], Tensor]:
    """A function from images (N, C, S, S) in [-1, 1] to the 2,048 Inception features of published scores, (N, 2048).

    The weights are a download of about 90 MB, kept by torch. Raises `InvalidInput` if a package is missing, or if the
    weights cannot be downloaded or are not the published ones. Slow without a GPU.

    Source: Szegedy et al. 2016 (arXiv:1512.00567); as features of a score, Heusel et al. 2017 (arXiv:1706.08500).
    """
    try:
        import_module("torch_fidelity")  # torchmetrics would miss it only after the weights are downloaded
        from torchmetrics.image.fid import NoTrainInceptionV3
    except ImportError as error:
        raise InvalidInput(
            "the features 'inception' need torchmetrics and torch-fidelity: pip install 'dcgan-core[metrics]'."
        ) from error
    # torch-fidelity unpickles the file that it is given (by name or open), so it is given none that is from outside.
    own_copy: Any = io.BytesIO()
    torch.save(checked_weights(downloaded(URL, SHA256, "inception"), SHA256), own_copy)
    own_copy.seek(0)
    device = choose_machine().device
    network = NoTrainInceptionV3(
        "inception-v3-compat", [str(NUM_INCEPTION_FEATURES)], feature_extractor_weights_path=own_copy
    ).to(device)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        found = []
        with tqdm(desc="measuring with Inception", total=len(images), unit="img", leave=False) as bar:
            for part in images.split(50):
                found.append(network(unscale(part.to(device)).expand(-1, 3, -1, -1)).cpu())
                bar.update(len(part))
        return torch.cat(found)

    return features


def checked_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """The named tensors in a file that `torch.save` has written, if the file's SHA-256 is `sha256`, or begins so.

    What is read are the very bytes that were checked, and only tensors are made of them: a file that holds more than
    tensors raises `pickle.UnpicklingError`, and none of it runs. Raises `InvalidInput` for every other file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"the weights {str(path)!r} cannot be read ({error.strerror}): delete them and start this again, "
            "which downloads them anew."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(sha256):
        raise InvalidInput(
            f"{str(path)!r} is not the published file (its SHA-256 begins with {found[:8]}, not with {sha256[:8]}) "
            "and nothing was loaded from it: delete it and start this again, which downloads it anew."
        )
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def downloaded(url: str, sha256: str, features: str) -> Path:
    """Where torch keeps the file, after downloading it if it is not there; its content is not checked yet."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: another content, or cut short
        raise InvalidInput(
            f"the weights of {features!r} could not be downloaded ({first_line(error)}): check the network, or leave "
            f"out --features {features}."
        ) from error
    return path
