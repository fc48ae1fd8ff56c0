"""A network read back out of the ONNX file that export.py wrote, so that a run can go on from what ships: no checkpoint is needed for it.

An exported file holds less than a checkpoint. Batch norms behind convolutions are folded into them, and the class centres of the margin loss are gone: the
first are given the statistics of a few batches (which changes nothing that the network computes), the second become the mean embeddings of the classes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from .dataset import Sampler
from .export import parity
from .networks import Compensated, ResNet, normalise

# Frames of every item that count for the centre of its class.
CENTRE_FRAMES = 200


def _folded(network: ResNet) -> list[tuple[nn.Module, nn.Module]]:
    """Convolutions with the batch norm that is folded into each, in the order of the exported graph."""
    pairs: list[tuple[nn.Module, nn.Module]] = [(network.stem, network.stem_norm)]
    for block in network.body:
        pairs += [(block.first, block.first_norm), (block.second, block.second_norm)]
        if isinstance(block.shortcut, nn.Sequential):
            pairs.append((block.shortcut[0], block.shortcut[1]))
    return [*pairs, (network.mix, network.mix_norm)]


def read_network(file: Path) -> ResNet:
    """The network of an exported ResNet, in evaluation mode, without its compensation. Raises ValueError for any other model, a quantised one among them."""
    network = ResNet()
    try:
        graph = onnx.load(str(file)).graph
        values = {value.name: torch.from_numpy(numpy_helper.to_array(value).copy()) for value in graph.initializer}
        convolutions = [node.input for node in graph.node if node.op_type == "Conv" and len(node.input) == 3 and node.input[1].startswith("onnx::")]
        products = [node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1].startswith("onnx::")]
        compensated = {"network.shift", "network.matrix"} <= values.keys()
        prefix = "network.network." if compensated else "network."
        state = network.state_dict()
        state.update({name: values[prefix + name] for name in state if prefix + name in values})
        # A linear layer without a bias becomes a product with its transposed weights.
        (context,) = products
        state["head.pool.context.weight"] = values[context].T.contiguous()
        for (convolution, norm), (_, weight, bias) in zip(_folded(network), convolutions, strict=True):
            convolution.weight.data.copy_(values[weight])
            norm.bias.data.copy_(values[bias])
            norm.running_var.fill_(1 - norm.eps)
        # What the loop has set counts: the state holds the same tensors.
        network.load_state_dict(state)
        network.eval()
        parity(Compensated(network, values["network.shift"], values["network.matrix"]) if compensated else network, file)
    except (DecodeError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{file} is no resnet in float32 that training.export wrote: nothing to go on from.") from error
    return network


def unfold(network: ResNet, batches: Iterable[Tensor]) -> None:
    """Gives folded batch norms the mean and the variance of what reaches them in `batches` of features, and weights that undo both: the network computes what
    it did, and computes nearly the same in training, where batch norms go by their batch."""
    pairs = _folded(network)
    seen: dict[nn.Module, list[Tensor]] = {norm: [] for _, norm in pairs}

    def note(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        by_channel = inputs[0].transpose(0, 1).flatten(1)
        seen[norm].append(torch.stack([by_channel.mean(1), (by_channel**2).mean(1)]))

    hooks = [norm.register_forward_pre_hook(note) for norm in seen]
    with torch.no_grad():
        for features in batches:
            network(features)
        for hook in hooks:
            hook.remove()
        for _, norm in pairs:
            mean, square = torch.stack(seen[norm]).mean(0)
            variance = (square - mean**2).clamp(min=1e-6)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)


def class_centres(network: nn.Module, sampler: Sampler, half: bool) -> Tensor:
    """Unit embeddings of the sampler's classes in their order, [classes, size]: the mean over the versions of a speaker's speech, at the start of each. `half` computes
    in bfloat16."""
    centres = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        for items in sampler.items:
            power = np.stack([sampler.features.power(item, 0, CENTRE_FRAMES) for item in items])
            warped = np.stack([power @ warp for warp in sampler.warps])
            embeddings = network(normalise(torch.from_numpy(warped).flatten(0, 1))).float().reshape(*warped.shape[:2], -1)
            centres.append(functional.normalize(functional.normalize(embeddings, dim=2).mean(1)))
    return torch.cat(centres)
