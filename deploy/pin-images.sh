#!/bin/sh
# Writes the images that Compose uses, each with the digest that its registry gives for it, into .env
# or the file that is named: the same files from then on, whatever the tag comes to mean. Run it again
# to take what the tags mean now. The images and their tags are those in .env.example.
set -eu
file=${1:-.env}
images=$(sed -n 's/^#\(RECLM_[A-Z]*_IMAGE\)=\(.*\)$/\1 \2/p' "$(dirname "$0")/../.env.example")
new=$file.new
trap 'rm -f "$new"' EXIT
{ [ ! -e "$file" ] || grep -v '^RECLM_[A-Z]*_IMAGE=' "$file" || true; } > "$new"
echo "$images" | while read -r name image; do
  docker pull --quiet "$image" > /dev/null
  digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" \
    | sed -n 's/.*@//p' | head -n 1)
  if [ -z "$digest" ]; then
    echo "error: $image has no digest: it comes from no registry" >&2
    exit 1
  fi
  echo "$name=$image@$digest" >> "$new"
  echo "$image@$digest" >&2
done
mv "$new" "$file"
