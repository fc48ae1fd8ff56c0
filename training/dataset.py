"""Prepared features in memory and the batches drawn from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .frontend import BANDS, HIGH_HZ, LOW_HZ, hertz_to_mel, mel_to_hertz

# The spectrum stretched or squeezed by 7 % or an eighth, the pace as it was: other voices (vocal tract length perturbation, Jaitly & Hinton, ICML workshop 2013).
WARPS = (1.0, 0.93, 1.07, 0.88, 1.13)
# How often a crop is of the warp 1; the others share the rest.
UNWARPED = 0.4

# What a crop goes through on top of its warp, whatever that is: as it is or between two warps a little to either side, which blurs, as every warp does that reads between
# bands; all bands or, half of the time, up to five of the highest replaced by the one below them, as happens where a warp reads past the end. A class would be told by these
# otherwise and not by the voice: a network that was trained without this took a speaker whose bands were blurred, in place, for somebody else.
SHIFTS = (0.0, 0.005, 0.01, 0.02)
MIXES = (0.0, 0.5, 1.0)
HIGHEST_BANDS = (*(BANDS - 1,) * 5, BANDS - 2, BANDS - 3, BANDS - 4, BANDS - 5, BANDS - 6)

# Two crops of a speaker begin at least this share of his speech apart, from whichever end it is counted.
APART = 0.35


# Counts up whenever prepare.py makes something else of the same speech.
FEATURES_FORMAT = 4


@dataclass(frozen=True)
class Item:
    """The frames of one speaker at one speed in one version (0: clean, others through simulated calls)."""

    corpus: str
    speaker: str
    speed: int
    version: int
    start: int
    # Frames of its pieces, which are the same speech in all versions.
    pieces: tuple[int, ...]

    @property
    def frames(self) -> int:
        return sum(self.pieces)


class Features:
    """What prepare.py wrote. Frames are log mel power, float16. Raises ValueError for what another front end or an earlier prepare.py made."""

    def __init__(self, folder: Path) -> None:
        text = (folder / "features.json").read_text()
        described = json.loads(text)
        if described["bands"] != BANDS or described.get("format") != FEATURES_FORMAT:
            raise ValueError(f"{folder} holds features of another front end or an earlier recipe: delete it, they are made anew.")
        # What a checkpoint or a trained head is of: the description has every item with its place and length.
        self.identity = hashlib.sha256(text.encode()).hexdigest()
        self.versions: int = described["versions"]
        # Digests of the corpora, noise and babble, by name.
        self.made_of: dict[str, str] = described["madeOf"]
        self.frames = np.memmap(folder / "features.f16", np.float16, "r").reshape(-1, BANDS)
        self.training: list[Item] = []
        self.held_out: list[Item] = []
        for row in described["items"]:
            item = Item(row["corpus"], row["speaker"], row["speed"], row["version"], row["start"], tuple(row["pieces"]))
            (self.held_out if row["heldOut"] else self.training).append(item)
        bank = np.load(folder / "noises.npz")
        self.noise: np.ndarray = bank["noise_power"]
        self.babble: np.ndarray = bank["babble_power"]

    def power(self, item: Item, start: int, count: int) -> np.ndarray:
        """Mel power of `count` frames from `start` on, float32; the item is repeated where it is too short."""
        if item.frames >= start + count:
            log = self.frames[item.start + start : item.start + start + count]
        else:
            log = np.take(self.frames[item.start : item.start + item.frames], range(start, start + count), 0, mode="wrap")
        return np.exp(log.astype(np.float32))


@dataclass(frozen=True)
class Batch:
    """Two crops of every speaker: power [2 * speakers, frames, BANDS] (all first crops, then all second ones), class labels [speakers],
    corpus of each [speakers], 1 where a crop comes from a simulated call already, and noise of the same shape as power."""

    power: Tensor
    labels: Tensor
    corpora: Tensor
    already: Tensor
    noise: Tensor


def warp_matrix(factor: float) -> np.ndarray:
    """[BANDS, BANDS]: power @ matrix reads every band at `factor` times its frequency, between bands linearly, at the ends the last band."""
    mels = np.linspace(hertz_to_mel(LOW_HZ), hertz_to_mel(HIGH_HZ), BANDS + 2)
    place = np.clip((hertz_to_mel(mel_to_hertz(mels[1:-1]) * factor) - mels[1]) / (mels[1] - mels[0]), 0, BANDS - 1)
    below = np.minimum(place.astype(int), BANDS - 2)
    matrix = np.zeros((BANDS, BANDS), np.float32)
    matrix[below, np.arange(BANDS)] = 1 - (place - below)
    matrix[below + 1, np.arange(BANDS)] = place - below
    return matrix


def near_warps(factor: float) -> np.ndarray:
    """What crops of a warp go through, [matrices, BANDS, BANDS]: SHIFTS, MIXES and HIGHEST_BANDS in all combinations."""
    blurred = [mix * warp_matrix(factor * (1 + shift)) + (1 - mix) * warp_matrix(factor * (1 - shift)) for shift in SHIFTS for mix in MIXES]
    return np.stack([matrix[:, np.minimum(np.arange(BANDS), highest)] for matrix in blurred for highest in HIGHEST_BANDS]).astype(np.float32)


def crop_start(item: Item, place: float, frames: int) -> int:
    """Where in an item a crop of so many frames begins that stands at `place` [0, 1) of it: within one piece, which is one call, unless that is too short."""
    ends = np.cumsum(item.pieces)
    piece = int(np.searchsorted(ends, place * item.frames, "right"))
    length = item.pieces[piece]
    if length < frames:
        return int(place * max(1, item.frames - frames))
    first = int(ends[piece]) - length
    return first + int((place * item.frames - first) / length * (length - frames + 1))


class Sampler:
    """Draws batches. A class is a speaker at a speed and a warp; a speaker is drawn in proportion to the root of the seconds that
    there are of them. Neighbours in a batch are of one corpus. A batch has two warps, or most speakers of it would be of no use to tell apart: another warp is heard at once."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.warps = [warp_matrix(factor) for factor in WARPS]
        self.near = [near_warps(factor) for factor in WARPS]
        by_class: dict[tuple[str, str, int], list[Item]] = {}
        for item in features.training:
            by_class.setdefault((item.corpus, item.speaker, item.speed), []).append(item)
        self.voices = sorted(by_class)
        self.items = [by_class[name] for name in self.voices]
        roots = np.sqrt([items[0].frames for items in self.items])
        self.odds = roots / roots.sum()
        names = sorted({name[0] for name in self.voices})
        self.corpus_of_class = torch.tensor([names.index(name[0]) for name in self.voices]).repeat_interleave(len(WARPS))

    def draw(self, speakers: int, frames: int, random: np.random.Generator) -> Batch:
        """A batch of `speakers` different speakers at a speed, ordered by corpus so that neighbours can share a call. The two crops of a speaker are of different
        versions and, where there is enough speech, of different words."""
        chosen = np.sort(random.choice(len(self.voices), speakers, replace=False, p=self.odds))
        warps = np.where(random.random(speakers) < UNWARPED, 0, random.integers(1, len(WARPS)))
        power = np.empty((2 * speakers, frames, BANDS), np.float32)
        already = np.zeros(2 * speakers, np.float32)
        for row, voice in enumerate(chosen):
            items = self.items[voice]
            place = random.random()
            places = (place, (place + random.uniform(APART, 1 - APART)) % 1)
            for half, version in enumerate(random.permutation(len(items))[:2] if len(items) > 1 else (0, 0)):
                item = items[version]
                near = self.near[warps[row]]
                crop = self.features.power(item, crop_start(item, places[half], frames), frames)
                power[half * speakers + row] = crop @ near[random.integers(len(near))]
                already[half * speakers + row] = float(item.version > 0)
        labels = torch.from_numpy(chosen * len(WARPS) + warps)
        return Batch(
            torch.from_numpy(power), labels, self.corpus_of_class[labels], torch.from_numpy(already), self._noise(2 * speakers, frames, random)
        )

    def _noise(self, crops: int, frames: int, random: np.random.Generator) -> Tensor:
        out = np.empty((crops, frames, BANDS), np.float32)
        for row in range(crops):
            if random.random() < 0.5:
                out[row] = self._cut(self.features.noise, frames, random)
            else:
                out[row] = sum(self._cut(self.features.babble, frames, random) for _ in range(random.integers(1, 6)))
        return torch.from_numpy(out)

    @staticmethod
    def _cut(source: np.ndarray, frames: int, random: np.random.Generator) -> np.ndarray:
        start = int(random.integers(0, max(1, len(source) - frames)))
        cut = source[start : start + frames]
        return cut if len(cut) == frames else np.resize(cut, (frames, source.shape[1]))
