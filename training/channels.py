"""Simulated phone calls: what happens to a voice between the mouth and the server, drawn anew for every piece of speech.

Everything here works on float32 samples at 8 kHz. The order is that of a real call: room, noise around the caller,
microphone and handset, level, the phone's codec, the network.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.signal import fftconvolve, istft, resample_poly, stft

RATE = 8000

# Codecs of phone calls with how often each is drawn, and ffmpeg's names for them (None: computed here).
CODECS: dict[str, tuple[float, list[str] | None]] = {
    "mu-law": (0.26, None),
    "a-law": (0.10, None),
    "gsm": (0.20, ["-c:a", "libgsm", "-f", "gsm"]),
    "opus-6k": (0.06, ["-c:a", "libopus", "-b:a", "6k", "-application", "voip", "-compression_level", "3", "-f", "ogg"]),
    "opus-8k": (0.08, ["-c:a", "libopus", "-b:a", "8k", "-application", "voip", "-compression_level", "3", "-f", "ogg"]),
    "opus-12k": (0.08, ["-c:a", "libopus", "-b:a", "12k", "-application", "voip", "-compression_level", "3", "-f", "ogg"]),
    "speex-8k": (0.10, ["-c:a", "libspeex", "-b:a", "8k", "-f", "ogg"]),
    "g726-24k": (0.06, ["-c:a", "g726le", "-b:a", "24k", "-f", "g726le"]),
    "g726-16k": (0.06, ["-c:a", "g726le", "-b:a", "16k", "-f", "g726le"]),
}

_DECODER_ARGUMENTS = {
    "gsm": ["-f", "gsm", "-ar", "8000"],
    "g726-24k": ["-f", "g726le", "-code_size", "3", "-ar", "8000"],
    "g726-16k": ["-f", "g726le", "-code_size", "2", "-ar", "8000"],
}


def mu_law(samples: np.ndarray) -> np.ndarray:
    """Quantised as by G.711 mu-law: the continuous law (mu = 255) on 256 levels, which differs from the segmented one by less
    than a step."""
    companded = np.sign(samples) * np.log1p(255.0 * np.minimum(np.abs(samples), 1.0)) / np.log(256.0)
    level = np.round(companded * 127.5) / 127.5
    return (np.sign(level) * (np.expm1(np.abs(level) * np.log(256.0)) / 255.0)).astype(np.float32)


def a_law(samples: np.ndarray) -> np.ndarray:
    """Quantised as by G.711 A-law: the continuous law (A = 87.6) on 256 levels."""
    scale = 1.0 + np.log(87.6)
    size = np.minimum(np.abs(samples), 1.0)
    companded = np.where(size < 1 / 87.6, 87.6 * size / scale, (1.0 + np.log(np.maximum(87.6 * size, 1.0))) / scale)
    level = np.round(companded * 127.5) / 127.5
    expanded = np.where(level < 1 / scale, level * scale / 87.6, np.exp(level * scale - 1.0) / 87.6)
    return (np.sign(samples) * expanded).astype(np.float32)


def through_codec(samples: np.ndarray, codec: str) -> np.ndarray:
    """Samples after encoding and decoding; the codec's delay of a few milliseconds stays. Raises CalledProcessError."""
    if codec == "mu-law":
        return mu_law(samples)
    if codec == "a-law":
        return a_law(samples)
    encoder = CODECS[codec][1]
    assert encoder is not None
    raw = ["-f", "s16le", "-ar", str(RATE), "-ac", "1"]
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    quiet = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1"]
    encoded = subprocess.run([*quiet, *raw, "-i", "-", *encoder, "-"], input=pcm, check=True, capture_output=True).stdout
    decoded = subprocess.run(
        [*quiet, *_DECODER_ARGUMENTS.get(codec, []), "-i", "-", *raw, "-"], input=encoded, check=True, capture_output=True
    ).stdout
    return np.frombuffer(decoded, "<i2").astype(np.float32) / 32768.0


def change_speed(samples_16k: np.ndarray, percent: int) -> np.ndarray:
    """16 kHz speech at `percent` of its speed (tempo and pitch), at 8 kHz."""
    if percent == 100:
        return resample_poly(samples_16k, 1, 2).astype(np.float32)
    return resample_poly(samples_16k, 100 // 10, 2 * percent // 10).astype(np.float32)


def raise_voice(samples: np.ndarray, factor: float) -> np.ndarray:
    """The same voice speaking `factor` times as high, and as fast: resampled, then the spectral envelope (the formants, which say whose
    voice it is) put back where it was. The envelope is the log spectrum's cepstrum below 2.5 ms, the period of a voice at 400 Hz (Noll, JASA 1967)."""
    ratio = Fraction(factor).limit_denominator(40)
    moved = resample_poly(samples, ratio.denominator, ratio.numerator)
    window, quefrencies = 256, RATE // 400
    spectrum = stft(moved, RATE, nperseg=window, noverlap=window * 3 // 4)[2]
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + 1e-6), axis=0)
    cepstrum[quefrencies : window - quefrencies + 1] = 0
    envelope = np.fft.rfft(cepstrum, axis=0).real
    bands = np.arange(len(envelope))
    place = np.minimum(bands * float(ratio), len(envelope) - 1)
    below = np.minimum(place.astype(int), len(envelope) - 2)
    rest = (place - below)[:, None]
    gain = np.clip(envelope[below] * (1 - rest) + envelope[below + 1] * rest - envelope, -3, 3)
    put_back = istft(spectrum * np.exp(gain), RATE, nperseg=window, noverlap=window * 3 // 4)[1]
    return put_back[: len(moved)].astype(np.float32)


def room(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A simulated room: a direct path, some early reflections and an exponentially decaying diffuse tail (Polack's model)."""
    decay = random.uniform(0.12, 0.8)
    length = int(RATE * min(decay, 0.6))
    time = np.arange(length) / RATE
    tail = random.standard_normal(length).astype(np.float32) * np.exp(-6.908 * time / decay).astype(np.float32)
    # High frequencies die first: a one-pole low-pass over the tail.
    if random.random() < 0.5:
        tail = np.convolve(tail, [0.6, 0.4])[:length].astype(np.float32)
    direct_to_reverberant_db = random.uniform(-3, 15)
    tail *= np.sqrt(10 ** (-direct_to_reverberant_db / 10) / np.sum(tail**2))
    response = np.concatenate([np.ones(1, np.float32), np.zeros(int(RATE * random.uniform(0.001, 0.02)), np.float32), tail])
    for _ in range(random.integers(0, 5)):
        response[random.integers(1, min(len(response), 240))] += random.uniform(-0.5, 0.5)
    return fftconvolve(samples, response)[: len(samples)].astype(np.float32)


def coloured_noise(length: int, random: np.random.Generator) -> np.ndarray:
    """Stationary noise with a random slope between white and brown."""
    spectrum = random.standard_normal(length // 2 + 1) + 1j * random.standard_normal(length // 2 + 1)
    frequency = np.maximum(np.arange(length // 2 + 1), 1.0)
    return np.fft.irfft(spectrum * frequency ** -random.uniform(0, 1.0), length).astype(np.float32)


def handset(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Microphone and line: a low cut at 80 to 500 Hz, a high cut at 2.8 to 4.2 kHz, a tilt and a few resonances. Wider than the handsets of telephone
    sets, 150 to 500 Hz and 2.8 to 4 kHz: voice over IP cuts lower, and a high cut at 4.2 kHz stands for none."""
    length = len(samples)
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    low = np.exp(random.uniform(np.log(80), np.log(500)))
    high = random.uniform(2800, 4200)
    steep_low, steep_high = random.uniform(1, 5), random.uniform(4, 16)
    gain_db = -10 * np.log10(1 + (low / np.maximum(frequency, 1)) ** (2 * steep_low))
    gain_db -= 10 * np.log10(1 + (frequency / high) ** (2 * steep_high))
    octave = np.log2(np.maximum(frequency, 50) / 1000)
    gain_db += random.uniform(-5, 5) * octave
    for _ in range(random.integers(0, 4)):
        width = random.uniform(0.1, 0.7)
        gain_db += random.uniform(-9, 9) * np.exp(-0.5 * ((octave - random.uniform(-1.7, 1.9)) / width) ** 2)
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (np.maximum(gain_db, -60) / 20), length).astype(np.float32)


def lose_packets(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Packets of 20 ms lost, 1 to 8 % of all, in bursts of 1 to 3; each is silence, or the one before it at half its level."""
    packet = RATE // 50
    out = samples.copy()
    bursts = (1, 2, 3)
    rate = random.uniform(0.01, 0.08) / np.mean(bursts)
    conceal = random.random() < 0.5
    for start in range(packet, len(out) - packet, packet):
        if random.random() < rate:
            stop = min(start + packet * int(random.choice(bursts)), len(out))
            for at in range(start, stop, packet):
                end = min(at + packet, stop)
                out[at:end] = 0.5 * out[at - packet : end - packet] if conceal else 0.0
    return out


@dataclass(frozen=True)
class NoiseBank:
    """Noise recordings and speech for babble, each one long array at 8 kHz, everywhere equally loud (noises.py)."""

    noise: np.ndarray
    babble: np.ndarray

    def draw(self, length: int, random: np.random.Generator) -> np.ndarray:
        """Noise of a random kind, `length` samples."""
        kind = random.random()
        if kind < 0.45:
            return self.cuts(self.noise, length, random)
        if kind < 0.75:
            return sum(self.cuts(self.babble, length, random) for _ in range(random.integers(1, 7)))
        return coloured_noise(length, random)

    @staticmethod
    def cuts(source: np.ndarray, length: int, random: np.random.Generator) -> np.ndarray:
        start = int(random.integers(0, len(source)))
        return np.take(source, np.arange(start, start + length), mode="wrap")


def before_codec(samples: np.ndarray, noises: NoiseBank, random: np.random.Generator) -> np.ndarray:
    """One piece of clean speech at 8 kHz on its way to the codec: room, noise, handset, level, overload. Noise lies 3 to 28 dB below
    the speech: from a loud street to a room that is nearly quiet."""
    if random.random() < 0.4:
        samples = room(samples, random)
    power = float(np.mean(samples**2)) + 1e-12
    if random.random() < 0.65:
        noise = noises.draw(len(samples), random)
        snr_db = random.uniform(3, 28)
        samples = samples + noise * np.sqrt(power / (float(np.mean(noise**2)) + 1e-12) * 10 ** (-snr_db / 10))
    if random.random() < 0.9:
        samples = handset(samples, random)
    level = 10 ** (random.uniform(-36, -14) / 20)
    samples = samples * (level / (np.sqrt(float(np.mean(samples**2))) + 1e-9))
    if random.random() < 0.3:
        line = coloured_noise(len(samples), random)
        samples = samples + line * (level * 10 ** (-random.uniform(15, 40) / 20) / (np.sqrt(float(np.mean(line**2))) + 1e-12))
    if random.random() < 0.12:
        drive = random.uniform(2, 6) * level
        samples = np.tanh(samples / drive) * drive
    return np.clip(samples, -1, 1).astype(np.float32)


def after_codec(samples: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What the network does: lost packets, and G.711 once more at the gateway."""
    if random.random() < 0.15:
        samples = lose_packets(samples, random)
    return mu_law(samples)
