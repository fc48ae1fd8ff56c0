"""Corpora -> mel power spectra of clean and of telephone speech, kept in one folder that training maps into memory.

Every speaker's speech is made at three speeds (each a speaker of its own for training) and, per speed, in several versions: one
clean, the others in pieces of 8 to 20 s with a simulated call each (channels.py). In those of training speakers every piece is
spoken higher or lower as well: people raise and lower their voices from one call to the next, and no corpus here has two sessions
of anybody. Runs on all cores, says how far it is.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from . import channels, corpora, noises
from .dataset import FEATURES_FORMAT
from .frontend import BANDS, mel_power

SPEEDS = (90, 100, 110)

# How much higher or lower a piece is spoken: standard deviation of the logarithm, and its limits.
VOICE_SPREAD = 0.1
VOICE_LIMIT = 0.22


@dataclass(frozen=True)
class Job:
    """One group of speakers of one corpus at one speed and in one version."""

    corpus: str
    speakers: tuple[corpora.Speaker, ...]
    speed: int
    version: int
    held_out: bool
    seed: int


_noises: noises.Recordings | None = None


def write_noises(speech: Path, bank: Path) -> None:
    """Reads the noise and babble recordings once: as samples for the workers, and as the mel power that every crop gets some of."""
    recordings = noises.read(speech)
    training, tests = recordings.training, recordings.tests
    np.savez(
        bank,
        noise=training.noise,
        babble=training.babble,
        noise_for_tests=tests.noise,
        babble_for_tests=tests.babble,
        noise_power=mel_power(training.noise),
        babble_power=mel_power(training.babble),
    )


def _start_worker(bank: str, parent: int) -> None:
    global _noises
    # An interrupt goes to the whole group; what becomes of the workers is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_after, args=(parent,), daemon=True).start()
    arrays = np.load(bank)
    training = channels.NoiseBank(arrays["noise"], arrays["babble"])
    _noises = noises.Recordings(training, channels.NoiseBank(arrays["noise_for_tests"], arrays["babble_for_tests"]))
    os.nice(5)


def _leave_after(parent: int) -> None:
    """Ends this process once its parent has gone: waiting workers hold their queue open themselves, and would wait for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def degrade(pieces: list[np.ndarray], bank: channels.NoiseBank, random: np.random.Generator) -> list[np.ndarray]:
    """Each piece through a simulated call of its own. Pieces of one codec go through the encoder together, 0.1 s apart."""
    names = list(channels.CODECS)
    weights = np.array([channels.CODECS[name][0] for name in names])
    chosen = [names[index] for index in random.choice(len(names), len(pieces), p=weights / weights.sum())]
    ready = [channels.before_codec(piece, bank, random) for piece in pieces]
    result: list[np.ndarray | None] = [None] * len(pieces)
    gap = np.zeros(channels.RATE // 10, np.float32)
    for codec in sorted(set(chosen)):
        members = [index for index, name in enumerate(chosen) if name == codec]
        decoded = channels.through_codec(np.concatenate([part for index in members for part in (ready[index], gap)]), codec)
        start = 0
        for index in members:
            stop = start + len(ready[index])
            result[index] = channels.after_codec(decoded[start:stop], random)
            start = stop + len(gap)
    return [piece for piece in result if piece is not None]


def prepare_group(job: Job) -> list[tuple[str, list[np.ndarray]]]:
    """Speaker names with the log mel power of their pieces, each [frames, BANDS] float16 (natural logarithm)."""
    assert _noises is not None
    random = np.random.default_rng([job.seed, job.speed, job.version])
    # Cut alike in all versions, so that their pieces are the same speech.
    cuts = np.random.default_rng([job.seed, job.speed])
    owners: list[int] = []
    pieces: list[np.ndarray] = []
    for owner, speaker in enumerate(job.speakers):
        speech = channels.change_speed(corpora.decode(speaker.file), job.speed)
        at = 0
        while at < len(speech):
            length = int(channels.RATE * cuts.uniform(8, 20))
            # A rest shorter than 4 s goes with the piece before it.
            stop = len(speech) if len(speech) - at - length < 4 * channels.RATE else at + length
            pieces.append(speech[at:stop])
            owners.append(owner)
            at = stop
    if job.version > 0 and not job.held_out:
        by = np.exp(np.clip(random.normal(0, VOICE_SPREAD, len(pieces)), -VOICE_LIMIT, VOICE_LIMIT))
        pieces = [channels.raise_voice(piece, factor) for piece, factor in zip(pieces, by)]
    bank = _noises.tests if job.held_out else _noises.training
    made = pieces if job.version == 0 else degrade(pieces, bank, random)
    spectra: list[list[np.ndarray]] = [[] for _ in job.speakers]
    for owner, piece in zip(owners, made):
        spectra[owner].append(np.log(mel_power(piece) + 1e-12).astype(np.float16))
    return [(speaker.name, parts) for speaker, parts in zip(job.speakers, spectra)]


def digests(speech: Path, names: tuple[str, ...] = corpora.TRAINING_CORPORA) -> dict[str, str]:
    """What features of these corpora are made of: a digest of each, and of the noise and babble that is mixed in."""
    return {name: corpora.digest(speech / name) for name in (*names, noises.NOISE, *noises.BABBLE)}


def _prepare(job: Job) -> tuple[Job, list[tuple[str, list[np.ndarray]]]]:
    return job, prepare_group(job)


def prepare(
    speech: Path, out: Path, versions: int, seed: int = 1, speeds: tuple[int, ...] = SPEEDS, names: tuple[str, ...] = corpora.TRAINING_CORPORA
) -> None:
    """Writes features.f16 (frames of all speakers, one after another) and features.json (which frames are whose).

    `versions` counts the clean one; `names` are the corpus folders. Raises FileNotFoundError for a missing corpus, ValueError for one
    without speakers to train on, and RuntimeError when a worker process was killed.
    """
    out.mkdir(parents=True, exist_ok=True)
    made_of = digests(speech, names)
    jobs: list[Job] = []
    for corpus in names:
        training, held_out = corpora.split_speakers(corpora.read_corpus(speech / corpus))
        if not training:
            raise ValueError(f"{corpus} has nobody to train on: {len(held_out)} speakers, and so many are held out.")
        for held, speakers in ((False, training), (True, held_out)):
            for speed in (100,) if held else speeds:
                for version in range(versions):
                    for at in range(0, len(speakers), 12):
                        jobs.append(Job(corpus, tuple(speakers[at : at + 12]), speed, version, held, seed + at))
    bank = out / "noises.npz"
    write_noises(speech, bank)
    with (out / "features.f16.part").open("wb") as stream:
        try:
            index = _write_features(jobs, bank, stream)
        except BrokenProcessPool as error:
            raise RuntimeError("A worker process was killed, perhaps for want of memory: prepared nothing.") from error
    (out / "features.f16.part").rename(out / "features.f16")
    described = {"format": FEATURES_FORMAT, "bands": BANDS, "versions": versions, "madeOf": made_of, "items": index}
    (out / "features.json").write_text(json.dumps(described))


def _write_features(jobs: list[Job], bank: Path, stream: BinaryIO) -> list[dict[str, object]]:
    """Writes the frames of all jobs in their order; whose they are."""
    index: list[dict[str, object]] = []
    written = 0
    started = time.monotonic()
    # The cores that this process may use, which can be fewer than there are.
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=_start_worker, initargs=(str(bank), os.getpid())) as pool:
        try:
            for done, (job, spectra) in enumerate(pool.map(_prepare, jobs), 1):
                for name, parts in spectra:
                    lengths = [len(part) for part in parts]
                    for part in parts:
                        stream.write(part.tobytes())
                    index.append(
                        {
                            "corpus": job.corpus,
                            "speaker": name,
                            "speed": job.speed,
                            "version": job.version,
                            "heldOut": job.held_out,
                            "start": written,
                            "pieces": lengths,
                        }
                    )
                    written += sum(lengths)
                elapsed = time.monotonic() - started
                print(f"\rprepare: {done}/{len(jobs)} groups, {written / 360000:.1f} h, {elapsed:.0f} s", end="", file=sys.stderr)
        except BaseException:
            # Or an interrupt would wait for every group that is queued.
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    print(file=sys.stderr)
    return index
