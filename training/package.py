"""Trained networks as a model package of the service: model.onnx, speech.onnx and manifest.json; cohort and calibration are made by its tools.

    python3 -m training.package <folder>

writes sizes and checksums of the networks that are in a package into its manifest, after one was replaced by another (quantised, trained again).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

from .networks import EMBEDDING_SIZE

TRAINING_DATA = (
    ("speechocean762", "CC-BY-4.0"),
    ("LibriSpeech, part of train-clean-100", "CC-BY-4.0"),
    ("Speech Commands v0.02, test set", "CC-BY-4.0"),
    ("DSPSpeech-20", "MIT"),
)


OTHER_NETWORK = "The error rates were measured with the network that was here before model.onnx was replaced."


def write_package(model: Path, speech: Path, folder: Path, command: str, rates: dict[str, dict[str, float]]) -> None:
    """Writes `folder`, named after the model's id, with its speaker network and speech detector. `rates`: equal error rates by data and probe, as the
    recipe measured them with `command`."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "formatVersion": 1,
        "id": folder.name,
        "embeddingSize": EMBEDDING_SIZE,
        "sampleRateHz": 16000,
        "input": {"kind": "waveform", "tensor": "waveform"},
        "output": {"tensor": "embedding"},
        "window": {"minMs": 1500, "preferredMs": 10000},
        "model": _take(model, folder / "model.onnx"),
        "speechDetector": _take(speech, folder / "speech.onnx"),
        "cohort": None,
        "licence": "MIT",
        "trainingData": [{"name": name, "licence": licence} for name, licence in TRAINING_DATA],
        "errorRates": [
            {"data": data, "probe": probe, "equalErrorRate": round(rate, 4), "command": command}
            for data, probes in rates.items()
            for probe, rate in probes.items()
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _take(file: Path, place: Path) -> dict[str, str | int]:
    if file.resolve() != place.resolve():
        shutil.copyfile(file, place)
    content = place.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def refresh(folder: Path) -> list[str]:
    """Brings a package's manifest up to its networks; names of the files that had changed, speech.onnx also when it is gone. With another speaker network
    the cohort must be made anew and the error rates are not its own, and the manifest says both. Raises FileNotFoundError where there is no package."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    changed = []
    for field, name in (("model", "model.onnx"), ("speechDetector", "speech.onnx")):
        optional = name == "speech.onnx" and not (folder / name).exists()
        found = None if optional else _take(folder / name, folder / name)
        if manifest.get(field) != found:
            manifest[field] = found
            changed.append(name)
    if manifest.get("speechDetector") is None:
        manifest.pop("speechDetector", None)
    if "model.onnx" in changed:
        manifest["cohort"] = None
        if manifest["errorRates"]:
            manifest["unverified"] = sorted({*manifest.get("unverified", []), OTHER_NETWORK})
    file.write_text(json.dumps(manifest, indent=2) + "\n")
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="model package")
    changed = refresh(parser.parse_args().folder)
    print(f"changed: {', '.join(changed)}" if changed else "nothing has changed")
    if "model.onnx" in changed:
        print("Now make the cohort (voice-auth cohort) and the calibration (voice-auth calibrate) of the package anew.")
    elif changed:
        print("Now make the cohort and the calibration anew, which heard speech through the other detector (voice-auth cohort, voice-auth calibrate).")


if __name__ == "__main__":
    main()
