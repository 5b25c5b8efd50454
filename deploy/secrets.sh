#!/bin/sh
# Makes the passwords and keys that docker-compose.yml reads, unless they are there: random ones,
# into deploy/secrets or the folder that is named. docs/how-to/operations.md says how to change them.
set -eu
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

make() { # a file, its lines
  [ -e "$folder/$1" ] && return
  file=$folder/$1
  shift
  printf '%s\n' "$@" > "$file.new"
  # Containers read it as other users than root; the folder keeps other users out.
  chmod 644 "$file.new"
  mv "$file.new" "$file"
  echo "$file" >&2
}

make redis_password "$(random)"
make api_keys "$(random)"
make vllm_key "$(random)"
make metrics_key "$(random)"
make admin_keys "$(random)" "$(cat "$folder/metrics_key")"
make grafana_password "$(random)"
