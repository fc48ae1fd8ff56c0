"""Error rates on speech that was never trained on: held-out speakers of every corpus, and real calls.

    python3 -m training.evaluate <checkpoint, .onnx or model package> --speech <folder of corpora>

prints them, where a corpus says so by gender and age, by codec and seconds of speech, with 95 % intervals over the speakers: by cosine, or by
what the service makes of it with the cohort of a package (--package).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import nn

from . import corpora
from .channels import CODECS, RATE, through_codec
from .dataset import Features
from .export import load_network
from .frontend import FRAMES_PER_SECOND, mel_power
from .networks import EMBEDDING_SIZE, normalise
from .runtime import mel_session

# Mel power [frames, bands] -> unit embedding.
Embed = Callable[[np.ndarray], np.ndarray]

# Unit embeddings [n, size] and [m, size] -> scores of all pairs [n, m].
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Equal error rate, and where 95 % of resamples of the speakers put it (rate, low, high).
Interval = tuple[float, float, float]

PIECE = 4 * FRAMES_PER_SECOND

# Seconds of a call's end that are tested.
TESTED = {"3 s": 3, "5 s": 5, "10 s": 10, "all": 10**6}


def in_windows(embed_window: Embed) -> Embed:
    """One embedding of up to 10 s at a time; longer speech as windows of equal length whose unit embeddings are averaged."""

    def embed(power: np.ndarray) -> np.ndarray:
        windows = np.array_split(power, max(1, -(-len(power) // (10 * FRAMES_PER_SECOND))))
        mean = sum(embed_window(window) * len(window) for window in windows)
        return mean / np.linalg.norm(mean)

    return embed


def embedder(network: nn.Module) -> Embed:
    """What a network makes of speech, in windows of up to 10 s."""
    device = next(network.parameters()).device

    def embed_window(power: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            embedding = network(normalise(torch.from_numpy(power.copy())[None]).to(device))
        return nn.functional.normalize(embedding)[0].float().cpu().numpy()

    return in_windows(embed_window)


@contextlib.contextmanager
def opened(model: Path) -> Iterator[Embed]:
    """The embedder of a checkpoint, of an ONNX file that training.export wrote, or of a model package: its model.onnx, which the service loads. All hear
    the same mel power, that of training; the front end inside an ONNX file is not used."""
    file = model / "model.onnx" if model.is_dir() else model
    if file.suffix == ".onnx":
        with mel_session(file) as session:
            yield in_windows(lambda power: session.run(power.T[None])["embedding"])
    else:
        yield embedder(load_network(file))


def cosine(enrolled: np.ndarray, tested: np.ndarray) -> np.ndarray:
    return enrolled @ tested.T


def normalised_cosine(cohort: np.ndarray, top: int) -> Score:
    """AS-norm (Matejka et al., Interspeech 2017, eq. 4) with unit embeddings of other speakers [rows, size], the `top` closest of each side; as the service has it."""

    def standing(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        closest = np.sort(embeddings @ cohort.T, axis=1)[:, -top:]
        return closest.mean(1), np.maximum(closest.std(1), 1e-4)

    def score(enrolled: np.ndarray, tested: np.ndarray) -> np.ndarray:
        raw = cosine(enrolled, tested)
        (mean_e, deviation_e), (mean_t, deviation_t) = standing(enrolled), standing(tested)
        return 0.5 * ((raw - mean_e[:, None]) / deviation_e[:, None] + (raw - mean_t) / deviation_t)

    return score


def score_of_package(package: Path) -> Score:
    """The normalised cosine of a model package, by its cohort and the number of closest speakers in its calibration."""
    cohort = np.fromfile(package / "cohort.f32", "<f4").reshape(-1, EMBEDDING_SIZE)
    return normalised_cosine(cohort, json.loads((package / "calibration.json").read_text())["cohortTop"])


def equal_error_rate(
    targets: np.ndarray, nontargets: np.ndarray, target_weights: np.ndarray | None = None, nontarget_weights: np.ndarray | None = None
) -> float:
    """Where the share of targets below a threshold meets the share of nontargets at or above it, interpolated; trials may be weighted."""
    scores = np.concatenate([targets, nontargets])
    order = np.argsort(scores, kind="stable")
    ones, others = np.ones(len(targets)), np.ones(len(nontargets))
    target = np.concatenate([ones if target_weights is None else target_weights, 0 * others])[order]
    nontarget = np.concatenate([0 * ones, others if nontarget_weights is None else nontarget_weights])[order]
    missed = np.concatenate([[0.0], np.cumsum(target) / target.sum()])
    accepted = np.concatenate([[1.0], 1 - np.cumsum(nontarget) / nontarget.sum()])
    at = int(np.argmax(missed >= accepted))
    before = missed[at - 1] - accepted[at - 1]
    after = missed[at] - accepted[at]
    share = -before / (after - before) if after > before else 0.0
    return float(missed[at - 1] + share * (missed[at] - missed[at - 1]))


def interval(
    score: np.ndarray, same: np.ndarray, allowed: np.ndarray, owners: np.ndarray, resamples: int = 500, once: bool = False
) -> Interval:
    """Equal error rate of trials score[allowed] and where 95 % of resamples of the speakers put it (rate, low, high). `owners` is the speaker of every
    row and column; with `once` the target trials of every speaker weigh the same together, however many there are. NaN where there are no trials of one kind."""
    rows, columns = np.nonzero(allowed)
    scores, is_target = score[rows, columns], same[rows, columns]
    if is_target.all() or not is_target.any():
        return float("nan"), float("nan"), float("nan")
    names, speaker = np.unique(owners, return_inverse=True)
    first, second = speaker[rows], speaker[columns]
    worth = np.ones(len(rows))
    if once:
        worth[is_target] /= np.bincount(first[is_target])[first[is_target]]
    random = np.random.default_rng(11)
    found = []
    for _ in range(resamples):
        copies = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
        # A speaker drawn twice brings all trials twice, and those against somebody drawn three times six times.
        weight = worth * np.where(is_target, copies[first], copies[first] * copies[second])
        if weight[is_target].any() and weight[~is_target].any():
            found.append(equal_error_rate(scores[is_target], scores[~is_target], weight[is_target], weight[~is_target]))
    rate = equal_error_rate(scores[is_target], scores[~is_target], worth[is_target], worth[~is_target])
    low, high = np.percentile(found, [2.5, 97.5]) if found else (float("nan"), float("nan"))
    return rate, float(low), float(high)


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
        scores = cosine(matrix, matrix)
        speaker = np.array([row[0] for row in rows])
        version = np.array([row[1] for row in rows])
        piece = np.array([row[2] for row in rows])
        same = speaker[:, None] == speaker[None]
        other_piece = piece[:, None] != piece[None]
        clean = (version[:, None] == 0) & (version[None] == 0)
        calls = (version[:, None] > 0) & (version[None] > 0) & (version[:, None] != version[None])
        upper = np.triu(np.ones_like(same), 1)
        for name, kind in (("clean", clean), ("calls", calls)):
            targets, nontargets = scores[same & other_piece & kind & upper], scores[~same & kind & upper]
            if len(targets) and len(nontargets):
                rates[f"{corpus} {name}"] = equal_error_rate(targets, nontargets)
    return rates


def one_utterance_each(speakers: list[corpora.Speaker]) -> bool:
    return all(len(speaker.utterances) == 1 for speaker in speakers)


def utterances_of(speakers: list[corpora.Speaker]) -> tuple[list[np.ndarray], list[int]]:
    """Every utterance of half a second or more at 8 kHz, and the index of its speaker; where nobody has more than one, its pieces of 4 s."""
    cuts: list[np.ndarray] = []
    owners: list[int] = []
    piece = PIECE // FRAMES_PER_SECOND * RATE if one_utterance_each(speakers) else None
    for owner, speaker in enumerate(speakers):
        samples = corpora.decode(speaker.file, RATE)
        for utterance in speaker.utterances:
            cut = samples[round(utterance.start * RATE) : round((utterance.start + utterance.duration) * RATE)]
            parts = [cut[start : start + piece] for start in range(0, max(1, len(cut) - piece + 1), piece)] if piece else [cut]
            for part in parts:
                if len(part) >= RATE // 2:
                    cuts.append(part)
                    owners.append(owner)
    return cuts, owners


def held_out_title(folder: Path) -> str:
    """What `whole_utterances` measures of a corpus."""
    _, speakers = corpora.split_speakers(corpora.read_corpus(folder))
    return f"{folder.name}, {len(speakers)} held-out speakers, {'pieces of 4 s' if one_utterance_each(speakers) else 'whole utterances'}"


def whole_utterances(embed: Embed, folder: Path, score: Score = cosine, resamples: int = 500) -> Iterator[tuple[str, Interval]]:
    """A corpus's held-out speakers, one whole utterance against another of the same session (pieces of 4 s where everybody has one utterance):
    telephone band (8 kHz), and each through a codec drawn at random, one by one as they are measured."""
    _, speakers = corpora.split_speakers(corpora.read_corpus(folder))
    names = list(CODECS)
    weights = np.array([CODECS[name][0] for name in names])
    random = np.random.default_rng(5)
    cuts, owners = utterances_of(speakers)
    drawn = random.choice(len(names), len(cuts), p=weights / weights.sum())
    same = np.equal.outer(owners, owners)
    upper = np.triu(np.ones_like(same), 1)
    through = {"telephone band": lambda cut, _: cut, "codecs": lambda cut, codec: through_codec(cut, names[codec])}
    for name, change in through.items():
        matrix = np.stack([embed(mel_power(change(cut, codec))) for cut, codec in zip(cuts, drawn)])
        yield name, interval(score(matrix, matrix), same, upper, np.array(owners), resamples)


def telephone_calls(folder: Path) -> dict[str, np.ndarray]:
    """Mel power of the net speech of every call, [frames, bands] by person/call."""
    calls = {}
    for call in corpora.read_corpus(folder):
        samples = corpora.decode(call.file, RATE)
        parts = [mel_power(samples[round(u.start * RATE) : round((u.start + u.duration) * RATE)]) for u in call.utterances]
        calls[call.name] = np.concatenate(parts)
    return calls


def groups(embed: Embed, folder: Path, score: Score = cosine) -> Iterator[tuple[str, Interval]]:
    """Held-out speakers of a corpus whose speakers.tsv has age and gender (its children are all trained on): by both, by codec and by seconds of
    speech, one by one as they are measured. Trials as those of `whole_utterances`, in the telephone band; strangers are of the same gender (or age
    group) where it says so."""
    _, speakers = corpora.split_speakers(corpora.read_corpus(folder))
    with (folder / "speakers.tsv").open(encoding="utf-8", newline="") as stream:
        people = {row["speaker"]: row for row in csv.DictReader(stream, delimiter="\t")}
    cuts, owners = utterances_of(speakers)
    owner_of = np.array(owners)
    same = owner_of[:, None] == owner_of[None]
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    gender = np.array([people[speakers[owner].name]["gender"] for owner in owners])
    age = np.array([int(people[speakers[owner].name]["age"]) for owner in owners])

    def within(member: np.ndarray) -> np.ndarray:
        return member[:, None] & member[None] & upper

    def scores(pieces: list[np.ndarray]) -> np.ndarray:
        matrix = np.stack([embed(mel_power(piece)) for piece in pieces])
        return score(matrix, matrix)

    whole = scores(cuts)
    selections = {}
    for value in sorted(set(gender)):
        selections[f"gender {value}, strangers of the same"] = within(gender == value)
    for low, high in ((0, 17), (18, 24), (25, 99)):
        if np.any((age >= low) & (age <= high)):
            selections[f"age {low} to {high}, strangers of the same"] = within((age >= low) & (age <= high))
    for name, chosen in selections.items():
        yield name, interval(whole, same, chosen, owner_of)
    for seconds in (1, 2, 3, 5):
        yield f"at most {seconds} s", interval(scores([cut[: seconds * RATE] for cut in cuts]), same, upper, owner_of)
    for codec in CODECS:
        yield codec, interval(scores([through_codec(cut, codec) for cut in cuts]), same, upper, owner_of)


def telephone(embed: Embed, calls: dict[str, np.ndarray]) -> dict[str, float]:
    """Equal error rates of other calls of the same person: the first 15 s of a call against the last 3, 5, 10 s or all of another."""
    return {name: rate for name, (rate, _, _) in telephone_intervals(embed, calls, 0) if name in TESTED}


def telephone_intervals(embed: Embed, calls: dict[str, np.ndarray], resamples: int = 500, score: Score = cosine) -> Iterator[tuple[str, Interval]]:
    """The same with intervals over the people, one by one as they are measured; each also with every owner counting once, however many calls there are."""
    names = sorted(calls)
    person = np.array([name.split("/")[0] for name in names])
    enrolled = np.stack([embed(calls[name][: 15 * FRAMES_PER_SECOND]) for name in names])
    other_call = ~np.eye(len(names), dtype=bool)
    same = person[:, None] == person[None]
    for label, seconds in TESTED.items():
        tested = np.stack([embed(calls[name][-seconds * FRAMES_PER_SECOND :]) for name in names])
        scores = score(enrolled, tested)
        yield label, interval(scores, same, other_call, person, resamples)
        yield f"{label}, every owner counting once", interval(scores, same, other_call, person, resamples, once=True)


def tables(embed: Embed, speech: Path, score: Score = cosine) -> Iterator[tuple[str, Iterator[tuple[str, Interval]]]]:
    """Everything that can be measured with the corpora below `speech`: titles with their rates."""
    for corpus in corpora.TRAINING_CORPORA:
        folder = speech / corpus
        if (folder / "index.tsv").exists():
            yield held_out_title(folder), whole_utterances(embed, folder, score)
            if (folder / "speakers.tsv").exists():
                yield f"{corpus}, the same by groups of speakers, seconds and codecs", groups(embed, folder, score)
    if (speech / corpora.TELEPHONE / "index.tsv").exists():
        yield f"{corpora.TELEPHONE}, other calls", telephone_intervals(embed, telephone_calls(speech / corpora.TELEPHONE), score=score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="checkpoint, .onnx of training.export, or model package (its model.onnx)")
    parser.add_argument("--speech", type=Path, required=True, help="folder of corpora")
    parser.add_argument("--package", type=Path, help="model package: with its score normalisation (default: cosine)")
    options = parser.parse_args()
    score = score_of_package(options.package) if options.package else cosine
    missing = [name for name in (*corpora.TRAINING_CORPORA, corpora.TELEPHONE) if not (options.speech / name / "index.tsv").exists()]
    if missing:
        print(f"Not measured, because they are not below {options.speech}: {', '.join(missing)}.", file=sys.stderr)
    with opened(options.model) as embed:
        for title, rates in tables(embed, options.speech, score):
            print(title, flush=True)
            for name, (rate, low, high) in rates:
                print(f"  {name}: {100 * rate:.1f} % ({100 * low:.1f} to {100 * high:.1f})", flush=True)


if __name__ == "__main__":
    main()
