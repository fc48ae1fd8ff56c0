#!/usr/bin/env bash
# Makes the demo and test voices: four espeak-ng speakers reading sentences of our own, through a telephone channel
# (300-3400 Hz, 8 kHz, G.711 mu-law), plus the "agent" of a call. Needs espeak-ng and sox. Output: tests/fixtures/voices/.
set -euo pipefail
cd "$(dirname "$0")/.."
out=tests/fixtures/voices
mkdir -p "$out"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# say NAME VOICE PITCH SPEED TEXT
say() {
  espeak-ng -v "$2" -p "$3" -s "$4" -w "$tmp/raw.wav" "$5"
  # Line noise at about -60 dBFS keeps the silence between words from being digital.
  sox -R "$tmp/raw.wav" -r 8000 -c 1 -b 16 "$tmp/band.wav" norm -6 sinc 300-3400 pad 0.3 0.3
  sox -R -n -r 8000 -c 1 -b 16 "$tmp/noise.wav" synth "$(soxi -D "$tmp/band.wav")" pinknoise vol 0.002
  sox -R -m "$tmp/band.wav" "$tmp/noise.wav" -e mu-law -b 8 "$out/$1.wav"
}

enroll_text="Good morning, I would like to set up my account for phone banking. My voice will be used when I call again. The weather is \
fine today and the garden is full of yellow flowers. Please read the terms to me once more before we go on."
first_call="Hello, I am calling about the last invoice. It seems that the amount is wrong, and I would like to have somebody look into it. \
I have the letter here in front of me."
second_call="Hi there. Could you tell me whether my parcel has left the warehouse? I ordered two lamps and a small table last week, and \
nobody has come to the door so far."

say alice-enroll en-us+f2 62 150 "$enroll_text"
say alice-call-1 en-us+f2 62 150 "$first_call"
say alice-call-2 en-us+f2 62 155 "$second_call"
say bob-enroll en-us+m3 38 155 "$enroll_text"
say bob-call-1 en-us+m3 38 155 "$first_call"
say bob-call-2 en-us+m3 38 150 "$second_call"
say carol-enroll en-us+f5 80 155 "$enroll_text"
say carol-call-1 en-us+f5 80 155 "$first_call"
say dave-enroll en-us+klatt4 60 150 "$enroll_text"
say dave-call-1 en-us+klatt4 60 150 "$first_call"
say agent en-us+m1 50 160 "Thank you for calling. How can I help you today? Please tell me your name and what this is about. One moment, \
I am looking that up for you. Is there anything else that I should know?"
ls -l "$out"
