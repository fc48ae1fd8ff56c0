"""The labelled speech that models are trained and evaluated on: one folder per corpus, one file per speaker and an index.tsv."""

from __future__ import annotations

import csv
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SOURCE_RATE = 16000

TRAINING_CORPORA = ("speechocean762", "librispeech", "speech-commands-test", "dspspeech20")

# Real calls, never trained on.
TELEPHONE = "telephone-dev"

# Speakers kept out of training, the last of each corpus in sorted order. The first two are the corpora's own rule;
# the same share of the other two lets every corpus be evaluated.
HELD_OUT = {"speechocean762": 25, "dspspeech20": 4, "librispeech": 25, "speech-commands-test": 24, "synthetic": 20}


@dataclass(frozen=True)
class Utterance:
    """One utterance of a speaker: where it lies in the speaker's file, in seconds."""

    name: str
    start: float
    duration: float


@dataclass(frozen=True)
class Speaker:
    """A speaker (in telephone corpora a call, named person/call) with the file and the utterances in it."""

    corpus: str
    name: str
    file: Path
    utterances: tuple[Utterance, ...]


def read_corpus(folder: Path) -> list[Speaker]:
    """Reads a corpus folder; speakers in sorted order. Raises FileNotFoundError where there is no index.tsv."""
    index = folder / "index.tsv"
    rows: dict[str, list[Utterance]] = {}
    files: dict[str, str] = {}
    with index.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            rows.setdefault(row["speaker"], []).append(
                Utterance(row["utterance"], float(row["start_s"]), float(row["duration_s"]))
            )
            files[row["speaker"]] = row["file"]
    return [Speaker(folder.name, name, folder / files[name], tuple(rows[name])) for name in sorted(rows)]


def split_speakers(speakers: list[Speaker]) -> tuple[list[Speaker], list[Speaker]]:
    """Training and held-out speakers of one corpus (already sorted); where there are no more than are held out, nobody is left to train on."""
    held = HELD_OUT.get(speakers[0].corpus, 0) if speakers else 0
    training = max(0, len(speakers) - held)
    return (speakers[:training], speakers[training:])


def digest(folder: Path) -> str:
    """What features depend on of a folder of speech or noise: its index, who is held out, and the names and sizes of its files. The same for a folder
    that is not there as for an empty one."""
    files = sorted(file for file in folder.glob("*") if file.is_file()) if folder.is_dir() else []
    listed = [f"{file.name} {file.stat().st_size}" for file in files]
    index = folder / "index.tsv"
    rows = index.read_text(encoding="utf-8") if index.exists() else ""
    return hashlib.sha256("\n".join([str(HELD_OUT.get(folder.name, 0)), *listed, rows]).encode()).hexdigest()


def decode(file: Path, rate: int = SOURCE_RATE) -> np.ndarray:
    """A file as float32 mono in [-1, 1] at `rate` hertz, by ffmpeg. Raises CalledProcessError for an unreadable file."""
    run = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", str(file), "-f", "f32le", "-ac", "1", "-ar", str(rate), "-"],
        check=True,
        capture_output=True,
    )
    return np.frombuffer(run.stdout, dtype="<f4")
