"""Error rates on speech that was never trained on: held-out speakers of every corpus, and real calls."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import nn

from . import corpora
from .channels import CODECS, RATE, through_codec
from .dataset import Features
from .frontend import FRAMES_PER_SECOND, mel_power
from .networks import normalise

# Mel power [frames, bands] -> unit embedding.
Embed = Callable[[np.ndarray], np.ndarray]

PIECE = 4 * FRAMES_PER_SECOND


def embedder(network: nn.Module) -> Embed:
    """One embedding of up to 10 s at a time; longer speech as windows of equal length whose unit embeddings are averaged."""

    def embed(power: np.ndarray) -> np.ndarray:
        windows = np.array_split(power, max(1, -(-len(power) // (10 * FRAMES_PER_SECOND))))
        with torch.no_grad():
            parts = [nn.functional.normalize(network(normalise(torch.from_numpy(part.copy())[None])))[0].float() for part in windows]
        mean = sum(part * len(window) for part, window in zip(parts, windows)).numpy()
        return mean / np.linalg.norm(mean)

    return embed


def equal_error_rate(targets: np.ndarray, nontargets: np.ndarray) -> float:
    """Where the share of targets below a threshold meets the share of nontargets at or above it, interpolated."""
    scores = np.concatenate([targets, nontargets])
    order = np.argsort(scores, kind="stable")
    is_target = np.concatenate([np.ones(len(targets)), np.zeros(len(nontargets))])[order]
    missed = np.concatenate([[0.0], np.cumsum(is_target) / len(targets)])
    accepted = np.concatenate([[1.0], 1 - np.cumsum(1 - is_target) / len(nontargets)])
    at = int(np.argmax(missed >= accepted))
    before = missed[at - 1] - accepted[at - 1]
    after = missed[at] - accepted[at]
    share = -before / (after - before) if after > before else 0.0
    return float(missed[at - 1] + share * (missed[at] - missed[at - 1]))


def held_out(embed: Embed, features: Features) -> dict[str, float]:
    """Equal error rate per corpus on held-out speakers, pieces of 4 s: both clean, and each pair in two different simulated calls."""
    rates: dict[str, float] = {}
    for corpus in sorted({item.corpus for item in features.held_out}):
        rows: list[tuple[str, int, int, np.ndarray]] = []
        for item in features.held_out:
            if item.corpus != corpus:
                continue
            starts = list(range(0, item.frames - PIECE + 1, PIECE))[:8] or [0]
            for piece, start in enumerate(starts):
                rows.append((item.speaker, item.version, piece, embed(features.power(item, start, min(PIECE, item.frames)))))
        if not rows:
            continue
        matrix = np.stack([row[3] for row in rows])
        cosine = matrix @ matrix.T
        speaker = np.array([row[0] for row in rows])
        version = np.array([row[1] for row in rows])
        piece = np.array([row[2] for row in rows])
        same = speaker[:, None] == speaker[None]
        other_piece = piece[:, None] != piece[None]
        clean = (version[:, None] == 0) & (version[None] == 0)
        calls = (version[:, None] > 0) & (version[None] > 0) & (version[:, None] != version[None])
        upper = np.triu(np.ones_like(same), 1)
        for name, kind in (("clean", clean), ("calls", calls)):
            targets, nontargets = cosine[same & other_piece & kind & upper], cosine[~same & kind & upper]
            if len(targets) and len(nontargets):
                rates[f"{corpus} {name}"] = equal_error_rate(targets, nontargets)
    return rates


def whole_utterances(embed: Embed, folder: Path) -> dict[str, float]:
    """Equal error rates of a corpus's held-out speakers, one whole utterance against another: telephone band (8 kHz), and each through
    a codec drawn at random."""
    _, speakers = corpora.split_speakers(corpora.read_corpus(folder))
    names = list(CODECS)
    weights = np.array([CODECS[name][0] for name in names])
    random = np.random.default_rng(5)
    clean: list[np.ndarray] = []
    degraded: list[np.ndarray] = []
    owners: list[int] = []
    for owner, speaker in enumerate(speakers):
        samples = corpora.decode(speaker.file, RATE)
        for utterance in speaker.utterances:
            cut = samples[round(utterance.start * RATE) : round((utterance.start + utterance.duration) * RATE)]
            codec = names[random.choice(len(names), p=weights / weights.sum())]
            if len(cut) < RATE // 2:
                continue
            clean.append(embed(mel_power(cut)))
            degraded.append(embed(mel_power(through_codec(cut, codec))))
            owners.append(owner)
    same = np.equal.outer(owners, owners)
    upper = np.triu(np.ones_like(same), 1)
    rates = {}
    for name, parts in (("telephone band", clean), ("codecs", degraded)):
        cosine = np.stack(parts) @ np.stack(parts).T
        rates[name] = equal_error_rate(cosine[same & upper], cosine[~same & upper])
    return rates


def telephone_calls(folder: Path) -> dict[str, np.ndarray]:
    """Mel power of the net speech of every call, [frames, bands] by person/call."""
    calls = {}
    for call in corpora.read_corpus(folder):
        samples = corpora.decode(call.file, RATE)
        parts = [mel_power(samples[round(u.start * RATE) : round((u.start + u.duration) * RATE)]) for u in call.utterances]
        calls[call.name] = np.concatenate(parts)
    return calls


def telephone(embed: Embed, calls: dict[str, np.ndarray]) -> dict[str, float]:
    """Equal error rates of other calls of the same person: the first 15 s of a call against the last 3, 5, 10 s or all of another."""
    names = sorted(calls)
    person = np.array([name.split("/")[0] for name in names])
    enrolled = np.stack([embed(calls[name][: 15 * FRAMES_PER_SECOND]) for name in names])
    other_call = ~np.eye(len(names), dtype=bool)
    same = person[:, None] == person[None]
    rates = {}
    for label, seconds in (("3 s", 3), ("5 s", 5), ("10 s", 10), ("all", 10**6)):
        tested = np.stack([embed(calls[name][-seconds * FRAMES_PER_SECOND :]) for name in names])
        cosine = enrolled @ tested.T
        rates[label] = equal_error_rate(cosine[same & other_call], cosine[~same & other_call])
    return rates
