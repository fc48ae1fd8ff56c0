"""A corpus of synthetic speakers for the quick check of the recipe: espeak-ng voices that differ in vocal tract, pitch and pace.

Nothing of it says how good a model is on people; it says that data, distortions, losses and evaluation work together.
"""

from __future__ import annotations

import csv
import io
import subprocess
import wave
from pathlib import Path

import numpy as np

_ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029")
_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "croak", "klatt", "klatt2", "klatt3", "klatt4")
_SENTENCES = (
    "I would like to change my address, and I have a question about the last invoice.",
    "The garden behind the house is full of yellow flowers, although it has hardly rained since June.",
    "Please tell me when the parcel leaves the warehouse, I am at home on Tuesday and on Friday.",
    "Seven, four, nine, zero, two, eight, one, three, six, five.",
    "Could somebody call me back tomorrow morning before I go to work?",
    "My account was opened three years ago, when we moved to the city.",
)


def make_corpus(folder: Path, speakers: int, seed: int = 1) -> None:
    """Writes `speakers` synthetic speakers (about 25 s each) as a corpus folder. Raises FileNotFoundError without espeak-ng."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    voices = [(accent, variant) for variant in _VARIANTS for accent in _ACCENTS]
    random.shuffle(voices)
    rows = []
    for number in range(speakers):
        accent, variant = voices[number % len(voices)]
        pitch, pace = int(random.integers(15, 85)), int(random.integers(140, 190))
        name = f"speaker-{number:03d}"
        parts, at = [], 0.0
        for utterance, sentence in enumerate(_SENTENCES):
            samples, rate = _say(f"{accent}+{variant}", pitch, pace, sentence)
            rows.append((name, f"{utterance}", f"{at:.3f}", f"{len(samples) / rate:.3f}", f"{name}.wav"))
            parts += [samples, np.zeros(rate // 10, np.int16)]
            at += (len(samples) + rate // 10) / rate
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, rate, 0, "NONE", ""))
            file.writeframes(np.concatenate(parts).tobytes())
    with (folder / "index.tsv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(("speaker", "utterance", "start_s", "duration_s", "file"))
        writer.writerows(rows)


def _say(voice: str, pitch: int, pace: int, text: str) -> tuple[np.ndarray, int]:
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(pace), "--stdout", text]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    # Written to a pipe, the header's lengths are not filled in: the samples are what follows it.
    with wave.open(io.BytesIO(output)) as file:
        rate = file.getframerate()
    samples = np.frombuffer(output[44 : len(output) - len(output) % 2], np.int16)
    return samples, rate
