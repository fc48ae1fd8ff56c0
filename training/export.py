"""A trained network as ONNX: 16 kHz waveform in, unit embedding out, the front end inside the graph."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .frontend import HOP_SECONDS, WINDOW_SECONDS, analysis_window, mel_filters
from .networks import NETWORKS, Compensated, normalise
from .runtime import Session
from .speech import CAUTION, SpeechHead

RATE = 16000
FFT_SIZE = 512


class Exported(nn.Module):
    """waveform [batch, samples] in [-1, 1] at 16 kHz, 0.5 s or more -> unit embedding [batch, size].

    Framing, window and Fourier transform are one convolution over blocks of 5 ms, so that runtimes multiply matrices instead of walking
    over samples; only bins that some filter reads are computed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        window, hop = round(RATE * WINDOW_SECONDS), round(RATE * HOP_SECONDS)
        self.block = int(np.gcd(window, hop))
        self.stride = hop // self.block
        filters = mel_filters(RATE, FFT_SIZE)
        used = np.flatnonzero(filters.sum(0))
        bins = np.arange(used[0], used[-1] + 1)
        angle = 2 * np.pi * bins[:, None] * np.arange(window)[None] / FFT_SIZE
        shape = analysis_window(RATE).astype(np.float64)
        basis = np.concatenate([np.cos(angle) * shape, -np.sin(angle) * shape])
        # [bins, samples] -> convolution weight [bins, samples in a block, blocks in a window].
        weight = basis.reshape(len(basis), window // self.block, self.block).transpose(0, 2, 1)
        self.register_buffer("transform", torch.from_numpy(np.ascontiguousarray(weight)).float())
        self.register_buffer("filters", torch.from_numpy(filters[:, bins]).float()[:, :, None])
        self.bins = len(bins)

    def power(self, waveform: Tensor) -> Tensor:
        """Mel power [batch, frames, bands]."""
        blocks = waveform.shape[1] // self.block
        x = waveform[:, : blocks * self.block].reshape(waveform.shape[0], blocks, self.block).transpose(1, 2)
        spectrum = functional.conv1d(x, self.transform, stride=self.stride)
        power = spectrum[:, : self.bins] ** 2 + spectrum[:, self.bins :] ** 2
        return functional.conv1d(power, self.filters).transpose(1, 2)

    def forward(self, waveform: Tensor) -> Tensor:
        return functional.normalize(self.network(normalise(self.power(waveform))))


class ExportedSpeech(nn.Module):
    """waveform [batch, samples] as `Exported` takes it -> probability of speech [batch, frames]. A graph of its own over the same front end, because speech
    must be found before there is something to embed, and in a call every 0.3 s."""

    def __init__(self, head: SpeechHead) -> None:
        super().__init__()
        self.front = Exported(nn.Identity())
        self.head = head

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.sigmoid(self.head(normalise(self.front.power(waveform))) - CAUTION)


def load_network(checkpoint: Path) -> nn.Module:
    """The averaged network of a checkpoint, with its compensation where it has one, in evaluation mode."""
    state = torch.load(checkpoint, map_location="cpu")
    network = NETWORKS[state["plan"]["network"]]()
    network.load_state_dict(state["averaged"])
    if "compensation" in state:
        network = Compensated(network, **state["compensation"])
    return network.eval()


def load_head(file: Path) -> SpeechHead:
    """A trained speech head, in evaluation mode."""
    head = SpeechHead()
    head.load_state_dict(torch.load(file, map_location="cpu")["head"])
    return head.eval()


def exported(network: nn.Module) -> tuple[nn.Module, str]:
    """What is exported of a speaker network or a speech head, and the name of its output."""
    if isinstance(network, SpeechHead):
        return ExportedSpeech(network).eval(), "speech"
    return Exported(network).eval(), "embedding"


def export(network: nn.Module, file: Path) -> None:
    """Writes a speaker network or a speech head as ONNX, opset 16, batch and samples free."""
    model, output = exported(network)
    torch.onnx.export(
        model,
        (torch.randn(2, 3 * RATE) * 0.1,),
        str(file),
        input_names=["waveform"],
        output_names=[output],
        dynamic_axes={"waveform": {0: "batch", 1: "samples"}, output: {0: "batch", **({1: "frames"} if output == "speech" else {})}},
        opset_version=16,
        **({"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}),
    )


def parity(network: nn.Module, file: Path) -> float:
    """Largest difference between this framework and onnxruntime (run by Node) over inputs of 0.5 to 10 s; RuntimeError from 1e-4 on."""
    model, output = exported(network)
    random = np.random.default_rng(3)
    worst = 0.0
    with Session(file) as session:
        for seconds in (0.5, 1.0, 3.01, 10.0):
            # Noise in bursts: something with the dynamics of speech.
            samples = random.standard_normal(int(seconds * RATE)) * 0.1 * np.repeat(random.uniform(0, 1, 200), RATE // 20)[: int(seconds * RATE)]
            waveform = samples.astype(np.float32)[None]
            with torch.no_grad():
                ours = model(torch.from_numpy(waveform))[0].numpy()
            worst = max(worst, float(np.abs(ours - session.run(waveform)[output]).max()))
    if not worst < 1e-4:
        raise RuntimeError(f"onnxruntime gives another {output}: it differs by {worst:.1e}.")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of a run, or with --speech a trained head")
    parser.add_argument("file", type=Path)
    parser.add_argument("--speech", action="store_true", help="export a speech detector")
    options = parser.parse_args()
    network = load_head(options.checkpoint) if options.speech else load_network(options.checkpoint)
    export(network, options.file)
    print(f"{options.file}: {options.file.stat().st_size / 1e6:.1f} MB, within {parity(network, options.file):.0e} of onnxruntime")


if __name__ == "__main__":
    main()
