"""Mel power spectra of telephone speech: for training in NumPy at 8 kHz, the same bands as the exported network at 16 kHz."""

from __future__ import annotations

import numpy as np

# The telephone band, with some room for voice over IP below 300 Hz; above 3.8 kHz phone codecs leave nothing to hear.
LOW_HZ = 120.0
HIGH_HZ = 3800.0
BANDS = 60
WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010
FRAMES_PER_SECOND = 100

# Energies are measured against the mean of their band; what lies further than this below it (23 dB) is levelled. So
# line noise under that does not reach the network, and a linear channel cancels exactly.
RELATIVE_FLOOR = 5e-3


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """O'Shaughnessy's mel scale as HTK uses it: 2595 log10(1 + f / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """Inverse of hertz_to_mel."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def mel_filters(rate: int, fft_size: int) -> np.ndarray:
    """Triangular filters, [BANDS, fft_size // 2 + 1], peak 1; every band has weight even where bins are scarce."""
    edges = mel_to_hertz(np.linspace(hertz_to_mel(LOW_HZ), hertz_to_mel(HIGH_HZ), BANDS + 2))
    bins = np.arange(fft_size // 2 + 1) * rate / fft_size
    lower, centre, upper = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    # A triangle narrower than a bin would miss every bin: its flanks reach at least one bin to each side.
    spacing = rate / fft_size
    rising = (bins - np.minimum(lower, centre - spacing)) / (centre - np.minimum(lower, centre - spacing))
    falling = (np.maximum(upper, centre + spacing) - bins) / (np.maximum(upper, centre + spacing) - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def analysis_window(rate: int) -> np.ndarray:
    """Symmetric Hann window of WINDOW_SECONDS, scaled so that a signal has the same power at any rate."""
    window = np.hanning(round(rate * WINDOW_SECONDS))
    return (window / window.sum()).astype(np.float32)


def mel_power(samples: np.ndarray, rate: int = 8000) -> np.ndarray:
    """Mel power spectra, [frames, BANDS] float32, of samples at `rate` hertz: no padding, HOP_SECONDS apart."""
    window = analysis_window(rate)
    hop = round(rate * HOP_SECONDS)
    fft_size = 256 * rate // 8000
    if len(samples) < len(window):
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, len(window))[::hop]
    filters = mel_filters(rate, fft_size).T
    out = np.empty((len(frames), BANDS), np.float32)
    # Minute by minute: the spectra of hours of noise at once would take gigabytes.
    for start in range(0, len(frames), 60 * FRAMES_PER_SECOND):
        spectrum = np.fft.rfft(frames[start : start + 60 * FRAMES_PER_SECOND] * window, fft_size)
        out[start : start + len(spectrum)] = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ filters
    return out
