"""What callers and lines send that is no speech: tones of the network, keys, music on hold, hum, clicks, silence. Made here, at 8 kHz."""

from __future__ import annotations

from typing import Callable

import numpy as np

from .channels import RATE, coloured_noise

# Frequencies in hertz with seconds on and off, as ITU-T E.180 supplement 2 lists them: ring-back, busy, dial and information tones of several networks.
_CADENCES: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = (
    ((440, 480), (2.0, 4.0)),
    ((425,), (1.0, 4.0)),
    ((400, 450), (0.4, 0.2, 0.4, 2.0)),
    ((400,), (1.0, 2.0)),
    ((480, 620), (0.5, 0.5)),
    ((480, 620), (0.25, 0.25)),
    ((425,), (0.5, 0.5)),
    ((350, 440), (3.0, 0.1)),
    ((950,), (0.33, 0.1)),
    ((1400,), (0.33, 0.1)),
)
# ITU-T Q.23.
_KEY_ROWS = (697.0, 770.0, 852.0, 941.0)
_KEY_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)


def _tones(frequencies: tuple[float, ...], seconds: float, random: np.random.Generator) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * f * time + random.uniform(0, 6.28)) * random.uniform(0.7, 1.0) for f in frequencies)
    edge = min(len(wave) // 2, int(0.004 * RATE))
    if edge:
        wave[:edge] *= np.linspace(0, 1, edge)
        wave[-edge:] *= np.linspace(1, 0, edge)
    return wave / max(1, len(frequencies))


def progress_tones(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Call progress tones of a network drawn at random, from somewhere in their cadence on."""
    frequencies, cadence = _CADENCES[random.integers(len(_CADENCES))]
    parts, length = [], 0.0
    while length < seconds + 6:
        for index, duration in enumerate(cadence):
            parts.append(_tones(frequencies, duration, random) if index % 2 == 0 else np.zeros(int(duration * RATE)))
            length += duration
    start = int(random.uniform(0, 6) * RATE)
    return np.concatenate(parts)[start : start + int(seconds * RATE)]


def keys(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Keys pressed one after another (DTMF)."""
    parts, length = [], 0
    while length < seconds * RATE:
        pair = (_KEY_ROWS[random.integers(4)], _KEY_COLUMNS[random.integers(4)])
        parts += [_tones(pair, random.uniform(0.05, 0.4), random), np.zeros(int(random.uniform(0.04, 0.6) * RATE))]
        length += len(parts[-1]) + len(parts[-2])
    return np.concatenate(parts)[: int(seconds * RATE)]


def music(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Chords, a melody and percussion of invented instruments: harmonics with their own decay, sometimes vibrato."""
    length = int(seconds * RATE)
    out = np.zeros(length + 4 * RATE)
    root = random.uniform(90, 220)
    scale = np.array(((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))[random.integers(3)])
    beat = random.uniform(0.18, 0.6)
    voices = [
        (random.integers(0, 3), random.uniform(0.15, 1.0), random.choice([1, 1, 2, 4]), random.uniform(0.3, 6.0), random.random() < 0.3)
        for _ in range(random.integers(1, 5))
    ]
    for octave, level, every, decay, vibrato in voices:
        harmonics = random.integers(2, 12)
        strength = random.uniform(0.2, 1.0, harmonics) / np.arange(1, harmonics + 1) ** random.uniform(0.3, 1.6)
        held = beat * every * random.uniform(0.6, 1.6)
        attack = random.uniform(0.003, 0.12)
        at = 0.0
        while at < seconds:
            if random.random() < 0.85:
                degree = scale[random.integers(len(scale))]
                pitch = root * 2 ** (octave + degree / 12)
                time = np.arange(int(held * RATE)) / RATE
                phase = 2 * np.pi * pitch * time + (0.02 * pitch / 5.5 * np.sin(2 * np.pi * 5.5 * time) if vibrato else 0)
                wave = sum(s * np.sin((h + 1) * phase) for h, s in enumerate(strength) if pitch * (h + 1) < RATE / 2)
                wave = wave * np.exp(-time / decay) * np.minimum(1, time / attack) * np.minimum(1, (held - time) / 0.02)
                start = int(at * RATE)
                stop = min(start + len(wave), len(out))
                out[start:stop] += level * wave[: stop - start]
            at += beat * every
    if random.random() < 0.6:
        for index in range(int(seconds / beat)):
            hit = random.standard_normal(int(0.12 * RATE)) * np.exp(-np.arange(int(0.12 * RATE)) / RATE / random.uniform(0.01, 0.05))
            start = int(index * beat * RATE)
            out[start : start + len(hit)] += hit * (0.7 if index % 2 else 0.3)
    return out[:length]


def silence(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Digital silence, or comfort noise some 50 to 80 dB below full scale."""
    length = int(seconds * RATE)
    return np.zeros(length) if random.random() < 0.4 else random.standard_normal(length) * 10 ** (random.uniform(-4.0, -2.5))


def noise(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Stationary or slowly swelling noise with a random slope."""
    wave = coloured_noise(int(seconds * RATE), random)
    swell = np.interp(np.arange(len(wave)), np.linspace(0, len(wave), 8), 10 ** random.uniform(-0.6, 0, 8))
    return wave * (swell if random.random() < 0.5 else 1.0)


def hum_and_clicks(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Mains hum with harmonics, crackle, knocks and breath-like bursts."""
    length = int(seconds * RATE)
    time = np.arange(length) / RATE
    mains = random.choice([50.0, 60.0])
    wave = sum(random.uniform(0, 1) / h * np.sin(2 * np.pi * mains * h * time) for h in range(1, 12)) * random.uniform(0, 0.3)
    for _ in range(int(seconds * random.uniform(0.5, 6))):
        duration = int(RATE * 10 ** random.uniform(-3, -0.4))
        burst = coloured_noise(max(duration, 8), random)
        burst = burst / (np.abs(burst).max() + 1e-9) * np.hanning(len(burst) * 2)[len(burst) :] * random.uniform(0.1, 1)
        start = random.integers(0, max(1, length - len(burst)))
        wave[start : start + len(burst)] += burst[: length - start]
    return wave


_MAKERS: dict[str, Callable[[float, np.random.Generator], np.ndarray]] = {
    "call progress tones": progress_tones,
    "keys": keys,
    "music": music,
    "silence": silence,
    "noise": noise,
    "hum and clicks": hum_and_clicks,
}
KINDS = tuple(_MAKERS)


def make(kind: str, seconds: float, random: np.random.Generator) -> np.ndarray:
    """`seconds` of one of KINDS, float32, peak at most 0.5; raises KeyError for another kind."""
    wave = _MAKERS[kind](seconds, random)
    peak = float(np.abs(wave).max())
    gain = 1.0 if kind == "silence" else random.uniform(0.02, 0.5) / (peak + 1e-9)
    return (wave * gain).astype(np.float32)
