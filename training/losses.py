"""Training losses over unit embeddings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class WithinCorpusMargin(nn.Module):
    """Additive angular margin softmax (ArcFace, Deng et al., CVPR 2019) in which a crop competes only with classes of its own corpus.

    Every corpus has its own rooms and microphones; against all classes, half the task is solved by telling corpora apart, which is of
    no use on calls. The loss is the mean over the batch; margin and scale are given per call.
    """

    def __init__(self, size: int, corpus_of_class: Tensor) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(len(corpus_of_class), size) * 0.1)
        self.register_buffer("corpus_of_class", corpus_of_class)

    def forward(self, embeddings: Tensor, labels: Tensor, margin: float, scale: float) -> Tensor:
        cosine = functional.linear(functional.normalize(embeddings.float()), functional.normalize(self.centres))
        target = cosine.gather(1, labels[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        sine = torch.sqrt(1 - target**2)
        shifted = target * math.cos(margin) - sine * math.sin(margin)
        # Past pi - margin the cosine would rise again: a straight line instead, as in the paper.
        shifted = torch.where(target > math.cos(math.pi - margin), shifted, target - margin * math.sin(margin))
        logits = cosine.scatter(1, labels[:, None], shifted) * scale
        foreign = self.corpus_of_class[None] != self.corpus_of_class[labels][:, None]
        return functional.cross_entropy(logits.masked_fill(foreign, -1e4), labels)


class CrossChannelPairs(nn.Module):
    """Contrast of two crops of every speaker through two different calls, against the other speakers of the batch.

    Neighbours in the batch share a handset, of which normalisation leaves only what line noise covers; noise and room are every crop's own. Symmetric cross
    entropy over scaled cosines (angular prototypical loss, Chung et al., Interspeech 2020).
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.shift = nn.Parameter(torch.tensor(-5.0))

    def forward(self, first: Tensor, second: Tensor, labels: Tensor, corpora: Tensor) -> Tensor:
        cosine = functional.normalize(first.float()) @ functional.normalize(second.float()).T
        logits = cosine * self.scale.clamp(min=1e-3) + self.shift
        same = labels[:, None] == labels[None]
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        # Another crop of the same class is no impostor, nor is one of another corpus (told apart by its microphones).
        logits = logits.masked_fill((same & ~itself) | (corpora[:, None] != corpora[None]), -1e4)
        target = torch.arange(len(labels), device=labels.device)
        return 0.5 * (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target))
