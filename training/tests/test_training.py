"""Tests of the recipe's parts; the whole of it is checked by `python3 -m training --smoke`."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import select
import signal
import tempfile
import unittest
import wave
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from scipy.signal import fftconvolve, lfilter, resample_poly

from training import __main__ as main_module
from training import augmentation, channels, corpora, evaluate, export, exported, frontend, noises, non_speech, package, prepare, runtime, speech
from training.compensation import compensate, fit, simulated_calls, write_compensated
from training.dataset import APART, UNWARPED, WARPS, Features, Item, Sampler, crop_start, near_warps, warp_matrix
from training.losses import CrossChannelPairs, WithinCorpusMargin
from training.networks import EMBEDDING_SIZE, NETWORKS, Compensated, ResNet, normalise
from training.train import Plan, Run, train


def bursts(seconds: float, rate: int, seed: int = 1) -> np.ndarray:
    """Noise whose level changes every 50 ms, like speech."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.uniform(0, 1, int(seconds * 20) + 1), rate // 20)[: int(seconds * rate)]
    return (random.standard_normal(int(seconds * rate)) * 0.1 * level).astype(np.float32)


class FrontEnd(unittest.TestCase):
    def test_every_band_hears_something(self) -> None:
        for rate, size in ((8000, 256), (16000, 512)):
            filters = frontend.mel_filters(rate, size)
            self.assertTrue((filters.sum(1) > 0.5).all())
            self.assertTrue((filters >= 0).all())

    def test_tone_lands_in_its_band(self) -> None:
        time = np.arange(8000) / 8000
        power = frontend.mel_power(np.sin(2 * np.pi * 1000 * time).astype(np.float32)).mean(0)
        edges = frontend.mel_to_hertz(np.linspace(frontend.hertz_to_mel(frontend.LOW_HZ), frontend.hertz_to_mel(frontend.HIGH_HZ), frontend.BANDS + 2))
        self.assertLess(abs(edges[1:-1][power.argmax()] - 1000), 60)

    def test_long_audio_has_the_power_of_its_parts(self) -> None:
        # Longer than what is computed at once.
        samples = bursts(130, 8000)
        whole = frontend.mel_power(samples)
        self.assertEqual(len(whole), 12998)
        for start in (0, 5990, 11990):
            np.testing.assert_allclose(whole[start : start + 20], frontend.mel_power(samples[start * 80 : start * 80 + 19 * 80 + 200]), rtol=1e-5, atol=1e-12)

    def test_graph_computes_the_same_power(self) -> None:
        samples = bursts(2.013, 16000)
        graph = export.Exported(torch.nn.Identity()).power(torch.from_numpy(samples)[None])[0].numpy()
        reference = frontend.mel_power(samples, 16000)[: len(graph)]
        np.testing.assert_allclose(np.log(graph + 1e-14), np.log(reference + 1e-14), atol=1e-3)

    def test_level_and_linear_channel_cancel(self) -> None:
        power = torch.from_numpy(frontend.mel_power(bursts(2, 8000)))[None]
        channel = torch.rand(1, 1, frontend.BANDS, generator=torch.Generator().manual_seed(1)) * 100 + 0.01
        torch.testing.assert_close(normalise(power), normalise(power * channel), atol=1e-3, rtol=0)


class Warp(unittest.TestCase):
    def test_moves_a_tone(self) -> None:
        time = np.arange(8000) / 8000
        tone = lambda hertz: frontend.mel_power(np.sin(2 * np.pi * hertz * time).astype(np.float32)).mean(0)
        np.testing.assert_allclose(tone(1000) @ warp_matrix(1.0), tone(1000), rtol=1e-4)
        # A voice whose bands are read at 1.07 times their frequency sounds 7 % lower.
        for factor in WARPS:
            self.assertEqual((tone(1000) @ warp_matrix(factor)).argmax(), tone(1000 / factor).argmax())


    def test_blur_and_missing_bands_say_nothing_of_the_warp(self) -> None:
        for factor in WARPS:
            matrices = near_warps(factor)
            # Every output band is made of some of the input, all of it counted once.
            np.testing.assert_allclose(matrices.sum(1), 1, atol=1e-5)
            middle = matrices[:, :, 30]
            self.assertAlmostEqual(float((middle @ np.arange(frontend.BANDS)).mean()), float(warp_matrix(factor)[:, 30] @ np.arange(frontend.BANDS)), delta=0.05)
            # How much of band 30 comes from the band that it comes from most: all of it where nothing is blurred.
            sharpest = middle.max(1)
            self.assertLess(sharpest.min(), 0.6, factor)
            copied = [np.array_equal(matrix[:, -1], matrix[:, -6]) for matrix in matrices]
            self.assertTrue(0.05 < np.mean(copied) < 1, factor)
        unwarped = near_warps(1.0)
        exact = [np.allclose(matrix, np.eye(frontend.BANDS), atol=1e-4) for matrix in unwarped]
        self.assertEqual(np.mean(exact), 1 / 8)


class Crops(unittest.TestCase):
    def test_lie_within_one_call(self) -> None:
        item = Item("synthetic", "s0", 100, 1, 0, (1000, 300, 150))
        ends = np.cumsum(item.pieces)
        starts = [crop_start(item, place, 120) for place in np.linspace(0, 1, 2000, endpoint=False)]
        self.assertEqual((min(starts), max(starts)), (0, 1330))
        self.assertEqual([start for start in starts if np.searchsorted(ends, start, "right") != np.searchsorted(ends, start + 119, "right")], [])
        # In proportion to how long the calls are.
        self.assertAlmostEqual(float(np.mean(np.array(starts) < 1000)), 1000 / 1450, delta=0.01)

    def test_of_too_short_calls_lie_within_the_speech(self) -> None:
        item = Item("synthetic", "s0", 100, 1, 0, (100, 100, 100))
        starts = [crop_start(item, place, 150) for place in np.linspace(0, 1, 500, endpoint=False)]
        self.assertEqual((min(starts), max(starts)), (0, 149))
        self.assertEqual(crop_start(item, 0.99, 400), 0)


class NonSpeech(unittest.TestCase):
    def test_every_kind_has_its_length_and_level(self) -> None:
        random = np.random.default_rng(1)
        for kind in non_speech.KINDS:
            for _ in range(5):
                wave_form = non_speech.make(kind, 3.0, random)
                self.assertEqual(len(wave_form), 24000, kind)
                self.assertTrue(np.isfinite(wave_form).all(), kind)
                self.assertLessEqual(np.abs(wave_form).max(), 0.501, kind)
        with self.assertRaises(KeyError):
            non_speech.make("speech", 1.0, random)


class Speech(unittest.TestCase):
    def test_labels_follow_the_energy(self) -> None:
        power = np.full((300, frontend.BANDS), 1e-9, np.float32)
        power[50:120] = 1e-3
        power[124:200] = 1e-3  # a gap of 40 ms is part of the speech
        power[250:253] = 1e-3  # a click of 30 ms is none
        expected = np.zeros(300, bool)
        expected[50:200] = True
        np.testing.assert_array_equal(speech.speech_frames(power), expected)

    def test_noise_between_speech_is_no_speech(self) -> None:
        power = np.full((900, frontend.BANDS), 1e-3 / 60 * 3e-5, np.float32)  # 45 dB below
        power[:300] = 1e-3 / 60
        np.testing.assert_array_equal(speech.speech_frames(power), np.arange(900) < 300)

    def test_labels_of_silence_are_none(self) -> None:
        self.assertFalse(speech.speech_frames(np.full((100, frontend.BANDS), 1e-12, np.float32)).any())

    def test_one_probability_for_every_second_frame(self) -> None:
        head = speech.SpeechHead().eval()
        for frames in (24, 99, 100):
            self.assertEqual(speech.speech_probability(head, np.ones((frames, frontend.BANDS), np.float32)).shape, (-(-frames // 2),))


    def test_labels_go_at_the_pace_of_the_speech(self) -> None:
        labels = np.array([0, 0, 1, 1, 1, 0, 1, 1], bool)
        np.testing.assert_array_equal(speech.paced(labels, (6, 2), (6, 2)), labels)
        np.testing.assert_array_equal(speech.paced(labels, (6, 2), (3, 4)), np.array([0, 1, 1, 1, 1, 1, 1], bool))
        with self.assertRaises(ValueError):
            speech.paced(labels, (6, 2), (8,))


class Rates(unittest.TestCase):
    def test_equal_error_rate_of_few_trials(self) -> None:
        # One target in four lies below 0.5, one nontarget in four above it.
        targets, nontargets = np.array([0.4, 0.6, 0.7, 0.8]), np.array([0.1, 0.2, 0.3, 0.55])
        self.assertAlmostEqual(evaluate.equal_error_rate(targets, nontargets), 0.25)
        # The trial that is missed counts twice more: as if it were there three times.
        weights = np.array([3.0, 1.0, 1.0, 1.0])
        repeated = evaluate.equal_error_rate(np.repeat(targets, [3, 1, 1, 1]), nontargets)
        self.assertAlmostEqual(evaluate.equal_error_rate(targets, nontargets, weights, np.ones(4)), repeated, places=2)

    def test_interval_holds_the_rate_and_narrows_with_speakers(self) -> None:
        widths = []
        for speakers in (10, 60):
            random = np.random.default_rng(3)
            owners = np.repeat(np.arange(speakers), 4)
            same = owners[:, None] == owners[None]
            cosine = same * 1.0 + random.standard_normal(same.shape)
            rate, low, high = evaluate.interval(cosine, same, np.triu(np.ones_like(same), 1).astype(bool), owners, 100)
            self.assertLess(low, rate)
            self.assertLess(rate, high)
            self.assertAlmostEqual(rate, 0.309, delta=0.08)  # two unit normals, one apart: Phi(-1/2)
            widths.append(high - low)
        self.assertLess(widths[1], widths[0])

    def test_every_owner_counts_once_where_asked(self) -> None:
        # The first speaker is found in all of 20 trials, the second in none of 2.
        owners = np.array([0] * 5 + [1] * 2)
        same = owners[:, None] == owners[None]
        cosine = np.where(same, np.where(owners[:, None] == 0, 0.9, 0.1), 0.5)
        allowed = ~np.eye(7, dtype=bool)
        pooled, _, _ = evaluate.interval(cosine, same, allowed, owners, 20)
        once, _, _ = evaluate.interval(cosine, same, allowed, owners, 20, once=True)
        self.assertAlmostEqual(pooled, 2 / 22)
        self.assertAlmostEqual(once, 1 / 2)

    def test_no_interval_without_trials_of_both_kinds(self) -> None:
        owners = np.zeros(3)
        same = np.ones((3, 3), bool)
        self.assertTrue(np.isnan(evaluate.interval(np.eye(3), same, same, owners)).all())


class Channels(unittest.TestCase):
    def test_g711_keeps_38_db(self) -> None:
        samples = np.sin(np.arange(8000) * 0.3).astype(np.float32) * 0.3
        for codec in (channels.mu_law, channels.a_law):
            noise = codec(samples) - samples
            self.assertGreater(10 * np.log10(np.mean(samples**2) / np.mean(noise**2)), 34)
            self.assertGreater(np.abs(noise).max(), 1e-4)

    def test_speed_changes_length_and_pitch(self) -> None:
        tone = np.sin(2 * np.pi * 500 * np.arange(32000) / 16000).astype(np.float32)
        for percent in (90, 100, 110):
            changed = channels.change_speed(tone, percent)
            self.assertAlmostEqual(len(changed) / 8000, 2 / percent * 100, places=2)
            peak = np.abs(np.fft.rfft(changed)).argmax() * 8000 / len(changed)
            self.assertAlmostEqual(peak, 5 * percent, delta=2)

    def test_packets_are_lost_as_often_as_said(self) -> None:
        speech = np.ones(8000 * 10, np.float32)
        lost = [float(np.mean(channels.lose_packets(speech, np.random.default_rng(seed)) < 1)) for seed in range(300)]
        self.assertAlmostEqual(float(np.mean(lost)), 0.045, delta=0.004)

    def test_a_raised_voice_keeps_its_formants(self) -> None:
        def voice(pitch: float) -> np.ndarray:
            """Pulses at `pitch` Hz through resonances at 600 and 1,500 Hz, 2 s."""
            pulses = (np.diff(np.floor(np.arange(16001) * pitch / 8000)) > 0).astype(np.float32)
            for formant in (600, 1500):
                pulses = lfilter([1], [1, -1.9 * np.cos(2 * np.pi * formant / 8000), 0.9025], pulses)
            return (pulses / np.abs(pulses).max() * 0.3).astype(np.float32)

        def envelope(samples: np.ndarray) -> np.ndarray:
            return 10 * np.log10(frontend.mel_power(samples).mean(0) + 1e-9)

        for factor in (0.85, 1.15):
            raised = channels.raise_voice(voice(120), factor)
            self.assertAlmostEqual(len(raised), 16000 / factor, delta=200)
            spectrum = np.abs(np.fft.rfft(raised * np.hanning(len(raised))))[: int(400 * len(raised) / 8000)]
            harmonic = spectrum.argmax() * 8000 / len(raised) / (120 * factor)
            self.assertAlmostEqual(harmonic, round(harmonic), delta=0.03)
            truth, plain = envelope(voice(120 * factor)), envelope(resample_poly(voice(120), 100, round(100 * factor)))
            self.assertLess(np.abs(envelope(raised) - truth).mean(), 0.5 * np.abs(plain - truth).mean())

    def test_every_codec_gives_speech_back(self) -> None:
        samples = bursts(2, 8000)
        for codec in channels.CODECS:
            out = channels.through_codec(samples, codec)
            self.assertGreater(len(out), 15000, codec)
            # Energy of the 50 ms stretches goes up and down together, whatever the codec does to the waveform.
            shape = lambda x: np.log(np.square(x[: 400 * 38]).reshape(38, 400).mean(1) + 1e-7)  # noqa: E731
            self.assertGreater(np.corrcoef(shape(samples), shape(out))[0, 1], 0.6, codec)

    def test_a_call_is_different_every_time_and_repeats_with_its_seed(self) -> None:
        noises = channels.NoiseBank(bursts(5, 8000, 2), bursts(5, 8000, 3))
        samples = bursts(2, 8000)
        made = [channels.before_codec(samples, noises, np.random.default_rng(seed)) for seed in (1, 1, 2)]
        np.testing.assert_array_equal(made[0], made[1])
        self.assertGreater(np.abs(made[0] - made[2]).max(), 1e-3)
        self.assertTrue(all(np.isfinite(one).all() and np.abs(one).max() <= 1 for one in made))


def write_wave(file: Path, samples: np.ndarray, rate: int = 8000) -> None:
    """Float samples as a 16-bit recording."""
    with wave.open(str(file), "wb") as stream:
        stream.setparams((1, 2, rate, 0, "NONE", ""))
        stream.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def write_cuts(folder: Path, cuts: list[np.ndarray]) -> None:
    """A folder of noise as the corpora have it: cuts at 8 kHz in one file, 0.1 s of zeros between them, and an index."""
    folder.mkdir(parents=True)
    rows, parts, at = ["speaker\tutterance\tstart_s\tduration_s\tfile"], [], 0
    for number, cut in enumerate(cuts):
        rows.append(f"-\t{number}\t{at / 8000:.3f}\t{len(cut) / 8000:.3f}\tall.wav")
        parts += [cut, np.zeros(800, np.float32)]
        at += len(cut) + 800
    write_wave(folder / "all.wav", np.concatenate(parts))
    (folder / "index.tsv").write_text("\n".join(rows) + "\n")


class Noises(unittest.TestCase):
    def assert_even(self, noise: np.ndarray) -> None:
        """Every second of what is drawn of `noise` lies within 3 dB of the mean."""
        bank = channels.NoiseBank(noise, noise)
        for seed in range(20):
            drawn = bank.cuts(bank.noise, 12 * 8000, np.random.default_rng(seed))
            power = np.mean(drawn.reshape(12, 8000).astype(float) ** 2, axis=1)
            self.assertLess(np.abs(10 * np.log10(power / power.mean())).max(), 3)

    def test_loud_and_soft_cuts_are_equally_loud(self) -> None:
        random = np.random.default_rng(1)
        # Ten recordings, every second one 37 dB softer than the others, and one that nobody hears.
        cuts = [random.standard_normal(8000).astype(np.float32) * level for level in [0.15, 0.15 / 71] * 5 + [0.15 / 3000]]
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            write_cuts(Path(name) / "indexed" / "noise", cuts)
            # Without an index: one file with pauses.
            (Path(name) / "plain" / "noise").mkdir(parents=True)
            write_wave(Path(name) / "plain" / "noise" / "a.wav", np.concatenate([part for cut in cuts for part in (cut, np.zeros(4000))]))
            for kind in ("indexed", "plain"):
                read = noises.read(Path(name) / kind)
                self.assert_even(read.training.noise)
                self.assert_even(read.tests.noise)
                # All ten that can be heard are there, soft ones too; the gaps and the eleventh are not.
                self.assertAlmostEqual((len(read.training.noise) + len(read.tests.noise)) / 8000, 10, delta=0.4)

    def test_silence_is_no_noise(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            write_cuts(Path(name) / "noise", [np.zeros(8000, np.float32)] * 3)
            with self.assertRaisesRegex(ValueError, "nothing but silence"):
                noises.read(Path(name))

    def test_no_recording_is_on_both_sides(self) -> None:
        random = np.random.default_rng(2)
        # Twelve recordings of two seconds with rumble in them, four overlapping cuts of each spread about.
        recordings = [np.cumsum(random.standard_normal(16000)) * 0.002 + 0.05 * random.standard_normal(16000) for _ in range(12)]
        places = [(recording, start) for recording in range(12) for start in (0, 2500, 5000, 8000)]
        random.shuffle(places)
        cuts = [recordings[recording][start : start + 8000].astype(np.float32) for recording, start in places]
        found = noises.recordings_of(cuts)
        for number in set(found):
            self.assertEqual(len({recording for (recording, _), one in zip(places, found) if one == number}), 1)
        self.assertEqual(len(set(found)), 12)
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            write_cuts(Path(name) / "noise", cuts)
            read = noises.read(Path(name))

        def heard(noise: np.ndarray) -> set[int]:
            """Which recordings are in the noise, by a stretch that three of the four cuts have."""
            parts = [np.diff(recording[5000:8000]) for recording in recordings]
            power = fftconvolve(np.diff(noise) ** 2, np.ones(2999), "valid")
            match = [fftconvolve(np.diff(noise), part[::-1], "valid") / np.sqrt(power * np.sum(part**2)) for part in parts]
            return {number for number, found in enumerate(match) if found.max() > 0.5}

        self.assertEqual(len(heard(read.tests.noise)), 2)
        self.assertEqual(heard(read.training.noise), set(range(12)) - heard(read.tests.noise))

    def test_the_end_of_a_single_recording_is_left_for_tests(self) -> None:
        training, tests = noises.split([np.arange(1000)], np.zeros(1, int))
        np.testing.assert_array_equal(training, [np.arange(800)])
        np.testing.assert_array_equal(tests, [np.arange(800, 1000)])

    def test_held_out_speakers_hear_noise_that_is_left_for_tests(self) -> None:
        heard = []
        quiet = channels.NoiseBank(np.zeros(8000), np.zeros(8000))
        with tempfile.TemporaryDirectory() as name, mock.patch.object(prepare, "degrade", lambda pieces, bank, _: heard.append(bank) or pieces):
            write_corpus(Path(name) / "synthetic", 2, 2.0)
            speakers = tuple(corpora.read_corpus(Path(name) / "synthetic"))
            both = noises.Recordings(quiet, channels.NoiseBank(np.ones(8000), np.ones(8000)))
            with mock.patch.object(prepare, "_noises", both):
                for held_out in (False, True):
                    prepare.prepare_group(prepare.Job("synthetic", speakers, 100, 1, held_out, 1))
        self.assertIs(heard[0], both.training)
        self.assertIs(heard[1], both.tests)


class Augmentation(unittest.TestCase):
    def test_stays_power(self) -> None:
        power = torch.from_numpy(frontend.mel_power(bursts(3, 8000)))[None].repeat(16, 1, 1)
        out = augmentation.phone_call(power, torch.ones_like(power), torch.Generator().manual_seed(1), torch.zeros(16), 4)
        self.assertEqual(out.shape, power.shape)
        self.assertTrue(torch.isfinite(out).all() and (out >= 0).all())
        self.assertFalse(torch.allclose(normalise(out)[0], normalise(out)[5], atol=0.1))

    def test_noise_has_the_ratio_asked_for(self) -> None:
        power = torch.ones(4, 100, frontend.BANDS)
        out = augmentation.add_noise(power, torch.rand(4, 100, frontend.BANDS), 1.0, 10, 10, torch.Generator())
        torch.testing.assert_close((out - power).mean((1, 2)), torch.full((4,), 0.1))


class Losses(unittest.TestCase):
    def test_margin_loss_ignores_other_corpora(self) -> None:
        loss = WithinCorpusMargin(8, torch.tensor([0, 0, 1, 1]))
        embeddings = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
        labels = torch.tensor([0, 1, 0, 1, 0, 1])
        before = loss(embeddings, labels, 0.2, 30).item()
        with torch.no_grad():
            loss.centres[2:] = embeddings[:2]
        self.assertAlmostEqual(loss(embeddings, labels, 0.2, 30).item(), before, places=5)

    def test_margin_makes_it_harder(self) -> None:
        loss = WithinCorpusMargin(8, torch.zeros(4, dtype=torch.long))
        embeddings, labels = torch.randn(8, 8), torch.arange(8) % 4
        self.assertGreater(loss(embeddings, labels, 0.3, 30).item(), loss(embeddings, labels, 0.0, 30).item())

    def test_stay_on_the_device_they_are_given(self) -> None:
        # No numbers on this device, but what mixes it with another fails as on a GPU.
        loss = CrossChannelPairs().to("meta")
        speakers, labels = torch.empty(4, 8, device="meta"), torch.empty(4, dtype=torch.long, device="meta")
        self.assertEqual(loss(speakers, speakers, labels, labels).device.type, "meta")
        margin = WithinCorpusMargin(8, torch.zeros(4, dtype=torch.long)).to("meta")
        self.assertEqual(margin(speakers, labels, 0.2, 30).device.type, "meta")

    def test_pairs_want_the_same_speaker_together(self) -> None:
        loss = CrossChannelPairs()
        speakers = torch.eye(4)
        labels, group = torch.arange(4), torch.zeros(4)
        self.assertLess(loss(speakers, speakers, labels, group).item(), loss(speakers, speakers.roll(1, 0), labels, group).item())


class Evaluation(unittest.TestCase):
    def test_equal_error_rate_by_hand(self) -> None:
        self.assertEqual(evaluate.equal_error_rate(np.array([2.0, 3.0]), np.array([0.0, 1.0])), 0.0)
        self.assertEqual(evaluate.equal_error_rate(np.array([0.0, 1.0]), np.array([2.0, 3.0])), 1.0)
        # One of four targets below, one of four nontargets above a threshold between 0.4 and 0.6.
        self.assertAlmostEqual(evaluate.equal_error_rate(np.array([0.1, 0.7, 0.8, 0.9]), np.array([0.0, 0.2, 0.3, 0.75])), 0.25)

    def test_networks_give_embeddings_and_export(self) -> None:
        for name, make in NETWORKS.items():
            torch.manual_seed(1)
            network = make().eval()
            with torch.no_grad():
                self.assertEqual(network(torch.randn(2, 151, frontend.BANDS)).shape, (2, EMBEDDING_SIZE), name)

    def test_exported_network_agrees_with_onnxruntime(self) -> None:
        torch.manual_seed(1)
        network = NETWORKS["tiny"]().eval()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            export.export(network, file)
            self.assertLess(export.parity(network, file), 1e-4)


class Compensation(unittest.TestCase):
    def embeddings(self) -> np.ndarray:
        """2,000 unit vectors around a common direction, spread widely in two of twelve dimensions."""
        random = np.random.default_rng(4)
        rows = random.standard_normal((2000, 12)) * ([0.6, 0.4] + [0.1] * 10) + 0.2
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def test_whitens_and_centres_as_far_as_asked(self) -> None:
        rows = self.embeddings()
        spread = np.linalg.eigvalsh(np.cov(rows.T))
        for whitening in (0.0, 0.5, 1.0):
            shift, matrix = fit(rows, 0.5, whitening)
            np.testing.assert_allclose(shift, rows.mean(0) / 2, atol=1e-6)
            left = np.linalg.eigvalsh(np.cov((rows @ matrix.numpy()).T))
            # Every variance to the power of what is left of it, up to one factor for all.
            ratio = np.sort(left) / spread ** (1 - whitening)
            np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=1e-3)

    def test_directions_without_variance_stay_small(self) -> None:
        # Fewer rows than dimensions.
        _, matrix = fit(self.embeddings()[:6])
        self.assertTrue(np.isfinite(matrix.numpy()).all())
        self.assertLess(np.linalg.cond(matrix.numpy()), 10)

    def test_of_nothing_changes_nothing(self) -> None:
        torch.manual_seed(1)
        network = NETWORKS["tiny"]().eval()
        features = torch.randn(2, 151, frontend.BANDS)
        with torch.no_grad():
            torch.testing.assert_close(Compensated(network, torch.zeros(EMBEDDING_SIZE), torch.eye(EMBEDDING_SIZE))(features), torch.nn.functional.normalize(network(features)))


def write_corpus(folder: Path, speakers: int, seconds: float, utterances: int = 1) -> None:
    """A corpus of bursts of noise, one file a speaker, in which one utterance follows another."""
    folder.mkdir(parents=True)
    rows = ["speaker\tutterance\tstart_s\tduration_s\tfile"]
    for number in range(speakers):
        write_wave(folder / f"s{number:03d}.wav", bursts(seconds, 16000, number), 16000)
        for utterance in range(utterances):
            length = seconds / utterances
            rows.append(f"s{number:03d}\tu{utterance}\t{utterance * length:.3f}\t{length:.3f}\ts{number:03d}.wav")
    (folder / "index.tsv").write_text("\n".join(rows) + "\n")


class Training(unittest.TestCase):
    def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(self) -> None:
        plan = Plan(network="tiny", steps=4, batch_seconds=16.0, crop_seconds=(1.0, 1.5), half=False)
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(None), contextlib.redirect_stderr(io.StringIO()):
            folder = Path(name)
            write_corpus(folder / "speech" / "synthetic", 26, 5.0)
            prepare.prepare(folder / "speech", folder / "features", 3, speeds=(100,), names=("synthetic",))
            features = Features(folder / "features")
            self.assertEqual(len({item.speaker for item in features.training}), 6)
            self.assertEqual({item.version for item in features.held_out}, {0, 1, 2})
            # Calls of held-out speakers are frame for frame their clean speech; in those of the others the voices were raised and lowered.
            for items, moved in ((features.held_out, False), (features.training, True)):
                clean = {item.speaker: item.pieces for item in items if item.version == 0}
                for item in items:
                    if item.version > 0:
                        self.assertEqual(item.pieces != clean[item.speaker], moved)
                        self.assertAlmostEqual(item.frames / sum(clean[item.speaker]), 1, delta=0.26)
            self.assertEqual(sum(item.frames for item in features.training + features.held_out), len(features.frames))
            sampler = Sampler(features)
            warps = np.stack([sampler.draw(6, 10, np.random.default_rng(seed)).labels % len(WARPS) for seed in range(200)])
            self.assertAlmostEqual(float((warps == 0).mean()), UNWARPED, delta=0.05)
            # Speakers of a batch share a warp, or nothing but the warp would tell most of them apart; over batches all warps come up.
            self.assertEqual(max(len(set(row) - {0}) for row in warps.tolist()), 1)
            self.assertEqual(set(warps.ravel().tolist()), set(range(len(WARPS))))
            self.two_crops_are_of_other_words(sampler)
            batch = sampler.draw(6, 120, np.random.default_rng(1))
            self.assertEqual(tuple(batch.power.shape), (12, 120, frontend.BANDS))
            self.assertEqual(len(sampler.corpus_of_class), len(WARPS) * len(sampler.voices))
            self.assertEqual(sorted((batch.labels // len(WARPS)).tolist()), list(range(6)))
            straight = train(plan, folder / "features", folder / "straight")
            stopped = Run(plan, features, "cpu")
            for _ in range(2):
                stopped.advance()
            (folder / "resumed").mkdir()
            stopped.save(folder / "resumed" / "checkpoint.pt")
            resumed = train(plan, folder / "features", folder / "resumed")
            # Of another plan, another start or other features: neither one run nor the other.
            described = folder / "features" / "features.json"
            start = folder / "straight" / "checkpoint.pt"
            for other, begin in ((dataclasses.replace(plan, seed=2), None), (plan, start)):
                with self.assertRaisesRegex(ValueError, "delete it"):
                    train(other, folder / "features", folder / "resumed", begin)
            text = described.read_text()
            described.write_text(text + " ")
            with self.assertRaisesRegex(ValueError, "another features"):
                train(plan, folder / "features", folder / "resumed")
            described.write_text(text)
            self.assertEqual(train(plan, folder / "features", folder / "from", start).step, 4)
            self.assertEqual(train(plan, folder / "features", folder / "from", start).step, 4)
            self.goes_on_from_an_exported_network(folder, plan)
            compensated = compensate(resumed.averaged, features)
            # Six training speakers in two simulated calls each, one piece of 5 s.
            self.assertEqual(simulated_calls(evaluate.embedder(resumed.averaged), features).shape, (12, EMBEDDING_SIZE))
            write_compensated(folder / "resumed" / "checkpoint.pt", features, folder / "compensated.pt")
            with self.assertRaises(ValueError):
                write_compensated(folder / "compensated.pt", features, folder / "twice.pt")
            read = export.load_network(folder / "compensated.pt")
            export.export(read, folder / "model.onnx")
            self.assertLess(export.parity(read, folder / "model.onnx"), 1e-4)
        for ours, theirs in zip(compensated.state_dict().values(), read.state_dict().values()):
            torch.testing.assert_close(ours, theirs)
        self.assertGreater((read.matrix - torch.eye(EMBEDDING_SIZE)).abs().max().item(), 0.01)
        self.assertEqual(resumed.step, 4)
        for ours, theirs in zip(straight.averaged.state_dict().values(), resumed.averaged.state_dict().values()):
            torch.testing.assert_close(ours, theirs)

    def two_crops_are_of_other_words(self, sampler: Sampler) -> None:
        places: list[float] = []
        with mock.patch("training.dataset.crop_start", lambda item, place, frames: places.append(place) or 0):
            for seed in range(50):
                sampler.draw(6, 10, np.random.default_rng(seed))
        for first, second in zip(places[::2], places[1::2]):
            self.assertTrue(0 <= first < 1 and 0 <= second < 1)
            self.assertTrue(APART - 1e-9 <= abs(first - second) <= 1 - APART + 1e-9, (first, second))

    def goes_on_from_an_exported_network(self, folder: Path, plan: Plan) -> None:
        shipped = folder / "shipped.onnx"
        network = random_resnet()
        export.export(Compensated(network, torch.full((EMBEDDING_SIZE,), 0.01), torch.eye(EMBEDDING_SIZE)), shipped)
        run = Run(dataclasses.replace(plan, network="resnet"), Features(folder / "features"), "cpu")
        length = run.margin_loss.centres.norm(dim=1).mean().item()
        run.begin_with(shipped)
        item = run.sampler.items[2][0]
        expected = evaluate.embedder(network)(run.sampler.features.power(item, 0, 150))
        for begun in (run.network.eval(), run.averaged):
            np.testing.assert_allclose(evaluate.embedder(begun)(run.sampler.features.power(item, 0, 150)), expected, atol=1e-4)
        # The centre of the third voice's second warp is what the network makes of that voice, warped.
        voices = [run.sampler.features.power(of, 0, exported.CENTRE_FRAMES) @ run.sampler.warps[1] for of in run.sampler.items[2]]
        mean = sum(evaluate.embedder(network)(voice) for voice in voices)
        centre = run.margin_loss.centres[2 * len(WARPS) + 1].detach().numpy()
        np.testing.assert_allclose(centre / np.linalg.norm(centre), mean / np.linalg.norm(mean), atol=1e-3)
        self.assertAlmostEqual(float(np.linalg.norm(centre)), length, places=4)
        self.assertEqual(train(dataclasses.replace(plan, network="resnet", steps=1), folder / "features", folder / "on", shipped).step, 1)
        with self.assertRaisesRegex(ValueError, "Only a resnet"):
            train(plan, folder / "features", folder / "tiny-on", shipped)


def random_resnet() -> ResNet:
    """A resnet whose batch norms do something, with statistics of their own."""
    torch.manual_seed(1)
    network = ResNet()
    for layer in network.modules():
        if isinstance(layer, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.uniform_(layer.bias, -0.5, 0.5)
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


class ExportedNetworks(unittest.TestCase):
    def test_is_read_back_and_means_the_same_in_training(self) -> None:
        network = random_resnet()
        torch.manual_seed(2)
        batches = [torch.randn(8, 120, frontend.BANDS) for _ in range(3)]
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            file = Path(folder) / "model.onnx"
            export.export(network, file)
            read = exported.read_network(file)
            torch.testing.assert_close(read(batches[0]), network(batches[0]), atol=1e-4, rtol=1e-4)
            exported.unfold(read, batches)
            torch.testing.assert_close(read(batches[0]), network(batches[0]), atol=1e-3, rtol=1e-3)
            # What reaches a batch norm is standardised by its running statistics as by those of the batches themselves.
            inputs: list[torch.Tensor] = []
            hook = read.body[3].second_norm.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
            for batch in batches:
                read(batch)
            hook.remove()
            pooled = torch.cat(inputs).transpose(0, 1).flatten(1)
            torch.testing.assert_close(read.body[3].second_norm.running_mean, pooled.mean(1), atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(read.body[3].second_norm.running_var, pooled.var(1, unbiased=False), atol=1e-4, rtol=1e-3)

    def test_other_models_are_refused_in_words(self) -> None:
        torch.manual_seed(1)
        with tempfile.TemporaryDirectory() as folder:
            for name, made in {"tiny": NETWORKS["tiny"]().eval(), "speech": speech.SpeechHead().eval()}.items():
                file = Path(folder) / f"{name}.onnx"
                export.export(made, file)
                with self.assertRaisesRegex(ValueError, "nothing to go on from"):
                    exported.read_network(file)


class Preparation(unittest.TestCase):
    def test_a_killed_worker_is_an_error(self) -> None:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            folder = Path(name)
            write_corpus(folder / "speech" / "synthetic", 21, 1.0)
            with mock.patch.object(prepare, "prepare_group", lambda _: os._exit(9)), self.assertRaisesRegex(RuntimeError, "worker process was killed"):
                prepare.prepare(folder / "speech", folder / "features", 2, speeds=(100,), names=("synthetic",))
            self.assertFalse((folder / "features" / "features.json").exists())

    def test_workers_go_with_a_run_that_is_stopped(self) -> None:
        # An interrupt reaches everybody, as from a terminal; SIGKILL the run alone.
        for number, kill in ((signal.SIGINT, os.killpg), (signal.SIGKILL, os.kill)):
            with self.subTest(number), tempfile.TemporaryDirectory() as name:
                write_corpus(Path(name) / "speech" / "synthetic", 45, 1.0)
                reading, writing = os.pipe()
                run = os.fork()
                if run == 0:
                    self.prepare_without_end(Path(name), writing)
                os.close(writing)
                try:
                    self.assertEqual(os.read(reading, 1), b"x")
                    kill(run, number)
                    os.waitpid(run, 0)
                    # Everybody who is left holds the other end open.
                    while select.select([reading], [], [], 60)[0]:
                        if os.read(reading, 100) == b"":
                            break
                    else:
                        self.fail("A worker is still there.")
                finally:
                    os.close(reading)

    @staticmethod
    def prepare_without_end(folder: Path, writing: int) -> None:
        def work(_: prepare.Job) -> None:
            os.write(writing, b"x")
            signal.pause()

        os.setsid()
        # As in a terminal, also where whoever started these tests ignores interrupts; and not for ever, whatever happens.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(120)
        try:
            with mock.patch.object(prepare, "prepare_group", work), open(os.devnull, "w") as silence:
                os.dup2(silence.fileno(), 2)
                prepare.prepare(folder / "speech", folder / "features", 2, speeds=(100,), names=("synthetic",))
        finally:
            os._exit(1)

    def test_somebody_must_be_left_to_train_on(self) -> None:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            folder = Path(name)
            write_corpus(folder / "speech" / "synthetic", 20, 1.0)
            with self.assertRaisesRegex(ValueError, "synthetic has nobody to train on"):
                prepare.prepare(folder / "speech", folder / "features", 2, speeds=(100,), names=("synthetic",))

    def test_a_short_recipe_fine_tunes_only_where_it_is_asked_to(self) -> None:
        weights = lambda file: torch.load(file)["averaged"]["head.embed.weight"]  # noqa: E731
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for silenced in (contextlib.redirect_stdout, contextlib.redirect_stderr):
                stack.enter_context(silenced(io.StringIO()))
            # The embedder only: no speech detector, no package.
            stack.enter_context(mock.patch.object(main_module, "train_head", return_value=speech.SpeechHead()))
            stack.enter_context(mock.patch.object(main_module, "finish"))
            stack.enter_context(mock.patch.dict(corpora.HELD_OUT, {corpus: 1 for corpus in corpora.TRAINING_CORPORA}))
            for corpus in corpora.TRAINING_CORPORA:
                write_corpus(folder / "speech" / corpus, 2, 4.0)
            prepare.prepare(folder / "speech", folder / "out" / "features", 2, speeds=(100,))
            for fine_tune_steps, last in ((0, "main"), (1, "fine")):
                main_module.recipe(folder / "speech", folder / "out", "model", Plan(network="tiny", steps=2), None, fine_tune_steps, 1, 2, "cpu")
                self.assertTrue(torch.equal(weights(folder / "out" / "compensated.pt"), weights(folder / "out" / last / "checkpoint.pt")))
                self.assertEqual((folder / "out" / "fine").exists(), fine_tune_steps > 0)
            self.assertFalse(torch.equal(weights(folder / "out" / "main" / "checkpoint.pt"), weights(folder / "out" / "fine" / "checkpoint.pt")))
            # From what was trained before: where nothing is learned, the same weights.
            (folder / "on").mkdir()
            (folder / "on" / "features").symlink_to(folder / "out" / "features")
            start = folder / "out" / "fine" / "checkpoint.pt"
            main_module.recipe(folder / "speech", folder / "on", "model", Plan(network="tiny", steps=1, rate=0.0), start, 0, 1, 2, "cpu")
            torch.testing.assert_close(weights(folder / "on" / "compensated.pt"), weights(start))

    def test_a_start_that_is_not_there_is_said_before_anything_is_prepared(self) -> None:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()) as said:
            folder = Path(name)
            for corpus in corpora.TRAINING_CORPORA:
                write_corpus(folder / "speech" / corpus, 1, 1.0)
            other = folder / "other.onnx"
            other.write_bytes(b"no model")
            for start, words in ((folder / "missing.onnx", "there is no"), (other, "nothing to go on from")):
                arguments = ["training", "--speech", str(folder / "speech"), "--out", str(folder / "out"), "--from", str(start)]
                with mock.patch("sys.argv", arguments), self.assertRaises(SystemExit) as stopped:
                    main_module.main()
                self.assertEqual(stopped.exception.code, 2)
                self.assertIn(words, said.getvalue())
            self.assertFalse((folder / "out").exists())

    def test_features_of_other_recordings_are_refused(self) -> None:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
            folder = Path(name)
            for corpus in corpora.TRAINING_CORPORA:
                write_corpus(folder / "speech" / corpus, 2, 1.0)
            write_cuts(folder / "speech" / "noise", [np.ones(8000, np.float32) * 0.1])
            options = {"model_id": "model", "plan": Plan(network="tiny", steps=0), "start": None, "fine_tune_steps": 0, "speech_steps": 0, "versions": 2, "device": "cpu"}
            with mock.patch.dict(corpora.HELD_OUT, {corpus: 1 for corpus in corpora.TRAINING_CORPORA}):
                prepare.prepare(folder / "speech", folder / "out" / "features", 2, speeds=(100,))
                before = Features(folder / "out" / "features").made_of
                self.assertEqual(before, prepare.digests(folder / "speech"))
                self.assertEqual(len(before), 7)
                # Another index, another noise, and in the end others held out.
                index = folder / "speech" / "librispeech" / "index.tsv"
                index.write_text(index.read_text().replace("1.000", "0.900"))
                with self.assertRaisesRegex(ValueError, "made of another librispeech than"):
                    main_module.recipe(folder / "speech", folder / "out", **options)
                write_wave(folder / "speech" / "noise" / "more.wav", np.ones(100))
                with self.assertRaisesRegex(ValueError, "made of another librispeech, noise than"):
                    main_module.recipe(folder / "speech", folder / "out", **options)
            with self.assertRaisesRegex(ValueError, "dspspeech20.*speechocean762"):
                main_module.recipe(folder / "speech", folder / "out", **options)


class Package(unittest.TestCase):
    def test_a_replaced_network_is_entered_and_its_cohort_forgotten(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "a.onnx").write_bytes(b"network")
            (folder / "b.onnx").write_bytes(b"detector")
            package.write_package(folder / "a.onnx", folder / "b.onnx", folder / "some-model", "a command", {"data": {"probe": 0.12345}})
            read = lambda: json.loads((folder / "some-model" / "manifest.json").read_text())  # noqa: E731
            first = read()
            self.assertEqual([first["id"], first["model"]["bytes"], first["speechDetector"]["bytes"]], ["some-model", 7, 8])
            self.assertEqual(first["model"]["sha256"], hashlib.sha256(b"network").hexdigest())
            self.assertEqual(package.refresh(folder / "some-model"), [])
            (folder / "some-model" / "manifest.json").write_text(json.dumps({**first, "cohort": {"count": 3}}))
            (folder / "some-model" / "speech.onnx").write_bytes(b"other detector")
            self.assertEqual(package.refresh(folder / "some-model"), ["speech.onnx"])
            self.assertEqual([read()["speechDetector"]["bytes"], read()["cohort"]], [14, {"count": 3}])
            (folder / "some-model" / "model.onnx").write_bytes(b"other network")
            self.assertEqual(package.refresh(folder / "some-model"), ["model.onnx"])
            self.assertEqual([read()["model"]["bytes"], read()["cohort"], read()["unverified"]], [13, None, [package.OTHER_NETWORK]])
            (folder / "some-model" / "speech.onnx").unlink()
            self.assertEqual(package.refresh(folder / "some-model"), ["speech.onnx"])
            self.assertNotIn("speechDetector", read())
            self.assertEqual(package.refresh(folder / "some-model"), [])


class EvaluatedModels(unittest.TestCase):
    """`python3 -m training.evaluate` on small corpora, with a checkpoint and with what was exported of it."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        torch.manual_seed(1)
        network = NETWORKS["tiny"]().eval()
        self.checkpoint = self.folder / "checkpoint.pt"
        torch.save({"plan": {"network": "tiny"}, "averaged": network.state_dict()}, self.checkpoint)
        (self.folder / "package").mkdir()
        self.exported = self.folder / "package" / "model.onnx"
        export.export(network, self.exported)
        # Every codec is a process or two for every utterance.
        few = mock.patch.object(evaluate, "CODECS", {name: channels.CODECS[name] for name in ("mu-law", "gsm")})
        few.start()
        self.addCleanup(few.stop)

    def printed(self, model: Path, *options: str) -> str:
        with mock.patch("sys.argv", ["evaluate", str(model), "--speech", str(self.folder / "speech"), *options]):
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                evaluate.main()
        return out.getvalue()

    def test_every_corpus_is_measured(self) -> None:
        # Nobody is left to train on of so few: all are held out. The first corpus has an utterance of 9 s each, the second two of 2 s, and groups.
        write_corpus(self.folder / "speech" / "librispeech", 3, 9.0)
        write_corpus(self.folder / "speech" / "speechocean762", 3, 4.0, utterances=2)
        rows = ["speaker\tage\tgender", "s000\t20\tf", "s001\t21\tf", "s002\t30\tm"]
        (self.folder / "speech" / "speechocean762" / "speakers.tsv").write_text("\n".join(rows) + "\n")
        printed = self.printed(self.checkpoint)
        self.assertIn("Not measured, because they are not below", printed)
        self.assertIn("speech-commands-test, dspspeech20, telephone-dev.", printed)
        tables = [line for line in printed.splitlines()[1:] if not line.startswith(" ")]
        self.assertEqual(
            tables,
            [
                "speechocean762, 3 held-out speakers, whole utterances",
                "speechocean762, the same by groups of speakers, seconds and codecs",
                "librispeech, 3 held-out speakers, pieces of 4 s",
            ],
        )
        self.assertEqual([printed.count(f"  {name}: ") for name in ("telephone band", "codecs", "gender f, strangers of the same", "gsm")], [2, 2, 1, 1])
        np.random.default_rng(1).standard_normal((5, EMBEDDING_SIZE)).astype("<f4").tofile(self.folder / "package" / "cohort.f32")
        (self.folder / "package" / "calibration.json").write_text('{"cohortTop": 3}')

    def test_scores_are_those_of_a_package_where_it_is_asked_for(self) -> None:
        write_corpus(self.folder / "speech" / "librispeech", 3, 9.0)
        np.random.default_rng(1).standard_normal((5, EMBEDDING_SIZE)).astype("<f4").tofile(self.folder / "package" / "cohort.f32")
        (self.folder / "package" / "calibration.json").write_text('{"cohortTop": 3}')
        with mock.patch.object(evaluate, "normalised_cosine", return_value=lambda enrolled, tested: -evaluate.cosine(enrolled, tested)) as chosen:
            scored = self.printed(self.checkpoint, "--package", str(self.folder / "package"))
        self.assertEqual(chosen.call_args.args[1], 3)
        self.assertNotEqual(scored, self.printed(self.checkpoint))

    def test_an_exported_model_is_measured_as_its_checkpoint(self) -> None:
        write_corpus(self.folder / "speech" / "librispeech", 3, 13.0)
        expected = self.printed(self.checkpoint)
        for model in (self.exported, self.exported.parent):
            self.assertEqual(self.printed(model), expected)
        with evaluate.opened(self.checkpoint) as ours, evaluate.opened(self.exported) as theirs:
            for seconds in (0.5, 3.01, 10.0, 24.0):
                power = frontend.mel_power(bursts(seconds, 8000))
                np.testing.assert_allclose(theirs(power), ours(power), atol=1e-5)

    def test_another_model_is_refused_in_words(self) -> None:
        export.export(speech.SpeechHead().eval(), self.folder / "speech.onnx")
        with self.assertRaisesRegex(ValueError, "mel filters were not found"), evaluate.opened(self.folder / "speech.onnx"):
            pass
        (self.folder / "broken.onnx").write_bytes(b"")
        with runtime.Session(self.folder / "broken.onnx") as session, self.assertRaisesRegex(RuntimeError, "does not run(.|\n)*Load model"):
            session.run(np.zeros((1, 8000)))


class Calls(unittest.TestCase):
    def test_rates_of_calls_are_those_over_all_trials(self) -> None:
        # Two people, two and three calls; the embedding is where a call's power lies. Only the last call is unlike its owner's others.
        power = lambda band: np.eye(frontend.BANDS, dtype=np.float32)[[band]].repeat(120, 0) + 0.01  # noqa: E731
        calls = {"a/1": power(3), "a/2": power(3), "b/1": power(9), "b/2": power(9), "b/3": power(20)}
        embed = lambda found: found.mean(0) / np.linalg.norm(found.mean(0))  # noqa: E731
        rates = evaluate.telephone(embed, calls)
        self.assertEqual(list(rates), ["3 s", "5 s", "10 s", "all"])
        found = dict(evaluate.telephone_intervals(embed, calls, 10))
        self.assertEqual(len(found), 8)
        # Four of the eight target trials miss, all of them b's: half, and a third when a and b count the same.
        self.assertGreater(found["all"][0], found["all, every owner counting once"][0])


    def test_scores_are_normalised_as_in_the_service(self) -> None:
        unit = lambda x, y: np.concatenate([[x, y], np.zeros(EMBEDDING_SIZE - 2)]).astype(np.float32)  # noqa: E731
        enrolled, tested = unit(1, 0)[None], np.stack([unit(0, 1), unit(1, 0)])
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.stack([unit(0.6, 0.8), unit(0.8, 0.6), unit(-1, 0)]).astype("<f4").tofile(folder / "cohort.f32")
            (folder / "calibration.json").write_text('{"cohortTop": 2}')
            score = evaluate.score_of_package(folder)
        # The two closest of either side have cosines of 0.6 and 0.8: a mean of 0.7, a deviation of 0.1.
        np.testing.assert_allclose(score(enrolled, tested), [[-7, 3]], rtol=1e-4)


class Corpora(unittest.TestCase):
    def test_reads_and_splits(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "synthetic"
            folder.mkdir()
            rows = [f"s{number:03d}\tu{part}\t{part * 2.1:.3f}\t2.000\ts{number:03d}.wav" for number in range(30) for part in range(2)]
            (folder / "index.tsv").write_text("speaker\tutterance\tstart_s\tduration_s\tfile\n" + "\n".join(rows) + "\n")
            speakers = corpora.read_corpus(folder)
            training, held_out = corpora.split_speakers(speakers)
            for few in (15, 20):
                self.assertEqual([len(part) for part in corpora.split_speakers(speakers[:few])], [0, few])
        self.assertEqual([len(speakers), len(training), len(held_out)], [30, 10, 20])
        self.assertEqual(speakers[0].utterances[1].start, 2.1)
        self.assertFalse({one.name for one in training} & {one.name for one in held_out})


if __name__ == "__main__":
    unittest.main()
