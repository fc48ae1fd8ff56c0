"""ONNX models in onnxruntime for Node, the service's own runtime: Python needs no onnxruntime of its own."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx.utils

from .frontend import BANDS

_RUNNER = Path(__file__).parent.parent / "scripts" / "run-onnx.mjs"


class Session:
    """A model in a process of its own, which answers one input after another until the session is closed; for `with`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.complaints = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["node", str(_RUNNER), str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints)

    def run(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The model's outputs by name, flat. Raises RuntimeError with what the process had to say when there is no answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(struct.pack(f"<{1 + values.ndim}I", values.ndim, *values.shape) + values.astype("<f4").tobytes())
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.complaints.seek(0)
            raise RuntimeError(f"onnxruntime does not run {self.file}: {self.complaints.read().decode(errors='replace').strip()}")
        return {name: np.array(numbers, np.float32) for name, numbers in json.loads(line).items()}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()
        self.complaints.close()


def behind_mel_filters(file: Path) -> onnx.ModelProto:
    """The part of a speaker model that takes mel power [1, BANDS, frames]. Raises ValueError for one that training.export did not write."""
    model = onnx.load(str(file))
    filters = next((node for node in model.graph.node if node.op_type == "Conv" and node.input[1] == "filters"), None)
    if filters is None or [output.name for output in model.graph.output] != ["embedding"]:
        raise ValueError(f"{file} is no speaker model of training.export: its mel filters were not found.")
    part = onnx.utils.Extractor(model).extract_model([filters.output[0]], ["embedding"])
    part.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(filters.output[0], onnx.TensorProto.FLOAT, [1, BANDS, "frames"]))
    return part


@contextlib.contextmanager
def mel_session(file: Path) -> Iterator[Session]:
    """A session of the part of a speaker model behind its mel filters, as `behind_mel_filters` cuts it."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / file.name
        onnx.save(behind_mel_filters(file), str(part))
        with Session(part) as session:
            yield session
