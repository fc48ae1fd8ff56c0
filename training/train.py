"""The training run: batches of two crops per speaker through different simulated calls, margin softmax and cross-channel contrast,
a moving average of the weights, checkpoints from which the run goes on."""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from . import augmentation
from .dataset import Batch, Features, Sampler
from .evaluate import embedder, held_out
from .exported import class_centres, read_network, unfold
from .frontend import FRAMES_PER_SECOND
from .losses import CrossChannelPairs, WithinCorpusMargin
from .networks import EMBEDDING_SIZE, NETWORKS, normalise


@dataclass(frozen=True)
class Plan:
    """What a run does. Lengths in seconds; `batch_seconds` is the speech in a batch, whatever the length of its crops; `average` is the decay
    of the moving average of the weights, `half` computes in bfloat16 (several times as fast where the processor can, slower where not)."""

    network: str = "resnet"
    steps: int = 7500
    batch_seconds: float = 256.0
    crop_seconds: tuple[float, float] = (1.0, 4.0)
    rate: float = 2e-3
    weight_decay: float = 0.02
    margin: float = 0.2
    scale: float = 30.0
    contrast: float = 0.5
    share_calls: int = 4
    average: float = 0.998
    half: bool = True
    seed: int = 1


def learning_rate(plan: Plan, step: int) -> float:
    """Linear warm-up over 5 % of the run, then half a cosine down to 1 %."""
    warm = max(1, plan.steps // 20)
    if step < warm:
        return plan.rate * (step + 1) / warm
    return plan.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, plan.steps - warm))))


class Run:
    """State of a run; save and load make it go on where it stopped."""

    def __init__(self, plan: Plan, features: Features, device: str, start: str | None = None) -> None:
        """`start` identifies the checkpoint whose weights the run begins with."""
        torch.manual_seed(plan.seed)
        self.made_of = {"plan": asdict(plan), "features": features.identity, "start": start}
        self.plan = plan
        self.device = device
        self.sampler = Sampler(features)
        self.network = NETWORKS[plan.network]().to(device)
        # Faster on CPUs in bfloat16; in float32, PyTorch 1.13 corrupts memory in this format.
        if device == "cpu" and plan.half:
            self.network = self.network.to(memory_format=torch.channels_last)
        self.margin_loss = WithinCorpusMargin(EMBEDDING_SIZE, self.sampler.corpus_of_class).to(device)
        self.pair_loss = CrossChannelPairs().to(device)
        self.averaged = copy.deepcopy(self.network).eval()
        decayed = [p for p in self.network.parameters() if p.ndim > 1] + [self.margin_loss.centres]
        plain = [p for p in self.network.parameters() if p.ndim <= 1] + list(self.pair_loss.parameters())
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=plan.rate)
        self.step = 0

    def features_of(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        power = augmentation.phone_call(batch.power, batch.noise, generator, batch.already, self.plan.share_calls)
        return augmentation.mask_bands(normalise(power), 0.3, generator)

    def advance(self) -> tuple[float, float]:
        """One step; the two losses. Batch and distortions depend on the seed and the step only."""
        plan = self.plan
        random = np.random.default_rng([plan.seed, self.step])
        generator = torch.Generator().manual_seed(int(random.integers(2**31)))
        low, high = plan.crop_seconds
        frames = int(FRAMES_PER_SECOND * math.exp(random.uniform(math.log(low), math.log(high))))
        speakers = min(int(plan.batch_seconds * FRAMES_PER_SECOND / frames / 2), 128, len(self.sampler.voices))
        batch = self.sampler.draw(speakers, frames, random)
        features = self.features_of(batch, generator).to(self.device)
        labels, corpora = batch.labels.to(self.device), batch.corpora.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(plan, self.step)
        self.network.train()
        with torch.autocast(self.device, torch.bfloat16, enabled=plan.half):
            embeddings = self.network(features)
        margin = plan.margin * min(1.0, self.step / (0.3 * plan.steps))
        margin_loss = self.margin_loss(embeddings, torch.cat([labels, labels]), margin, plan.scale)
        pair_loss = self.pair_loss(embeddings[:speakers], embeddings[speakers:], labels, corpora)
        self.optimizer.zero_grad(set_to_none=True)
        (margin_loss + plan.contrast * pair_loss).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        keep = min(plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, now in zip(self.averaged.state_dict().values(), self.network.state_dict().values()):
                if mean.dtype.is_floating_point:
                    mean.lerp_(now, 1 - keep)
                else:
                    mean.copy_(now)
        return margin_loss.item(), pair_loss.item()

    def save(self, file: Path) -> None:
        state = {
            **self.made_of,
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "margin": self.margin_loss.state_dict(),
            "pair": self.pair_loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").rename(file)

    def begin_with(self, file: Path) -> None:
        """Starts a new schedule from the averaged weights of a checkpoint, or from a network in float32 that training.export wrote (.onnx). Raises ValueError for
        a checkpoint of other voices, for a network of another family and for any other model."""
        if file.suffix != ".onnx":
            self.load(file, weights_only=True)
            return
        if self.plan.network != "resnet":
            raise ValueError(f"Only a resnet goes on from an .onnx file, not a {self.plan.network}.")
        network = read_network(file)
        if self.device == "cpu" and self.plan.half:
            network = network.to(memory_format=torch.channels_last)
        random, generator = np.random.default_rng(self.plan.seed), torch.Generator().manual_seed(self.plan.seed)
        speakers = min(64, len(self.sampler.voices))
        unfold(network, (self.features_of(self.sampler.draw(speakers, 2 * FRAMES_PER_SECOND, random), generator) for _ in range(12)))
        self.network.load_state_dict(network.state_dict())
        self.averaged.load_state_dict(network.state_dict())
        with torch.no_grad():
            # As long as centres are at the start of any other run.
            length = self.margin_loss.centres.norm(dim=1).mean()
            self.margin_loss.centres.copy_(class_centres(network, self.sampler, self.plan.half).to(self.device) * length)

    def load(self, file: Path, weights_only: bool = False) -> None:
        """Goes on from a checkpoint; `weights_only` starts a new schedule from its averaged weights. Raises ValueError for one of other voices,
        and, when it is to go on, for one of another plan, other features or another start."""
        state = torch.load(file, map_location=self.device)
        others = [name for name, value in self.made_of.items() if state.get(name) != value]
        if others and not weights_only:
            raise ValueError(f"{file} was made with another {', '.join(others)}: delete it or choose another folder, the run would be neither.")
        classes, known = len(self.margin_loss.centres), len(state["margin"]["centres"])
        if classes != known:
            raise ValueError(f"{file} was trained on {known} voices, these features and their warps make {classes}.")
        self.margin_loss.load_state_dict(state["margin"])
        self.pair_loss.load_state_dict(state["pair"])
        self.averaged.load_state_dict(state["averaged"])
        if weights_only:
            self.network.load_state_dict(state["averaged"])
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def train(plan: Plan, features_folder: Path, out: Path, start_from: Path | None = None, device: str = "cpu") -> Run:
    """Runs a plan to its end, going on from out/checkpoint.pt where there is one; prints progress and held-out error rates. Raises ValueError for
    a checkpoint of another plan, other features or another start."""
    out.mkdir(parents=True, exist_ok=True)
    features = Features(features_folder)
    run = Run(plan, features, device, start_from and hashlib.sha256(start_from.read_bytes()).hexdigest())
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    elif start_from is not None:
        run.begin_with(start_from)
    began, first = time.monotonic(), run.step
    losses: list[tuple[float, float]] = []
    saved = time.monotonic()
    while run.step < plan.steps:
        losses.append(run.advance())
        if run.step % 50 == 0 or run.step == plan.steps:
            margin, pair = np.mean(losses[-50:], axis=0)
            pace = (time.monotonic() - began) / (run.step - first)
            left = pace * (plan.steps - run.step) / 60
            print(f"step {run.step}/{plan.steps} margin {margin:.3f} pair {pair:.3f} {pace:.2f} s/step, {left:.0f} min left", flush=True)
        if time.monotonic() - saved > 240 or run.step == plan.steps:
            run.save(checkpoint)
            saved = time.monotonic()
        if run.step % max(1, plan.steps // 8) == 0:
            rates = held_out(embedder(run.averaged), features)
            print("held out: " + ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in rates.items()), flush=True)
            with (out / "held-out.jsonl").open("a") as stream:
                stream.write(json.dumps({"step": run.step, **rates}) + "\n")
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, help="folder that prepare wrote")
    parser.add_argument("out", type=Path, help="folder for checkpoints")
    parser.add_argument("--network", choices=sorted(NETWORKS), default=Plan.network)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--rate", type=float, default=Plan.rate)
    parser.add_argument("--margin", type=float, default=Plan.margin)
    parser.add_argument("--contrast", type=float, default=Plan.contrast)
    parser.add_argument("--batch-seconds", type=float, default=Plan.batch_seconds)
    parser.add_argument("--crop-seconds", type=float, nargs=2, default=Plan.crop_seconds)
    parser.add_argument("--from", dest="start_from", type=Path, help="what to go on from, with a new schedule: a checkpoint of the same voices, or a resnet that was exported in float32 (.onnx)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    plan = Plan(
        network=options.network,
        steps=options.steps,
        rate=options.rate,
        margin=options.margin,
        contrast=options.contrast,
        batch_seconds=options.batch_seconds,
        crop_seconds=tuple(options.crop_seconds),
        seed=options.seed,
    )
    train(plan, options.features, options.out, options.start_from, options.device)


if __name__ == "__main__":
    main()
