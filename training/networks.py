"""Speaker networks of several families over one front end; all give a unit embedding per input.

Input of every network: normalised log mel features, [batch, frames, BANDS]. What a family is called: `NETWORKS`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .frontend import BANDS, RELATIVE_FLOOR

EMBEDDING_SIZE = 192


def normalise(power: Tensor) -> Tensor:
    """Features of mel power [batch, frames, bands]: each band against its own mean over the input, floored 23 dB below it, logarithm,
    mean removed. A linear channel and the level cancel exactly."""
    relative = power / (power.mean(1, keepdim=True) + 1e-14)
    features = torch.log(relative + RELATIVE_FLOOR)
    return features - features.mean(1, keepdim=True)


class AttentiveStatistics(nn.Module):
    """Weighted mean and standard deviation over time (Okabe et al., Interspeech 2018), the attention aware of the whole input as in
    ECAPA-TDNN (Desplanques et al., Interspeech 2020). [batch, channels, time] -> [batch, 2 * channels]."""

    def __init__(self, channels: int, hidden: int = 96) -> None:
        super().__init__()
        self.local = nn.Conv1d(channels, hidden, 1)
        self.context = nn.Linear(2 * channels, hidden, bias=False)
        self.weigh = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(2)
        deviation = ((x - mean[:, :, None]) ** 2).mean(2).clamp(min=1e-5).sqrt()
        context = self.context(torch.cat([mean, deviation], 1))[:, :, None]
        weight = torch.softmax(self.weigh(torch.tanh(self.local(x) + context)).float(), 2)
        x = x.float()
        mean = (weight * x).sum(2)
        deviation = ((weight * (x - mean[:, :, None]) ** 2).sum(2)).clamp(min=1e-5).sqrt()
        return torch.cat([mean, deviation], 1)


class Head(nn.Module):
    """Pooling and the last layers: [batch, channels, time] -> embeddings [batch, EMBEDDING_SIZE] (not yet of unit length)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = AttentiveStatistics(channels)
        self.norm = nn.BatchNorm1d(2 * channels)
        self.embed = nn.Linear(2 * channels, EMBEDDING_SIZE)
        self.centre = nn.BatchNorm1d(EMBEDDING_SIZE)

    def forward(self, x: Tensor) -> Tensor:
        return self.centre(self.embed(self.norm(self.pool(x))))


class SqueezeExcite2d(nn.Module):
    """Channel gates from the mean over the plane (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inside: int, outside: int, stride: tuple[int, int], gate: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.gate = SqueezeExcite2d(outside) if gate else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != (1, 1) or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.gate(self.second_norm(self.second(y))) + self.shortcut(x))


class ResNet(nn.Module):
    """A small 2-D residual network over (band, frame) planes."""

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128), blocks: tuple[int, ...] = (2, 2, 2), gate: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels[0], 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(channels[0])
        layers: list[nn.Module] = []
        inside = channels[0]
        for stage, (outside, count) in enumerate(zip(channels, blocks)):
            for block in range(count):
                stride = (2, 2) if stage > 0 and block == 0 else (1, 1)
                layers.append(ResidualBlock(inside, outside, stride, gate))
                inside = outside
        self.body = nn.Sequential(*layers)
        height = -(-BANDS // 2 ** len(channels))
        self.mix = nn.Conv1d(inside * height, 512, 1, bias=False)
        self.mix_norm = nn.BatchNorm1d(512)
        self.head = Head(512)

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)
        x = self.body(torch.relu(self.stem_norm(self.stem(x))))
        return self.head(torch.relu(self.mix_norm(self.mix(x.flatten(1, 2)))))


class Res2Block(nn.Module):
    """SE-Res2Block of ECAPA-TDNN."""

    def __init__(self, channels: int, dilation: int, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        part = channels // scale
        self.before = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(part, part, 3, padding=dilation, dilation=dilation), nn.ReLU(), nn.BatchNorm1d(part))
            for _ in range(scale - 1)
        )
        self.after = nn.Sequential(nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        self.down = nn.Linear(channels, 64)
        self.up = nn.Linear(64, channels)

    def forward(self, x: Tensor) -> Tensor:
        pieces = list(self.before(x).chunk(self.scale, 1))
        for index, part in enumerate(self.parts):
            pieces[index + 1] = part(pieces[index + 1] if index == 0 else pieces[index + 1] + pieces[index])
        y = self.after(torch.cat(pieces, 1))
        gate = torch.sigmoid(self.up(torch.relu(self.down(y.mean(2)))))
        return x + y * gate[:, :, None]


class EcapaTdnn(nn.Module):
    """ECAPA-TDNN (Desplanques et al., Interspeech 2020) behind a convolutional stem that halves time and bands."""

    def __init__(self, channels: int = 256, stem: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem, 3, (2, 2), 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
            nn.Conv2d(stem, stem, 3, (2, 1), 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        )
        height = -(-BANDS // 4)
        self.enter = nn.Sequential(nn.Conv1d(stem * height, channels, 1), nn.ReLU(), nn.BatchNorm1d(channels))
        self.blocks = nn.ModuleList(Res2Block(channels, dilation) for dilation in (1, 2, 3))
        self.mix = nn.Sequential(nn.Conv1d(3 * channels, 512, 1), nn.ReLU())
        self.head = Head(512)

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)
        x = self.enter(self.stem(x).flatten(1, 2))
        outs = []
        for block in self.blocks:
            x = block(x)
            outs.append(x)
        return self.head(self.mix(torch.cat(outs, 1)))


class DenseLayer(nn.Module):
    """A densely connected TDNN layer whose output is gated by the context of its segment and of the whole input: CAM++
    (Wang et al., Interspeech 2023)."""

    def __init__(self, inside: int, growth: int, bottleneck: int, dilation: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm1d(inside), nn.ReLU(), nn.Conv1d(inside, bottleneck, 1, bias=False), nn.BatchNorm1d(bottleneck), nn.ReLU())
        self.local = nn.Conv1d(bottleneck, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.down = nn.Conv1d(bottleneck, bottleneck // 2, 1)
        self.up = nn.Conv1d(bottleneck // 2, growth, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        segment = functional.avg_pool1d(y, 25, 1, 12, count_include_pad=False) + y.mean(2, keepdim=True)
        return torch.cat([x, self.local(y) * torch.sigmoid(self.up(torch.relu(self.down(segment))))], 1)


class DenseTdnn(nn.Module):
    """CAM++-like: a small 2-D front part, then densely connected, context-masked TDNN layers."""

    def __init__(self, stem: int = 32, growth: int = 32, layers: tuple[int, ...] = (6, 10, 6)) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, stem, 3, (2, 2), 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.front = nn.Sequential(ResidualBlock(stem, stem, (2, 1), False), ResidualBlock(stem, stem, (2, 1), False))
        height = -(-BANDS // 8)
        width = 128
        self.enter = nn.Sequential(nn.Conv1d(stem * height, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        body: list[nn.Module] = []
        for index, count in enumerate(layers):
            for _ in range(count):
                body.append(DenseLayer(width, growth, 128, 1 if index == 0 else 2))
                width += growth
            half = width // 2
            body.append(nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, half, 1, bias=False)))
            width = half
        self.body = nn.Sequential(*body)
        self.leave = nn.Sequential(nn.BatchNorm1d(width), nn.ReLU(), nn.Conv1d(width, 512, 1, bias=False), nn.BatchNorm1d(512), nn.ReLU())
        self.head = Head(512)

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)
        return self.head(self.leave(self.body(self.enter(self.front(self.stem(x)).flatten(1, 2)))))


class Compensated(nn.Module):
    """A network whose unit embeddings have `shift` [size] subtracted and are multiplied by `matrix` [size, size] (both from compensation.py)."""

    def __init__(self, network: nn.Module, shift: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("shift", shift)
        self.register_buffer("matrix", matrix)

    def forward(self, features: Tensor) -> Tensor:
        return (functional.normalize(self.network(features)) - self.shift) @ self.matrix


NETWORKS = {
    "resnet": lambda: ResNet(),
    "resnet-se": lambda: ResNet(gate=True),
    "ecapa": lambda: EcapaTdnn(),
    "dense-tdnn": lambda: DenseTdnn(),
    "tiny": lambda: ResNet((8, 16, 32), (1, 1, 1)),
}
