"""Distortions of mel power spectra, drawn anew for every crop: what is nearly free here and dear on waveforms.

All functions take and return power, float32 [batch, frames, bands]; noise adds as power (the cross terms average out).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .frontend import BANDS, FRAMES_PER_SECOND, HIGH_HZ, LOW_HZ, hertz_to_mel, mel_to_hertz

_CENTRES_HZ = torch.tensor(
    mel_to_hertz(torch.linspace(float(hertz_to_mel(LOW_HZ)), float(hertz_to_mel(HIGH_HZ)), BANDS + 2)[1:-1].numpy())
).float()


def _some(batch: int, share: float, random: torch.Generator) -> Tensor:
    """1 for about `share` of the batch and 0 for the rest, [batch, 1, 1]."""
    return (torch.rand(batch, 1, 1, generator=random) < share).float()


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=random) * (high - low) + low


def reverberate(power: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Adds a diffuse tail: power decays by 60 dB in 0.15 to 0.9 s, direct-to-reverberant ratio 0 to 15 dB, tail the same in all bands."""
    batch, frames, bands = power.shape
    taps = 40
    decay = _uniform((batch, 1), 0.15, 0.9, random)
    time = torch.arange(1, taps + 1).float()[None] / FRAMES_PER_SECOND
    kernel = torch.exp(-13.816 * time / decay)
    level = 10 ** (-_uniform((batch, 1), 0, 15, random) / 10) * _some(batch, share, random)[:, 0]
    kernel = kernel / kernel.sum(1, keepdim=True) * level
    # One matrix per crop: tail[t] = sum_k kernel[k] power[t - k]; a banded Toeplitz product, cheaper than a grouped convolution.
    lag = torch.arange(frames)[:, None] - torch.arange(frames)[None] - 1
    toeplitz = torch.where((lag >= 0) & (lag < taps), kernel[:, lag.clamp(0, taps - 1)], torch.zeros(()))
    return power + torch.bmm(toeplitz, power)


def band_gain(batch: int, random: torch.Generator) -> Tensor:
    """Power gains of random handsets and lines, [batch, 1, BANDS]: low cut, high cut, tilt and slow ripple."""
    centre = _CENTRES_HZ[None]
    octave = torch.log2(centre / 1000)
    low = torch.exp(_uniform((batch, 1), math.log(100), math.log(500), random))
    high = _uniform((batch, 1), 2700, 4200, random)
    gain = -10 * torch.log10(1 + (low / centre) ** _uniform((batch, 1), 2, 10, random))
    gain = gain - 10 * torch.log10(1 + (centre / high) ** _uniform((batch, 1), 8, 32, random))
    gain = gain + _uniform((batch, 1), -6, 6, random) * octave
    for _ in range(2):
        place, width = _uniform((batch, 1), -1.8, 1.9, random), _uniform((batch, 1), 0.15, 0.8, random)
        gain = gain + _uniform((batch, 1), -8, 8, random) * torch.exp(-0.5 * ((octave - place) / width) ** 2)
    return (10 ** (gain.clamp(min=-50) / 10))[:, None]


def add_noise(power: Tensor, noise: Tensor, share: float, low_db: float, high_db: float, random: torch.Generator) -> Tensor:
    """Adds noise at a signal-to-noise ratio over the whole crop of low_db to high_db decibels."""
    batch = len(power)
    ratio = 10 ** (-_uniform((batch, 1, 1), low_db, high_db, random) / 10) * _some(batch, share, random)
    return power + noise * (power.mean((1, 2), keepdim=True) / (noise.mean((1, 2), keepdim=True) + 1e-20) * ratio)


def line_noise(power: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Stationary noise with a random slope, 12 to 40 dB under the speech: what makes filtered-away bands unreadable."""
    batch, frames, bands = power.shape
    slope = _uniform((batch, 1, 1), -3, 9, random) * torch.log2(_CENTRES_HZ / 1000)[None, None]
    # The power of Gaussian noise in one band of one frame is about a chi-square with a few degrees of freedom.
    grain = torch.empty(batch, frames, bands).exponential_(generator=random) * 0.5 + 0.5
    return add_noise(power, 10 ** (-slope / 10) * grain, share, 12, 40, random)


def drop_frames(power: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Lost packets: 2 to 6 frames at a time at next to nothing, up to five times a crop."""
    batch, frames, _ = power.shape
    keep = torch.ones(batch, frames, 1)
    position = torch.arange(frames)[None]
    for _ in range(5):
        start = (torch.rand(batch, 1, generator=random) * frames).long()
        length = torch.randint(2, 7, (batch, 1), generator=random)
        hit = (torch.rand(batch, 1, generator=random) < share) & (position >= start) & (position < start + length)
        keep = keep * (~hit).float()[:, :, None]
    return power * keep.clamp(min=1e-6)


def sway(power: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Slow changes of level by some decibels: an automatic gain control, a head that turns."""
    batch, frames, _ = power.shape
    knots = torch.randn(batch, 1, max(2, frames // 40), generator=random) * 4 * _some(batch, share, random)
    gain = functional.interpolate(knots, size=frames, mode="linear", align_corners=True)
    return power * 10 ** (gain[:, 0, :, None] / 10)


def mask_bands(features: Tensor, share: float, random: torch.Generator) -> Tensor:
    """Levels up to 8 adjoining bands (SpecAugment, Park et al., Interspeech 2019), on normalised features."""
    batch = len(features)
    start = torch.randint(0, BANDS, (batch, 1, 1), generator=random)
    width = torch.randint(1, 9, (batch, 1, 1), generator=random)
    position = torch.arange(BANDS)[None, None]
    hit = (_some(batch, share, random) > 0) & (position >= start) & (position < start + width)
    return features.masked_fill(hit, 0.0)


def phone_call(power: Tensor, noise: Tensor, random: torch.Generator, already: Tensor, group: int = 1) -> Tensor:
    """A simulated call on top of what the crops have been through; `already` [batch] is 1 where that was a whole call, which halves
    the share of noise and reverberation added here. Every `group` adjoining crops share a handset."""
    fresh = 1.0 - 0.5 * already[:, None, None]
    wet = reverberate(power, 0.35, random)
    power = torch.where(torch.rand(len(power), 1, 1, generator=random) < fresh, wet, power)
    noisy = add_noise(power, noise, 0.7, 3, 25, random)
    power = torch.where(torch.rand(len(power), 1, 1, generator=random) < fresh, noisy, power)
    gains = band_gain(-(-len(power) // group), random).repeat_interleave(group, 0)[: len(power)]
    power = power * gains
    power = line_noise(power, 0.6, random)
    return drop_frames(sway(power, 0.3, random), 0.06, random)
