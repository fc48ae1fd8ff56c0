#!/usr/bin/env python3
"""
Cuts the log-mel front end off a model of ours, for the comparison with sherpa-onnx in bench/embed.

    python3 scripts/export-for-sherpa.py models/<id>/model.onnx <out.onnx>

What is left takes features [1, frames, 80], as sherpa computes them itself (Kaldi filter bank: 25 ms, 10 ms hop, 80
mel bands 20-7600 Hz, natural logarithm), and has the metadata sherpa's speaker-embedding extractor reads. The removal of
the per-band mean stays in the network, so sherpa is told to normalise nothing; samples stay in [-1, 1], as the network
was trained. A network of training/ wants 60 bands of mel power: it gets the first 60 of sherpa's, their logarithm undone, which
is right for timing and wrong for anything else. Needs Python 3 with `onnx` (Debian: python3-onnx). The shipped model is not touched.
"""
import sys

import onnx
from onnx import TensorProto, helper

SAMPLE_RATE_HZ = 16_000


SHERPA_BANDS = 80


def cut_at_front_end(model):
    """The part of the graph behind its mel filters, with its input as sherpa gives it, [1, frames, SHERPA_BANDS]."""
    filters = next((node for node in model.graph.node if node.op_type == "Conv" and node.input[1] == "filters"), None)
    if filters is None:
        return cut_at_log_mel(model)
    bands = next(list(tensor.dims)[0] for tensor in model.graph.initializer if tensor.name == "filters")
    nodes, weights = behind(model.graph, filters.output[0])
    limits = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("first_band", 0), ("last_band", bands), ("band_axis", 2))
    ]
    head = [
        helper.make_node("Slice", ["feats", "first_band", "last_band", "band_axis"], ["log_mel"]),
        helper.make_node("Exp", ["log_mel"], ["mel"]),
        helper.make_node("Transpose", ["mel"], [filters.output[0]], perm=[0, 2, 1]),
    ]
    features = helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, "frames", SHERPA_BANDS])
    return helper.make_graph([*head, *nodes], "behind-mel", [features], model.graph.output[:1], [*weights, *limits])


def behind(graph, tensor):
    """The nodes between a tensor and the graph's first output, and the weights that they use."""
    producers = {name: node for node in graph.node for name in node.output}
    needed, wanted = set(), [graph.output[0].name]
    while wanted:
        name = wanted.pop()
        node = producers.get(name)
        if name == tensor or node is None or id(node) in needed:
            continue
        needed.add(id(node))
        wanted.extend(node.input)
    nodes = [node for node in graph.node if id(node) in needed]
    used = {name for node in nodes for name in node.input}
    if graph.input[0].name in used:
        sys.exit("the network takes the waveform past the front end")
    return nodes, [weight for weight in graph.initializer if weight.name in used]


def cut_at_log_mel(model):
    """The part of the graph behind the only logarithm, with its input transposed to [1, frames, bands]."""
    graph = model.graph
    logs = [node for node in graph.node if node.op_type == "Log"]
    if len(logs) != 1:
        sys.exit(f"expected one Log node, the end of the front end; found {len(logs)}")
    log_mel = logs[0].output[0]
    filter_bank = next(node for node in graph.node if node.op_type == "MatMul")
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    bands = next(sizes[name][0] for name in filter_bank.input if name in sizes)

    nodes, weights = behind(graph, log_mel)
    features = helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, "frames", bands])
    transpose = helper.make_node("Transpose", ["feats"], [log_mel], perm=[0, 2, 1])
    return helper.make_graph([transpose, *nodes], "behind-log-mel", [features], graph.output[:1], weights)


def size_of_last_layer(graph):
    """Embedding size of a graph that does not state it: rows of the last dense layer's weight."""
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return [sizes[node.input[1]][0] for node in graph.node if node.op_type == "Gemm" and node.input[1] in sizes][-1]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    source, target = sys.argv[1:]
    model = onnx.load(source)
    graph = cut_at_front_end(model)
    cut = helper.make_model(graph, opset_imports=model.opset_import, producer_name="voice-auth")
    cut.ir_version = model.ir_version
    output_dim = graph.output[0].type.tensor_type.shape.dim[1].dim_value or size_of_last_layer(graph)
    helper.set_model_props(
        cut,
        {
            "framework": "wespeaker",
            "language": "English",
            "url": "",
            "comment": "voice-auth, for measurements only",
            "sample_rate": str(SAMPLE_RATE_HZ),
            "output_dim": str(output_dim),
            "normalize_samples": "1",
            "feature_normalize_type": "",
        },
    )
    onnx.checker.check_model(cut)
    onnx.save(cut, target)


main()
