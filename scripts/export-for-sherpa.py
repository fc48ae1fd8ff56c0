#!/usr/bin/env python3
"""
Cuts the log-mel front end off a model of ours, for the comparison with sherpa-onnx in bench/embed.

    python3 scripts/export-for-sherpa.py models/<id>/model.onnx <out.onnx>

What is left takes features [1, frames, bands], as sherpa computes them itself (Kaldi filter bank: 25 ms, 10 ms hop, 80
mel bands 20-7600 Hz, natural logarithm), and has the metadata sherpa's speaker-embedding extractor reads. The removal of
the per-band mean stays in the network, so sherpa is told to normalise nothing; samples stay in [-1, 1], as the network
was trained. Needs Python 3 with `onnx` (Debian: python3-onnx). The shipped model is not touched.
"""
import sys

import onnx
from onnx import TensorProto, helper

SAMPLE_RATE_HZ = 16_000


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

    producers = {name: node for node in graph.node for name in node.output}
    needed, wanted = set(), [graph.output[0].name]
    while wanted:
        name = wanted.pop()
        node = producers.get(name)
        if name == log_mel or node is None or id(node) in needed:
            continue
        needed.add(id(node))
        wanted.extend(node.input)
    nodes = [node for node in graph.node if id(node) in needed]
    used = {name for node in nodes for name in node.input}
    if graph.input[0].name in used:
        sys.exit("the network takes the waveform past the front end")

    features = helper.make_tensor_value_info("feats", TensorProto.FLOAT, [1, "frames", bands])
    transpose = helper.make_node("Transpose", ["feats"], [log_mel], perm=[0, 2, 1])
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    return helper.make_graph([transpose, *nodes], "behind-log-mel", [features], graph.output[:1], weights)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    source, target = sys.argv[1:]
    model = onnx.load(source)
    graph = cut_at_log_mel(model)
    cut = helper.make_model(graph, opset_imports=model.opset_import, producer_name="voice-auth")
    cut.ir_version = model.ir_version
    output_dim = graph.output[0].type.tensor_type.shape.dim[1].dim_value
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
