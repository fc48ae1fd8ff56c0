"""Compensation of a trained network's embeddings, which needs no labels: partial centring and whitening.

    python3 -m training.compensation <features> <checkpoint> <compensated checkpoint>

A few directions carry much of the spread of a network's embeddings, and cosines are mostly about those. They are shrunk by a power of the variance along
them, after part of the mean was taken away that all calls have in common. Fitted on simulated calls of the training speakers: real calls only helped to choose how strong it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .dataset import Features
from .evaluate import Embed, embedder
from .export import load_network
from .frontend import FRAMES_PER_SECOND
from .networks import EMBEDDING_SIZE, Compensated

# Share of the mean that is taken away, and exponent of the variances that are divided by (0: as it was, 1: whitened). Chosen on real calls and on the held-out speakers:
# less gains less on other calls of the same person, more loses within a session (the model card has the figures).
CENTRING = 0.5
WHITENING = 0.5

# Variances below this share of their mean count as this: fewer speakers than dimensions leave directions without any.
LEAST_VARIANCE = 0.01

# Speech of a speaker in one simulated call that is embedded: pieces of this length, at most so many.
PIECE = 10 * FRAMES_PER_SECOND
PIECES = 2


def simulated_calls(embed: Embed, features: Features) -> np.ndarray:
    """Unit embeddings of the training speakers at their own speed through simulated calls, [rows, size]. Raises ValueError where there are none."""
    rows = []
    for item in features.training:
        if item.speed == 100 and item.version > 0:
            for start in range(0, max(1, item.frames - PIECE // 2), PIECE)[:PIECES]:
                rows.append(embed(features.power(item, start, min(PIECE, item.frames - start))))
    if len(rows) < 2:
        raise ValueError("These features hold no simulated calls.")
    return np.stack(rows).astype(np.float64)


def fit(embeddings: np.ndarray, centring: float = CENTRING, whitening: float = WHITENING) -> tuple[Tensor, Tensor]:
    """Of unit embeddings [rows, size]: what is subtracted from an embedding [size], and the symmetric matrix [size, size] that it is multiplied by then."""
    variances, directions = np.linalg.eigh(np.cov(embeddings.T))
    variances = np.maximum(variances, LEAST_VARIANCE * variances.mean())
    matrix = (directions * variances ** (-whitening / 2)) @ directions.T
    # Lengths do not matter; this keeps numbers near 1.
    matrix *= np.sqrt(len(matrix)) / np.linalg.norm(matrix)
    return torch.from_numpy(centring * embeddings.mean(0)).float(), torch.from_numpy(matrix).float()


def compensate(network: nn.Module, features: Features, centring: float = CENTRING, whitening: float = WHITENING) -> Compensated:
    """The network with a compensation fitted on the simulated calls of `features`."""
    return Compensated(network, *fit(simulated_calls(embedder(network), features), centring, whitening)).eval()


def write_compensated(checkpoint: Path, features: Features, file: Path, centring: float = CENTRING, whitening: float = WHITENING) -> None:
    """Writes `file`, a checkpoint whose averaged weights are those of `checkpoint` with a compensation: for evaluation and export, not to train on. Raises
    ValueError for a checkpoint that has one."""
    state = torch.load(checkpoint, map_location="cpu")
    if "compensation" in state:
        raise ValueError(f"{checkpoint} is compensated already.")
    compensated = compensate(load_network(checkpoint), features, centring, whitening)
    part = file.with_suffix(".part")
    torch.save(
        {
            "plan": state["plan"],
            "averaged": compensated.network.state_dict(),
            "compensation": {"shift": compensated.shift, "matrix": compensated.matrix},
        },
        part,
    )
    part.rename(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path, help="folder that prepare wrote")
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a run")
    parser.add_argument("file", type=Path, help="file to write: a checkpoint that training.export and training.evaluate take, not training.train")
    parser.add_argument("--centring", type=float, default=CENTRING, help="share of the mean that is subtracted (default %(default)s)")
    parser.add_argument("--whitening", type=float, default=WHITENING, help="exponent of the variances that are divided by (default %(default)s)")
    options = parser.parse_args()
    write_compensated(options.checkpoint, Features(options.features), options.file, options.centring, options.whitening)
    print(f"{options.file}: {EMBEDDING_SIZE} dimensions compensated")


if __name__ == "__main__":
    main()
