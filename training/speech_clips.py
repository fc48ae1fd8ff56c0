"""Test clips for speech detectors: speech of held-out speakers with pauses, clean, in noise at 10 dB and through simulated calls, and
what is no speech. `npm run compare:detectors` plays them to the service's detectors.

    python3 -m training.speech_clips --speech <folder of corpora> --out <folder>
"""

from __future__ import annotations

import argparse
import json
import wave
from pathlib import Path

import numpy as np

from . import channels, corpora, noises, non_speech
from .channels import RATE
from .frontend import FRAMES_PER_SECOND, mel_power
from .speech import speech_frames

CODECS = ("gsm", "opus-8k", "mu-law", "speex-8k", "g726-24k")


def write_clip(out: Path, name: str, samples: np.ndarray) -> None:
    """A clip as it leaves a gateway: G.711, here as 16-bit PCM at 8 kHz."""
    with wave.open(str(out / name), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(channels.mu_law(samples), -1, 1) * 32767).astype("<i2").tobytes())


def with_pauses(speaker: corpora.Speaker, random: np.random.Generator) -> np.ndarray:
    """Up to three utterances of at most 8 s with 0.3 to 1.5 s of silence around each."""
    samples = corpora.decode(speaker.file, RATE)
    parts = [np.zeros(int(random.uniform(0.3, 1.5) * RATE), np.float32)]
    for utterance in speaker.utterances[:3]:
        start = round(utterance.start * RATE)
        parts.append(samples[start : start + round(min(utterance.duration, 8.0) * RATE)])
        parts.append(np.zeros(int(random.uniform(0.3, 1.5) * RATE), np.float32))
    clip = np.concatenate(parts)
    return clip * (0.5 / (np.abs(clip).max() + 1e-9))


def make_clips(speech: Path, out: Path, seed: int = 42) -> int:
    """Writes wav files and clips.json (file, kind, and for speech one label per 10 ms); returns how many."""
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    bank = noises.read(speech).tests
    clips: list[dict[str, object]] = []

    def add(kind: str, samples: np.ndarray, labels: np.ndarray | None = None) -> None:
        name = f"{len(clips):04d}.wav"
        write_clip(out, name, samples)
        clips.append({"file": name, "kind": kind, "labels": None if labels is None else [int(label) for label in labels]})

    def at_10_db(clip: np.ndarray, noise: np.ndarray) -> np.ndarray:
        power = float(np.mean(clip[clip != 0] ** 2))
        return clip + noise * np.sqrt(power / (float(np.mean(noise**2)) + 1e-12) / 10)

    for corpus in ("speechocean762", "librispeech"):
        for index, speaker in enumerate(corpora.split_speakers(corpora.read_corpus(speech / corpus))[1]):
            clip = with_pauses(speaker, random)
            labels = speech_frames(mel_power(clip + 1e-6 * random.standard_normal(len(clip)).astype(np.float32)))
            add("speech", clip, labels)
            add("speech in recorded noise, 10 dB", at_10_db(clip, bank.cuts(bank.noise, len(clip), random)), labels)
            add("speech in stationary noise, 10 dB", at_10_db(clip, channels.coloured_noise(len(clip), random)), labels)
            called = channels.through_codec(channels.before_codec(clip, bank, random), CODECS[index % len(CODECS)])
            add("speech, simulated call", np.pad(called[: len(clip)], (0, max(0, len(clip) - len(called)))), labels)
    for kind in non_speech.KINDS:
        for _ in range(12):
            add(kind, non_speech.make(kind, 10.0, random))
    for _ in range(20):
        add("recorded noise", bank.cuts(bank.noise, 10 * RATE, random) * 2)
    (out / "clips.json").write_text(json.dumps({"labelsPerSecond": FRAMES_PER_SECOND, "clips": clips}))
    return len(clips)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder of corpora")
    parser.add_argument("--out", type=Path, required=True, help="folder for the clips")
    options = parser.parse_args()
    print(f"{make_clips(options.speech, options.out)} clips in {options.out}")


if __name__ == "__main__":
    main()
