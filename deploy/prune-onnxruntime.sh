#!/bin/sh
# onnxruntime-node carries binaries for every platform (288 MB). This keeps the ones of the platform that will run them,
# and deletes provider libraries for GPUs if an install script fetched any.
#
#   deploy/prune-onnxruntime.sh [node_modules]     TARGETARCH (amd64, arm64) when building for another machine
set -eu

modules=${1:-node_modules}
case "${TARGETARCH:-$(uname -m)}" in
  amd64 | x86_64) architecture=x64 ;;
  arm64 | aarch64) architecture=arm64 ;;
  *)
    echo "prune-onnxruntime: there is no binary for ${TARGETARCH:-$(uname -m)}" >&2
    exit 1
    ;;
esac

found=no
for binaries in "$modules"/onnxruntime-node/bin/napi-v*; do
  keep=$binaries/linux/$architecture
  if [ ! -f "$keep/onnxruntime_binding.node" ]; then continue; fi
  found=yes
  for folder in "$binaries"/*/*; do
    if [ "$folder" != "$keep" ]; then rm -rf "$folder"; fi
  done
  rm -f "$keep"/*providers_cuda* "$keep"/*providers_tensorrt* "$keep"/*providers_webgpu*
  find "$binaries" -type d -empty -delete
done
if [ "$found" = no ]; then
  echo "prune-onnxruntime: no linux/$architecture binary in $modules/onnxruntime-node: has its layout changed?" >&2
  exit 1
fi
du -sh "$modules/onnxruntime-node"
