"""Writes a network small enough for a test, with the parts that scripts/quantise-model.py looks for: a front end that ends
in a logarithm, convolutions with and without a rectifier, a gate per channel, pooling and a dense layer.
Usage: toy-network.py <out.onnx>"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

weights = {}


def weight(name, *shape, scale=1.0):
    size = int(np.prod(shape))
    weights[name] = (scale * np.sin(np.arange(1, size + 1) * (len(weights) + 1.7))).reshape(shape).astype(np.float32)
    return name


def constant(name, values, kind=np.int64):
    weights[name] = np.array(values, kind)
    return name


nodes = [
    helper.make_node("Unsqueeze", ["waveform", constant("axis", [1])], ["rows"], "/rows"),
    helper.make_node("Conv", ["rows", weight("front", 8, 1, 32)], ["bands"], "/front/Conv", strides=[16]),
    helper.make_node("Mul", ["bands", "bands"], ["power"], "/power"),
    helper.make_node("Add", ["power", constant("floor", 1e-3, np.float32)], ["floored"], "/floored"),
    helper.make_node("Log", ["floored"], ["log"], "/log"),
    helper.make_node(
        "Conv", ["log", weight("c", 16, 8, 3, scale=0.2), weight("cb", 16)], ["c_out"], "/net/c/Conv", pads=[1, 1]
    ),
    helper.make_node("Relu", ["c_out"], ["c_relu"], "/net/c/Relu"),
    helper.make_node("Conv", ["c_relu", weight("m", 16, 16, 1, scale=0.2), weight("mb", 16)], ["m_out"], "/net/m/Conv"),
    helper.make_node("ReduceMean", ["m_out"], ["squeezed"], "/net/se/ReduceMean", axes=[2], keepdims=1),
    helper.make_node("Conv", ["squeezed", weight("se", 16, 16, 1, scale=0.1)], ["se_out"], "/net/se/Conv"),
    helper.make_node("Sigmoid", ["se_out"], ["gate"], "/net/se/Sigmoid"),
    helper.make_node("Mul", ["m_out", "gate"], ["gated"], "/net/gated"),
    helper.make_node("ReduceMean", ["gated"], ["pooled"], "/net/pool", axes=[2], keepdims=0),
    helper.make_node("Gemm", ["pooled", weight("fc", 8, 16), weight("fcb", 8)], ["embedding"], "/net/fc/Gemm", transB=1),
]
graph = helper.make_graph(
    nodes,
    "toy",
    [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
    [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 8])],
    [numpy_helper.from_array(array, name) for name, array in weights.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
onnx.checker.check_model(model)
onnx.save(model, sys.argv[1])
