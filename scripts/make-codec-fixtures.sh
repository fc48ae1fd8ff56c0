#!/usr/bin/env bash
# Makes the small recordings of tests/fixtures/codecs: 1.5 s of pure tones in every format the decoder tests need.
# The tests read the committed files; this script, and ffmpeg with it, is only needed to change them.
#   mono: 440 Hz        stereo: left 440 Hz, right 1000 Hz        amplitude 0.5
set -euo pipefail
out="$(cd "$(dirname "$0")/.." && pwd)/tests/fixtures/codecs"
mkdir -p "$out"

encode() { # source channels-expression, sample rate, ffmpeg output options..., file name
  local source="$1" rate="$2"
  shift 2
  local file="${*: -1}"
  ffmpeg -v error -y -f lavfi -i "aevalsrc=${source}:s=${rate}:d=1.5" -map_metadata -1 -bitexact "${@:1:$#-1}" "$out/$file"
}

mono='0.5*sin(2*PI*440*t)'
stereo='0.5*sin(2*PI*440*t)|0.5*sin(2*PI*1000*t)'

encode "$mono" 16000 -c:a libmp3lame -b:a 32k mono.mp3
encode "$stereo" 44100 -c:a libmp3lame -b:a 64k -joint_stereo 0 stereo.mp3
encode "$mono" 8000 -c:a flac -sample_fmt s16 mono.flac
encode "$stereo" 8000 -c:a flac -sample_fmt s32 -bits_per_raw_sample 24 stereo-24bit.flac
encode "$mono" 16000 -c:a flac -sample_fmt s16 -f ogg mono.oga
encode "$mono" 16000 -c:a libvorbis -q:a 1 mono-vorbis.ogg
encode "$stereo" 44100 -c:a libvorbis -q:a 1 stereo-vorbis.ogg
encode "$mono" 48000 -c:a libopus -b:a 24k mono-opus.ogg
encode "$stereo" 48000 -c:a libopus -b:a 48k stereo-opus.ogg
encode "$mono" 48000 -c:a libopus -b:a 16k -frame_duration 120 long-packets-opus.ogg
encode "$mono" 48000 -c:a libopus -b:a 24k mono.webm
encode "$mono" 16000 -c:a libvorbis -q:a 1 mono-vorbis.webm
encode "$mono" 16000 -c:a aac -b:a 32k mono.m4a
encode "$mono" 16000 -c:a aac -b:a 32k mono.aac
ls -l "$out"
