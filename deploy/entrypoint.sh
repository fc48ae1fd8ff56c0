#!/bin/sh
# Entry of the image. It normally runs as the image's unprivileged user and changes nothing. Some platforms mount volumes
# that belong to root and offer to start the container as root instead (Railway: RAILWAY_RUN_UID=0): then the data folder
# is handed to the unprivileged user, and the service runs as that user, never as root.
set -eu

user=${SERVICE_USER:-node}
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$DATA_DIR"
  if [ "$(stat -c %U "$DATA_DIR")" != "$user" ]; then chown -R "$user" "$DATA_DIR"; fi
  HOME=$(getent passwd "$user" | cut -d: -f6)
  export HOME
  exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups --no-new-privs "$@"
fi
exec "$@"
