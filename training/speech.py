"""Speech probability per frame: a small network over the speaker network's features, trained on labels from clean speech.

The frames of simulated calls stand where those of the clean speech stand (`prepare.py`), so the energy of the clean frames says which
frames of a call are speech. Pauses are lengthened and filled with what is no speech (`non_speech.py`).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from . import augmentation, non_speech
from .dataset import Features, Item
from .frontend import BANDS, FRAMES_PER_SECOND, mel_power
from .networks import normalise

# Read speech recorded near the mouth: where its energy is, somebody speaks. The others have rooms and pets in them.
LABELLED_CORPORA = ("speechocean762", "librispeech", "synthetic")

BLOCK = 3 * FRAMES_PER_SECOND

# One probability for every second frame of features.
STRIDE = 2


# Taken off the logit where the detector is used: a frame wrongly taken for speech goes into the embedding, one that is missed only
# costs time. As if what is no speech were twice as frequent as in training.
CAUTION = float(np.log(2.0))


class SpeechHead(nn.Module):
    """Normalised features [batch, frames, BANDS] -> logit of speech [batch, ceil(frames / 2)], one every 20 ms. Sees 0.3 s to either side, and
    the spread of every band over the whole input, which tells a pause from a line without speech."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        self.spread = nn.Linear(BANDS, channels)
        self.enter = nn.Conv1d(BANDS, channels, 5, STRIDE, 2)
        self.enter_norm = nn.BatchNorm1d(channels)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation), nn.BatchNorm1d(channels), nn.ReLU())
            for dilation in (1, 2, 4)
        )
        self.leave = nn.Conv1d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        spread = self.spread((features**2).mean(1))[:, :, None]
        x = torch.relu(self.enter_norm(self.enter(features.transpose(1, 2)) + spread))
        for layer in self.layers:
            x = x + layer(x)
        return self.leave(x)[:, 0]


def speech_frames(power: np.ndarray) -> np.ndarray:
    """Which frames of clean speech [frames, bands] are speech: within 30 dB of the loud frames of the 3 s around, which count as no quieter than
    10 dB below those of the whole; gaps up to 80 ms are filled, bursts up to 50 ms dropped. Boolean [frames]."""
    level = 10 * np.log10(power.sum(1) + 1e-12)
    whole = np.percentile(level, 95) if len(level) else 0.0
    speech = np.zeros(len(power), bool)
    for start in range(0, len(power), BLOCK):
        block = level[start : start + BLOCK]
        around = level[max(0, min(start, len(level) - BLOCK)) : start + BLOCK]
        speech[start : start + BLOCK] = (block > max(np.percentile(around, 95), whole - 10) - 30) & (block > -75)
    return _without_short_runs(~_without_short_runs(~speech, 8), 5)


def _without_short_runs(flags: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of True that are shorter than or as long as `shortest` are made False."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    out = flags.copy()
    for start, stop in zip(edges[::2], edges[1::2]):
        if stop - start <= shortest:
            out[start:stop] = False
    return out


def labelled(items: list[Item], features: Features) -> list[tuple[Item, np.ndarray]]:
    """Items with their labels, those of simulated calls by their clean twins, piece by piece. Raises ValueError where there are none."""
    clean: dict[tuple[str, str, int], tuple[Item, np.ndarray]] = {}
    for item in items:
        if item.corpus in LABELLED_CORPORA and item.version == 0:
            clean[(item.corpus, item.speaker, item.speed)] = (item, speech_frames(features.power(item, 0, item.frames)))
    rows = []
    for item in items:
        twin = clean.get((item.corpus, item.speaker, item.speed))
        if twin is not None:
            rows.append((item, paced(twin[1], twin[0].pieces, item.pieces)))
    if not rows:
        raise ValueError(f"No speech to take labels from: none of {', '.join(LABELLED_CORPORA)} among the features.")
    return rows


def paced(labels: np.ndarray, pieces: tuple[int, ...], wanted: tuple[int, ...]) -> np.ndarray:
    """Labels of speech whose pieces have so many frames, for the same pieces spoken faster or slower in `wanted` frames."""
    ends = np.cumsum(pieces)
    parts = [labels[end - length : end][np.arange(frames) * length // frames] for end, length, frames in zip(ends, pieces, wanted, strict=True)]
    return np.concatenate(parts)


class SpeechSampler:
    """Windows with labels: speech with its pauses, speech with longer pauses that something fills, and no speech at all."""

    def __init__(self, features: Features, seed: int, minutes_each: float = 4.0) -> None:
        self.features = features
        self.rows = labelled(features.training, features)
        random = np.random.default_rng(seed)
        # Music most of all, because it is the most like speech.
        self.others = [
            np.concatenate([mel_power(non_speech.make(kind, 12.0, random)) for _ in range(max(2, int(minutes_each * 5)))])
            for kind in (*non_speech.KINDS, "music", "music")
        ]
        self.noise = features.noise
        self.babble = features.babble
        self.others.append(self.noise)

    def draw(self, count: int, frames: int, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Power and noise [count, frames, BANDS], labels [count, frames], and 1 where a row is a simulated call already [count]."""
        power = np.empty((count, frames, BANDS), np.float32)
        noise = np.empty_like(power)
        labels = np.zeros((count, frames), np.float32)
        already = np.zeros(count, np.float32)
        for row in range(count):
            if random.random() < 0.3:
                power[row] = self._other(frames, random)
            else:
                item, speech = self.rows[random.integers(len(self.rows))]
                start = int(random.integers(0, max(1, item.frames - frames)))
                power[row] = self.features.power(item, start, frames)
                labels[row] = np.resize(speech[start : start + frames], frames)
                already[row] = float(item.version > 0)
                if item.version == 0 and random.random() < 0.6:
                    self._lengthen_pauses(power[row], labels[row], random)
            noise[row] = self._background(frames, random)
        return torch.from_numpy(power), torch.from_numpy(noise), torch.from_numpy(labels), torch.from_numpy(already)

    def _other(self, frames: int, random: np.random.Generator) -> np.ndarray:
        source = self.others[random.integers(len(self.others))]
        start = int(random.integers(0, max(1, len(source) - frames)))
        return np.resize(source[start : start + frames], (frames, BANDS))

    def _lengthen_pauses(self, power: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> None:
        frames = len(power)
        loud = float(power.sum(1).mean()) + 1e-12
        for _ in range(random.integers(1, 4)):
            length = int(random.integers(10, max(11, frames // 2)))
            start = int(random.integers(-length // 2, frames - length // 2))
            place = slice(max(0, start), min(frames, start + length))
            labels[place] = 0
            power[place] *= 1e-6
            if random.random() < 0.4:
                other = self._other(frames, random)[place]
                power[place] += other * (loud / (float(other.sum(1).mean()) + 1e-12) * 10 ** random.uniform(-2.5, 0.3))

    def _background(self, frames: int, random: np.random.Generator) -> np.ndarray:
        """Noise, or a crowd of at least three voices: fewer could be taken for the caller by anyone."""
        sources = [self.noise] if random.random() < 0.6 else [self.babble] * int(random.integers(3, 7))
        total = np.zeros((frames, BANDS), np.float32)
        for source in sources:
            start = int(random.integers(0, max(1, len(source) - frames)))
            total += np.resize(source[start : start + frames], (frames, BANDS))
        return total


def train_head(features: Features, steps: int, seed: int = 1, report: bool = True, minutes_each: float = 4.0) -> SpeechHead:
    """A trained head, in evaluation mode."""
    torch.manual_seed(seed)
    sampler = SpeechSampler(features, seed, minutes_each)
    head = SpeechHead()
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    began = time.monotonic()
    losses = []
    for step in range(steps):
        random = np.random.default_rng([seed, step])
        generator = torch.Generator().manual_seed(int(random.integers(2**31)))
        frames = int(FRAMES_PER_SECOND * np.exp(random.uniform(np.log(0.5), np.log(3.0))))
        power, noise, labels, already = sampler.draw(6400 // frames, frames, random)
        logits = head(normalise(augmentation.phone_call(power, noise, generator, already)))
        # Where speech begins and ends is a matter of taste: two frames to either side do not count.
        edge = functional.max_pool1d((labels[:, 1:] != labels[:, :-1]).float()[:, None], 4, 1, 2)[:, 0, :frames]
        loss = functional.binary_cross_entropy_with_logits(logits, labels[:, ::STRIDE], weight=1 - edge[:, ::STRIDE])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if report and (step + 1) % 200 == 0:
            print(f"step {step + 1}/{steps} loss {np.mean(losses[-200:]):.3f} {(time.monotonic() - began) / (step + 1):.2f} s/step", flush=True)
    return head.eval()


def save_head(head: SpeechHead, file: Path, made_of: dict[str, object]) -> None:
    """Writes a head, with what tells whether another run would make the same."""
    torch.save({"head": head.state_dict(), "made of": made_of}, file.with_suffix(".part"))
    file.with_suffix(".part").rename(file)


def made_of(features: Features, steps: int) -> dict[str, object]:
    """What a trained head depends on."""
    return {"features": features.identity, "steps": steps}


def speech_probability(head: SpeechHead, power: np.ndarray) -> np.ndarray:
    """Probability of speech [ceil(frames / STRIDE)] of power [frames, bands]."""
    with torch.no_grad():
        return torch.sigmoid(head(normalise(torch.from_numpy(power.copy())[None])) - CAUTION)[0].numpy()


def error_rates(head: SpeechHead, features: Features, seconds: float = 1.0) -> dict[str, float]:
    """At a probability of 0.5, over windows of `seconds` one after another (the service sees the past of each, and has more to go by): the share of frames wrongly called speech per kind of non-speech (made anew here), and
    of frames missed and wrongly found in speech of held-out speakers, clean and through simulated calls."""
    frames = int(seconds * FRAMES_PER_SECOND)
    rates: dict[str, float] = {}
    random = np.random.default_rng(99)
    for kind in non_speech.KINDS:
        power = np.concatenate([mel_power(non_speech.make(kind, 10.0, random)) for _ in range(12)])
        found = np.concatenate([speech_probability(head, part) for part in np.array_split(power, len(power) // frames)])
        rates[f"{kind}: found"] = float(np.mean(found >= 0.5))
    for name, calls in (("clean", False), ("calls", True)):
        missed, found, speech, other = 0, 0, 0, 0
        for item, labels in labelled(features.held_out, features):
            if (item.version > 0) != calls or item.frames < frames:
                continue
            length = min(item.frames, 3000)
            power = features.power(item, 0, length)
            windows = list(range(0, length - frames + 1, frames))
            said = np.concatenate([speech_probability(head, power[start : start + frames]) for start in windows]) >= 0.5
            truth = np.concatenate([labels[start : start + frames : STRIDE] for start in windows])
            missed += int(np.sum(truth & ~said))
            speech += int(np.sum(truth))
            found += int(np.sum(~truth & said))
            other += int(np.sum(~truth))
        if speech and other:
            rates[f"speech, {name}: missed"] = missed / speech
            rates[f"pauses, {name}: found"] = found / other
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, help="folder that prepare wrote")
    parser.add_argument("out", type=Path, help="file for the trained head")
    parser.add_argument("--steps", type=int, default=12000)
    options = parser.parse_args()
    features = Features(options.features)
    head = train_head(features, options.steps)
    save_head(head, options.out, made_of(features, options.steps))
    for name, rate in error_rates(head, features).items():
        print(f"{name} {100 * rate:.1f} %")


if __name__ == "__main__":
    main()
