"""Recorded noise and babble: read, brought to one level, and a part of the recordings left for tests.

A signal-to-noise ratio is set over a whole piece of speech. Folders of noise are short cuts of very different loudness with gaps between
them: as they are, the loudest few would carry all the power, and most of the piece would hear next to nothing of it. The evaluation tools
(`src/eval-run/noise.ts`) level noise by the same rule.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import fft
from scipy.sparse.csgraph import connected_components

from .channels import RATE, NoiseBank, coloured_noise
from .corpora import decode

NOISE = "noise"
BABBLE = ("unlabelled-commands", "unlabelled-wakewords")

AUDIO_FILES = {".flac", ".mp3", ".ogg", ".opus", ".wav"}

# Frames of 20 ms so far below the loudest of all are the gaps between noises, or noise that cannot be heard.
FRAME = RATE // 50
GAP_DB = 40

# Every stretch of at most half a second is brought to the same RMS; what is shorter than a tenth between two gaps is left out.
STRETCH = RATE // 2
SHORTEST = RATE // 10
FADE = RATE // 100
LEVEL_RMS = 0.05

# About so much of all recordings is never trained on.
SHARE_FOR_TESTS = 0.2

# Two cuts whose first differences correlate more than this at some lag are pieces of one recording. The cuts that the shipped models were
# trained with are nearly all below 0.1 or, where they overlap by a third or more, above this.
ALIKE = 0.3


@dataclass(frozen=True)
class Recordings:
    """What may be trained on and what is left for tests: no recording is in both."""

    training: NoiseBank
    tests: NoiseBank


def read_cuts(folder: Path) -> list[np.ndarray]:
    """The recordings of a folder at 8 kHz: cut by its index.tsv, else every audio file in the order of their names is one."""
    index = folder / "index.tsv"
    if not index.exists():
        files = sorted(folder.glob("*")) if folder.is_dir() else []
        whole = [decode(file, RATE) for file in files if file.suffix.lower() in AUDIO_FILES]
        return [cut for cut in whole if len(cut) >= FRAME]
    decoded: dict[str, np.ndarray] = {}
    cuts = []
    with index.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            if row["file"] not in decoded:
                decoded[row["file"]] = decode(folder / row["file"], RATE)
            start = float(row["start_s"])
            cuts.append(decoded[row["file"]][round(start * RATE) : round((start + float(row["duration_s"])) * RATE)])
    return [cut for cut in cuts if len(cut) >= FRAME]


def recordings_of(cuts: list[np.ndarray]) -> np.ndarray:
    """A number for every cut, the same for those that are pieces of one recording: cuts overlap, and lie about in any order. By their
    cross-correlation, of first differences because recordings of hum and rumble are all somewhat alike. The cost grows with the square of
    the number of cuts: 12 s for 400 of one second."""
    longest = max(len(cut) for cut in cuts)
    size = fft.next_fast_len(2 * longest, real=True)
    steps = np.zeros((len(cuts), longest), np.float32)
    for row, cut in zip(steps, cuts):
        row[1 : len(cut)] = np.diff(cut)
        row /= np.linalg.norm(row) + 1e-9
    spectra = fft.rfft(steps, size, axis=1)
    alike = np.zeros((len(cuts), len(cuts)), bool)
    for row, spectrum in enumerate(spectra):
        alike[row, row:] = np.abs(fft.irfft(spectra[row:] * spectrum.conj(), size, axis=1)).max(1) > ALIKE
    return connected_components(alike, directed=False)[1]


def split(cuts: list[np.ndarray], recordings: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cuts to train on and cuts left for tests: whole recordings drawn at random until they are about SHARE_FOR_TESTS of all, or the end
    of everything where the recordings are too few and long for that."""
    lengths = np.bincount(recordings, [len(cut) for cut in cuts])
    wanted = SHARE_FOR_TESTS * lengths.sum()
    chosen: list[int] = []
    for recording in np.random.default_rng(1).permutation(len(lengths)):
        # Only what brings the sum nearer to what is wanted.
        if lengths[chosen].sum() + lengths[recording] / 2 <= wanted:
            chosen.append(recording)
    if not chosen:
        joined = np.concatenate(cuts)
        at = int(lengths.sum() - wanted)
        return [joined[:at]], [joined[at:]]
    tested = np.isin(recordings, chosen)
    return [cut for cut, held in zip(cuts, tested) if not held], [cut for cut, held in zip(cuts, tested) if held]


def frame_powers(cut: np.ndarray) -> np.ndarray:
    """Power of every whole frame of 20 ms."""
    return np.mean(cut[: len(cut) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64) ** 2, axis=1)


def levelled(cuts: list[np.ndarray], least: float) -> np.ndarray:
    """The cuts joined to one array, frames of the power `least` or less left out and every stretch of half a second at the same RMS, each
    faded into the next. Raises ValueError where nothing is left."""
    out = np.zeros(sum(len(cut) for cut in cuts) + FADE, np.float32)
    rise = np.linspace(0, 1, FADE, dtype=np.float32)
    length = 0
    for cut in cuts:
        edges = np.flatnonzero(np.diff(np.concatenate([[False], frame_powers(cut) > least, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2] * FRAME, edges[1::2] * FRAME):
            for start in range(first, last, STRETCH):
                # With what the next one begins with, so that neighbours fade into each other in place.
                stretch = cut[start : min(start + STRETCH + FADE, last)]
                if len(stretch) < SHORTEST:
                    continue
                stretch = stretch * (LEVEL_RMS / np.sqrt(np.mean(stretch.astype(np.float64) ** 2))).astype(np.float32)
                stretch[:FADE] *= rise
                stretch[-FADE:] *= rise[::-1]
                out[length : length + len(stretch)] += stretch
                length += len(stretch) - FADE
    if length == 0:
        raise ValueError("A folder of noise or babble has nothing but silence to train on or to test with: take it away, or fill it.")
    return out[:length]


def read(speech: Path) -> Recordings:
    """The noise and babble below a folder of corpora; coloured noise, and a message, where there is none."""

    def both(name: str, cuts: list[np.ndarray], recordings: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        if not cuts:
            print(f"No recordings in {name}: a minute of coloured noise instead.", file=sys.stderr)
            cuts = [coloured_noise(RATE * 60, np.random.default_rng(1))]
        least = max(power for cut in cuts for power in frame_powers(cut)) / 10 ** (GAP_DB / 10)
        training, tests = split(cuts, np.zeros(len(cuts), int) if recordings is None else recordings)
        return levelled(training, least), levelled(tests, least)

    noise = read_cuts(speech / NOISE)
    indexed = (speech / NOISE / "index.tsv").exists()
    noises = both(NOISE, noise, (recordings_of(noise) if indexed else np.arange(len(noise))) if noise else None)
    # Nothing says who speaks in the babble: the end of it is left for tests.
    babbles = both(", ".join(BABBLE), [cut for folder in BABBLE for cut in read_cuts(speech / folder)])
    return Recordings(*(NoiseBank(noise, babble) for noise, babble in zip(noises, babbles)))
