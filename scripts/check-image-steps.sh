#!/usr/bin/env bash
# Builds what the Dockerfile builds, without Docker, and runs it the way the image would: reads COPY, RUN and CMD from the
# Dockerfile itself, follows them in an empty folder with the files that git knows, starts the result as an unprivileged
# user with production settings, enrolls and verifies a speaker, stops it with SIGTERM and expects exit code 0.
# Steps that need a real image (apt-get in the last stage) are named and left out.
#
#   scripts/check-image-steps.sh            needs node, npm, git; run as root it also tries the change of user
#   KEEP=1 scripts/check-image-steps.sh     leaves the folder for a look
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/image-steps.XXXXXX")
server=
cleanup() {
  if [ -n "$server" ]; then kill -KILL "$server" 2>/dev/null || true; fi
  if [ -z "${KEEP:-}" ]; then rm -rf "$work"; else echo "kept: $work"; fi
}
trap cleanup EXIT
fail() {
  echo "FAILED: $1" >&2
  for log in "$work"/server.out "$work"/server.err; do if [ -s "$log" ]; then tail -n 20 "$log" >&2; fi; done
  exit 1
}
say() { printf '== %s\n' "$*"; }

# ---- the build context: files that git knows, as they are now, less what .dockerignore keeps out ----
context=$work/context
mkdir "$context"
git -C "$repository" ls-files --cached --others --exclude-standard -z |
  while IFS= read -r -d '' file; do if [ -e "$repository/$file" ]; then printf '%s\0' "$file"; fi; done |
  tar --create --directory "$repository" --null --files-from - | tar --extract --directory "$context"

allowed() { # does a `!` line of .dockerignore (which starts by ignoring everything) name this source or a parent of it?
  local source=${1%/} line
  while IFS= read -r line; do
    case "$source/" in "${line#!}"/*) return 0 ;; esac
  done < <(grep '^!' "$repository/.dockerignore")
  return 1
}

# ---- the Dockerfile ----
say "node $(node --version), npm $(npm --version 2>/dev/null)"
stage="" folder="" user="" entrypoint="" command=""
declare -A stage_environment=()
run_step() {
  if [ "$stage" != build ]; then
    say "left out, needs an image: RUN ${1:0:60} ..."
    return
  fi
  say "RUN $1"
  (cd "$folder" && env NODE_ENV= npm_config_prefer_offline=true npm_config_update_notifier=false sh -euc "$1") ||
    fail "RUN $1"
}
copy_step() {
  local from=$context arguments=() source target
  for argument in $1; do
    case $argument in
      --from=*) from=$work/stages/${argument#--from=} ;;
      --*) ;;
      *) arguments+=("$argument") ;;
    esac
  done
  target=${arguments[-1]}
  unset 'arguments[-1]'
  case $target in /*) target=$work/stages/$stage$target ;; *) target=$folder/$target ;; esac
  for source in "${arguments[@]}"; do
    if [ "$from" = "$context" ]; then allowed "$source" || fail ".dockerignore keeps out $source"; fi
    [ -e "$from/$source" ] || fail "COPY: there is no $source"
    mkdir -p "$target"
    # Like Docker: of a folder, the content is copied.
    if [ -d "$from/$source" ]; then cp -R "$from/$source/." "$target"; else cp "$from/$source" "$target"; fi
  done
}
json_words() { node -e 'for (const word of JSON.parse(process.argv[1])) console.log(word)' "$1"; }

while IFS= read -r instruction; do
  keyword=${instruction%% *}
  rest=${instruction#* }
  case $keyword in
    FROM)
      stage=${rest##* AS }
      folder=$work/stages/$stage
      mkdir -p "$folder"
      stage_environment=()
      ;;
    WORKDIR)
      folder=$work/stages/$stage$rest
      mkdir -p "$folder"
      ;;
    ENV) for pair in $rest; do stage_environment[${pair%%=*}]=${pair#*=}; done ;;
    COPY) copy_step "$rest" ;;
    RUN) run_step "$rest" ;;
    USER) user=$rest ;;
    ENTRYPOINT) entrypoint=$rest ;;
    CMD) command=$rest ;;
    ARG | EXPOSE | HEALTHCHECK) ;;
    *) fail "the Dockerfile has $keyword, which this script does not know" ;;
  esac
done < <(sed -e '/^[[:space:]]*#/d' "$repository/Dockerfile" | awk '
  { line = line $0; if (sub(/\\$/, "", line)) next; gsub(/[[:space:]]+/, " ", line); if (line != "" && line != " ") print line; line = "" }')

tree=$folder
case $user in '' | root | 0*) fail "the image would run as root" ;; esac

# ---- what must not be in there ----
for tool in typescript vitest @biomejs/biome esbuild; do
  [ ! -e "$tree/node_modules/$tool" ] || fail "$tool is a tool for development"
done
foreign=$(find "$tree/node_modules" \( -name '*.dll' -o -name '*.dylib' -o -name '*providers_cuda*' \) -print)
[ -z "$foreign" ] || fail "foreign binaries: $foreign"
[ "$(find "$tree/node_modules/onnxruntime-node/bin" -name '*.node' | wc -l)" = 1 ] || fail "not exactly one binding"
for name in .env data .git tests; do [ ! -e "$tree/$name" ] || fail "$name does not belong into an image"; done

say "sizes"
{ du -sh "$tree"/*/ && du -sh "$tree"; } | sed "s#$tree#/app#"

# ---- run it ----
say "start"
words=()
while IFS= read -r word; do words+=("${word/#\/app\//$tree/}"); done < <(json_words "$entrypoint" && json_words "$command")
# An init process is a matter of the image.
if [ "${words[0]}" = tini ]; then words=("${words[@]:2}"); fi

data=$work/data
mkdir "$data"
chmod 700 "$data"
chmod 755 "$work"
key_json=$(node "$tree/dist/cli/main.js" keys create --id check --scope admin --json)
api_key=$(node -p 'JSON.parse(process.argv[1]).key' "$key_json")
webhook_secret=webhook-secret-of-the-check
settings=(PATH="$PATH" HOME=/nonexistent TMPDIR=/tmp)
for name in "${!stage_environment[@]}"; do settings+=("$name=${stage_environment[$name]}"); done
settings+=(DATA_DIR="$data" PORT=0 HOST=127.0.0.1 API_KEYS="$(node -p 'JSON.parse(process.argv[1]).entry' "$key_json")")
settings+=(VAPI_WEBHOOK_SECRET="$webhook_secret" PUBLIC_URL=https://auth.example.com)
# As root, the entry point has to hand the data folder over and to change the user.
if [ "$(id -u)" = 0 ]; then settings+=(SERVICE_USER=nobody); fi

(cd "$tree" && exec env -i "${settings[@]}" "${words[@]}") >"$work/server.out" 2>"$work/server.err" &
server=$!
port=
for _ in $(seq 300); do
  kill -0 "$server" 2>/dev/null || fail "the server ended at once"
  port=$(sed -n 's/.*"event":"listening","port":\([0-9]*\).*/\1/p' "$work/server.out")
  if [ -n "$port" ] && node -e 'fetch(process.argv[1]).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))' \
    "http://127.0.0.1:$port/readyz"; then break; fi
  port=
  sleep 0.2
done
[ -n "$port" ] || fail "not ready within a minute"
PORT=$port node "$tree/deploy/healthcheck.mjs" || fail "the health check says unhealthy"
PORT=1 node "$tree/deploy/healthcheck.mjs" && fail "the health check finds health where nothing listens"

owner=$(ps -o uid= -p "$server" | tr -d ' ')
[ "$owner" != 0 ] || fail "the server runs as root"
say "ready as uid $owner, $(ps -o rss= -p "$server" | awk '{ print int($1 / 1024) }') MB in the server process"

cli() {
  VOICE_AUTH_URL=http://127.0.0.1:$port VOICE_AUTH_API_KEY=$api_key node "$tree/dist/cli/main.js" "$@"
}
webhook() { # the status of the answer to a webhook with this secret
  node -e 'const [url, secret] = process.argv.slice(1);
    fetch(url, { method: "POST", headers: { "x-vapi-secret": secret }, body: JSON.stringify({ message: { type: "hang" } }) })
      .then(({ status }) => console.log(status))' "http://127.0.0.1:$port/vapi/webhook" "$1"
}
[ "$(webhook another-secret)" = 401 ] || fail "a webhook with another secret is not refused"
[ "$(webhook "$webhook_secret")" = 200 ] || fail "a webhook with the secret is refused"
voices=$repository/tests/fixtures/voices
person=00000000-0000-4000-8000-000000000001
cli enroll -u "$person" -f "$voices/alice-enroll.wav" || fail "enroll"
cli verify -u "$person" -f "$voices/alice-call-1.wav" || fail "the speaker is not accepted"
cli simulate-call --platform telnyx -u "$person" -c "$voices/alice-call-1.wav" || fail "a streamed call is not accepted"
cli verify -u "$person" -f "$voices/bob-call-1.wav" && fail "another speaker is accepted"
VOICE_AUTH_URL=http://127.0.0.1:$port VOICE_AUTH_API_KEY=wrong node "$tree/dist/cli/main.js" history -u "$person" \
  2>/dev/null && fail "a wrong API key is accepted"

children=$(ps -o pid= --ppid "$server")
say "SIGTERM"
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ "$status" = 0 ] || fail "exit code $status after SIGTERM"
grep -q '"event":"stopped"' "$work/server.out" || fail "no orderly stop"
grep -qF "$api_key" "$work/server.out" "$work/server.err" && fail "the API key is in the log"
for child in $children; do
  [ ! -e "/tmp/mat-debug-$child.log" ] || fail "onnxruntime's telemetry runs in process $child"
done
say "ok: exit code 0"
