#!/usr/bin/env python3
"""
Makes an INT8 variant of a model of ours, in the QDQ form that onnxruntime's CPU provider fuses into integer kernels.

    python3 scripts/quantise-model.py observe models/<id>/model.onnx observed.onnx
    npx tsx scripts/measure-activations.ts observed.onnx activations.json --speech <folder of corpora>
    python3 scripts/quantise-model.py static models/<id>/model.onnx activations.json int8.onnx
    npm run compare:models -- models/<id> int8.onnx --data <folder of calls> --speech <folder of corpora>

`observe` makes the tensors that a static quantisation rounds outputs of the graph; onnxruntime-node measures them, because
Python needs no onnxruntime for this. `static` writes weights as int8 (symmetric, one scale per output channel) and activations
as uint8 (one scale and zero point per tensor), from the measured histograms. `dynamic` rounds the weights only, and lets
the runtime find the range of every input itself. In all of them the front end (everything before the only logarithm), the
statistics pooling and the last layers stay float32 unless named. The same input gives the same bytes.

Needs Python 3 with `onnx` and `numpy` (Debian: python3-onnx; written with onnx 1.12.0 and numpy 1.24.2, for
onnxruntime 1.30.0). The model that is read is not touched.
"""
import argparse
import json
import re
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LEVELS = 255
WEIGHT_LEVEL = 127
# Dense layers and convolutions whose input is one value per channel: nothing to gain, and accuracy to lose.
DEFAULT_SKIP = r"/se/|/fc/"
HEAVY = r"/net/(c|m)/|/(c1|c3)/|/att\.0/"


def fail(problem):
    sys.exit(f"quantise-model: {problem}")


class Graph:
    """A model's graph with the look-ups that rewriting it takes."""

    def __init__(self, model):
        self.model = model
        self.graph = model.graph
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.outputs = {output.name for output in self.graph.output}

    def consumers(self, name):
        return [node for node in self.graph.node if name in node.input]

    def producer(self, name):
        return next((node for node in self.graph.node if name in node.output), None)

    def array(self, name):
        return numpy_helper.to_array(self.weights[name])

    def add_weight(self, name, array):
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.graph.initializer.append(tensor)
        self.weights[name] = tensor
        return name

    def behind_front_end(self):
        """Nodes that come after the only logarithm, in order."""
        logs = [node for node in self.graph.node if node.op_type == "Log"]
        if len(logs) != 1:
            fail(f"expected one Log node, the end of the front end; found {len(logs)}")
        reached = set(logs[0].output)
        nodes = []
        for node in self.graph.node:
            if any(name in reached for name in node.input):
                reached.update(node.output)
                nodes.append(node)
        return nodes

    def drop_unused_weights(self):
        used = {name for node in self.graph.node for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def place(self, node, index):
        self.graph.node.insert(index, node)

    def index_of(self, node):
        return next(i for i, other in enumerate(self.graph.node) if other is node or other.name == node.name)


def chosen_nodes(graph, op_types, only, skip):
    """Nodes behind the front end with constant weights, by the patterns of the command line."""
    nodes = [
        node
        for node in graph.behind_front_end()
        if node.op_type in op_types
        and node.input[1] in graph.weights
        and (only is None or re.search(only, node.name))
        and not (skip and re.search(skip, node.name))
    ]
    if not nodes:
        fail("no node to quantise")
    return nodes


def output_tensor(graph, node):
    """The tensor that is rounded behind a node: a rectifier that alone follows it is part of it."""
    after = graph.consumers(node.output[0])
    if len(after) == 1 and after[0].op_type == "Relu" and node.output[0] not in graph.outputs:
        return after[0].output[0]
    return node.output[0]


def same_values(graph, name):
    """The tensor that holds the same values before they were only rearranged."""
    node = graph.producer(name)
    while node is not None and node.op_type in ("Reshape", "Transpose", "Unsqueeze", "Squeeze"):
        name = node.input[0]
        node = graph.producer(name)
    return name


def rounded_tensors(graph, convolutions):
    """Every activation that a static quantisation of these convolutions rounds."""
    names = []
    for node in convolutions:
        for name in (same_values(graph, node.input[0]), output_tensor(graph, node)):
            if name not in names:
                names.append(name)
    return names


def observe(args):
    model = onnx.load(args.model)
    graph = Graph(model)
    for name in rounded_tensors(graph, chosen_nodes(graph, ("Conv",), None, None)):
        graph.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, args.out)


def clip_percentile(counts, edges, percentile):
    """The range that leaves out at most 100 - percentile of the values, half at each end."""
    tail = (1 - percentile / 100) / 2 * counts.sum()
    below = np.cumsum(counts)
    above = np.cumsum(counts[::-1])
    low = edges[int(np.searchsorted(below, tail, side="right"))]
    high = edges[len(counts) - int(np.searchsorted(above, tail, side="right"))]
    return float(low), float(high)


def divergence(reference, candidate):
    present = reference > 0
    return float(np.sum(reference[present] * np.log(reference[present] / np.maximum(candidate[present], 1e-12))))


def clip_entropy(counts, edges):
    """
    The range whose rounded histogram is closest to the measured one (Kullback-Leibler), among 100 shrinkings of the whole
    one towards zero. What falls outside is counted at the end it is clipped to. The zeros of a rectifier are left out, as
    they are exact in every range and would drown the rest.
    """
    low, high = float(edges[0]), float(edges[-1])
    if low == 0:
        counts = np.concatenate([counts[1:2], counts[1:]])
    centres = (edges[:-1] + edges[1:]) / 2
    best, best_divergence = (low, high), np.inf
    for share in np.linspace(0.1, 1, 100):
        inside = (centres >= low * share) & (centres <= high * share)
        first, last = np.flatnonzero(inside)[[0, -1]]
        reference = counts[first : last + 1].astype(np.float64)
        occupied = reference > 0
        reference[0] += counts[:first].sum()
        reference[-1] += counts[last + 1 :].sum()
        level = np.floor(np.arange(last - first + 1) * (LEVELS + 1) / (last - first + 1)).astype(int)
        mass = np.bincount(level, weights=counts[first : last + 1], minlength=LEVELS + 1)
        bins = np.bincount(level, weights=occupied, minlength=LEVELS + 1)
        candidate = np.where(occupied, (mass / np.maximum(bins, 1))[level], 0)
        total = divergence(reference / reference.sum(), candidate / max(candidate.sum(), 1e-12))
        if total < best_divergence:
            best, best_divergence = (float(edges[first]), float(edges[last + 1])), total
    return best


def activation_parameters(measured, method, percentile):
    """Scale and zero point of uint8 values for a measured histogram; zero is always exact, as padding needs it."""
    counts = np.array(measured["counts"], dtype=np.int64)
    edges = np.linspace(measured["min"], measured["max"], len(counts) + 1)
    if method == "minmax":
        low, high = float(edges[0]), float(edges[-1])
    elif method == "percentile":
        low, high = clip_percentile(counts, edges, percentile)
    else:
        low, high = clip_entropy(counts, edges)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-8) / LEVELS
    return np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, LEVELS))


def weight_parameters(weights, levels=WEIGHT_LEVEL):
    """Symmetric int8 weights with one scale per output channel (the first axis)."""
    flat = np.abs(weights.reshape(weights.shape[0], -1)).max(axis=1)
    scales = (np.maximum(flat, 1e-8) / levels).astype(np.float32)
    shape = (-1,) + (1,) * (weights.ndim - 1)
    return scales, np.clip(np.rint(weights / scales.reshape(shape)), -levels, levels).astype(np.int8)


class StaticQuantiser:
    def __init__(self, graph, parameters):
        self.graph = graph
        self.parameters = parameters
        self.rounded = {}

    def round_tensor(self, name, after):
        """Puts a quantise-dequantise pair behind a tensor; answers the name of what comes out."""
        if name in self.rounded:
            return self.rounded[name]
        scale, zero = self.parameters_of(name)
        scale_name = self.graph.add_weight(f"{name}_scale", scale)
        zero_name = self.graph.add_weight(f"{name}_zero_point", zero)
        nodes = [
            helper.make_node("QuantizeLinear", [name, scale_name, zero_name], [f"{name}_q"], f"{name}_quantise"),
            helper.make_node(
                "DequantizeLinear", [f"{name}_q", scale_name, zero_name], [f"{name}_dq"], f"{name}_dequantise"
            ),
        ]
        for offset, node in enumerate(nodes):
            self.graph.place(node, after + offset)
        self.rounded[name] = f"{name}_dq"
        return f"{name}_dq"

    def parameters_of(self, name):
        """Of a tensor of the rewritten graph: rearranged values keep the scale that they were rounded with."""
        name = same_values(self.graph, name)
        while name.endswith("_dq"):
            name = same_values(self.graph, name.removesuffix("_dq"))
        return self.parameters[name]

    def convolution(self, node, levels):
        source = node.input[0]
        out = output_tensor(self.graph, node)
        if not source.endswith("_dq"):
            node.input[0] = self.round_tensor(source, self.graph.index_of(node))
        scales, weights = weight_parameters(self.graph.array(node.input[1]), levels)
        input_scale, _ = self.parameters_of(node.input[0])
        self.constant(node, 1, weights, scales)
        if len(node.input) > 2:
            bias_scales = (scales * input_scale).astype(np.float32)
            bias = np.rint(self.graph.array(node.input[2]) / bias_scales)
            limit = np.iinfo(np.int32)
            self.constant(node, 2, np.clip(bias, limit.min, limit.max).astype(np.int32), bias_scales)
        last = self.graph.producer(out)
        readers = self.graph.consumers(out)
        replaced = self.round_tensor(out, self.graph.index_of(last) + 1)
        for reader in readers:
            for i, name in enumerate(reader.input):
                if name == out:
                    reader.input[i] = replaced

    def constant(self, node, index, values, scales):
        name = f"{node.name}_{index}"
        names = [
            self.graph.add_weight(f"{name}_q", values),
            self.graph.add_weight(f"{name}_scale", scales),
            self.graph.add_weight(f"{name}_zero_point", np.zeros(len(scales), values.dtype)),
        ]
        out = f"{name}_dq"
        dequantise = helper.make_node("DequantizeLinear", names, [out], f"{name}_dequantise", axis=0)
        self.graph.place(dequantise, self.graph.index_of(node))
        node.input[index] = out


def static(args):
    model = onnx.load(args.model)
    graph = Graph(model)
    only = HEAVY if args.heavy else args.only
    nodes = chosen_nodes(graph, ("Conv",), only, args.skip)
    with open(args.activations, encoding="utf8") as file:
        measured = json.load(file)["tensors"]
    needed = rounded_tensors(graph, nodes)
    missing = [name for name in needed if name not in measured]
    if missing:
        fail(f"the activations lack {', '.join(missing)}: measure them on what `observe` wrote for this model")
    parameters = {name: activation_parameters(measured[name], args.method, args.percentile) for name in needed}
    quantiser = StaticQuantiser(graph, parameters)
    for node in nodes:
        quantiser.convolution(node, 63 if args.reduce_range else WEIGHT_LEVEL)
    save(graph, args.out)
    print(f"{len(nodes)} convolutions in int8, {len(needed)} activations in uint8 ({args.method})")


def dynamic(args):
    model = onnx.load(args.model)
    graph = Graph(model)
    op_types = ("MatMul", "Gemm", "Conv") if args.convolutions else ("MatMul", "Gemm")
    nodes = chosen_nodes(graph, op_types, args.only, args.skip)
    for node in nodes:
        dynamic_node(graph, node)
    save(graph, args.out)
    print(f"{len(nodes)} layers with int8 weights and inputs rounded as they come")


def dynamic_node(graph, node):
    """Input -> uint8 with its own range, integer product with int32 sums, back to float with both scales, bias."""
    at = graph.index_of(node)
    name = node.name
    convolution = node.op_type == "Conv"
    weights = graph.array(node.input[1])
    if node.op_type == "Gemm" and not attribute(node, "transB", 0):
        weights = weights.T
    if node.op_type == "MatMul":
        weights = weights.T
    # The first axis is the output channel now, whatever the operator.
    if convolution:
        # onnxruntime's ConvInteger takes one zero point and one scale for all weights.
        largest = np.float32(max(np.abs(weights).max(), 1e-8))
        scales = np.array([largest / WEIGHT_LEVEL], np.float32)
        integers = np.clip(np.rint(weights / scales[0]), -WEIGHT_LEVEL, WEIGHT_LEVEL).astype(np.int8)
        # ConvInteger on the processor takes uint8 weights with a zero point only.
        weight_name = graph.add_weight(f"{name}_1_q", (integers.astype(np.int16) + 128).astype(np.uint8))
        zero_name = graph.add_weight(f"{name}_1_zero_point", np.uint8(128))
    else:
        scales, integers = weight_parameters(weights)
        weight_name = graph.add_weight(f"{name}_1_q", integers.T)
        zero_name = graph.add_weight(f"{name}_1_zero_point", np.int8(0))
    scale_name = graph.add_weight(f"{name}_1_scale", scales)
    nodes = [
        helper.make_node(
            "DynamicQuantizeLinear", [node.input[0]], [f"{name}_x", f"{name}_x_scale", f"{name}_x_zero"], f"{name}_round"
        )
    ]
    inputs = [f"{name}_x", weight_name, f"{name}_x_zero", zero_name]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute} if convolution else {}
    nodes.append(
        helper.make_node(
            "ConvInteger" if convolution else "MatMulInteger", inputs, [f"{name}_sums"], f"{name}_integer", **attributes
        )
    )
    nodes.append(helper.make_node("Cast", [f"{name}_sums"], [f"{name}_floats"], f"{name}_cast", to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Mul", [f"{name}_x_scale", scale_name], [f"{name}_scales"], f"{name}_scale"))
    has_bias = len(node.input) > 2
    product = f"{name}_product" if has_bias else node.output[0]
    nodes.append(helper.make_node("Mul", [f"{name}_floats", f"{name}_scales"], [product], f"{name}_scaled"))
    if has_bias:
        bias = graph.array(node.input[2])
        shape = (1, -1) + (1,) * (weights.ndim - 2) if convolution else (1, -1)
        bias_name = graph.add_weight(f"{name}_bias", bias.reshape(shape))
        nodes.append(helper.make_node("Add", [product, bias_name], [node.output[0]], f"{name}_biased"))
    graph.graph.node.remove(node)
    for offset, new in enumerate(nodes):
        graph.place(new, at + offset)


def attribute(node, name, default):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def save(graph, path):
    graph.drop_unused_weights()
    onnx.checker.check_model(graph.model)
    onnx.save(graph.model, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)

    verb = verbs.add_parser("observe", help="make the activations outputs of the graph")
    verb.add_argument("model")
    verb.add_argument("out")
    verb.set_defaults(run=observe)

    verb = verbs.add_parser("static", help="int8 weights, uint8 activations of measured range")
    verb.add_argument("model")
    verb.add_argument("activations", help="what scripts/measure-activations.ts wrote")
    verb.add_argument("out")
    verb.add_argument("--method", choices=["minmax", "percentile", "entropy"], default="minmax")
    verb.add_argument("--percentile", type=float, default=99.99, help="values inside the range (default: 99.99)")
    verb.add_argument("--only", help="regular expression of node names to quantise")
    verb.add_argument("--heavy", action="store_true", help=f"only the large convolutions: --only '{HEAVY}'")
    verb.add_argument("--skip", default=DEFAULT_SKIP, help=f"node names to leave float32 (default: '{DEFAULT_SKIP}')")
    verb.add_argument(
        "--reduce-range", action="store_true", help="7-bit weights: exact sums on processors without VNNI instructions"
    )
    verb.set_defaults(run=static)

    verb = verbs.add_parser("dynamic", help="int8 weights of dense layers, inputs rounded as they come")
    verb.add_argument("model")
    verb.add_argument("out")
    verb.add_argument("--convolutions", action="store_true", help="convolutions too")
    verb.add_argument("--only", help="regular expression of node names to quantise")
    verb.add_argument("--skip", help="regular expression of node names to leave float32")
    verb.set_defaults(run=dynamic)

    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
