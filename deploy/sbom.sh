#!/bin/sh
# Lists what is installed in .venv, and for vLLM where that has an environment, as CycloneDX 1.6 with
# licences, into a folder. cyclonedx-py checks each file against the schema of the format. Hashes of what
# was installed are in requirements.lock and deploy/vllm. cyclonedx-py has an environment of its own in build.
# Usage: deploy/sbom.sh FOLDER
set -eu
cd "$(dirname "$0")/.."
mkdir -p "$1"

tool=build/sbom-env
if ! cmp -s deploy/sbom.txt "$tool/made-from"; then
  rm -rf "$tool"
  .venv/bin/python -m venv "$tool"
  "$tool/bin/python" -m pip --quiet --disable-pip-version-check install --no-compile --no-deps \
    --require-hashes -r deploy/sbom.txt
  cp deploy/sbom.txt "$tool/made-from"
fi

list() { # a file's name, an interpreter, more options
  name=$1
  python=$2
  shift 2
  "$tool/bin/cyclonedx-py" environment --spec-version 1.6 --output-format JSON --output-reproducible \
    --validate --output-file "$folder/$name" "$@" "$python"
}

folder=$1
list sbom.json .venv/bin/python --pyproject pyproject.toml
vllm="${RECLM_HOME:-.reclm}/envs/vllm-cpu/bin/python"
if [ -x "$vllm" ]; then
  list sbom-vllm.json "$vllm"
fi
