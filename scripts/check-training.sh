#!/usr/bin/env bash
# Checks the training recipe as a newcomer would run it: its unit tests and its quick mode, which trains a tiny network on synthetic
# voices and fails when it has not learned. Installs what is missing from Debian when run as root.
set -euo pipefail
cd "$(dirname "$0")/.."
python=/usr/bin/python3
if ! "$python" -c 'import numpy, onnx, scipy, torch' 2>/dev/null || ! command -v espeak-ng >/dev/null || ! command -v ffmpeg >/dev/null; then
  [ "$(id -u)" -eq 0 ] || { echo 'Needed from Debian: python3-torch python3-scipy python3-onnx espeak-ng ffmpeg' >&2; exit 1; }
  apt-get update -q >/dev/null
  apt-get install -y -q --no-install-recommends python3-torch python3-numpy python3-scipy python3-onnx espeak-ng ffmpeg >/dev/null
fi
export PYTHONDONTWRITEBYTECODE=1
"$python" -W ignore::UserWarning -m unittest discover --start-directory training/tests --top-level-directory .
"$python" -W ignore::UserWarning -m training --smoke
