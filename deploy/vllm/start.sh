#!/bin/sh
# Starts vLLM with the key in the file that RECLM_VLLM_API_KEY_FILE names, which nothing that lists
# processes or containers shows. Adapters can be loaded at run time only by who has the key.
set -eu
if [ -n "${RECLM_VLLM_API_KEY_FILE:-}" ]; then
  VLLM_API_KEY=$(cat "$RECLM_VLLM_API_KEY_FILE")
  export VLLM_API_KEY
fi
if [ -n "${VLLM_ALLOW_RUNTIME_LORA_UPDATING:-}" ] && [ -z "${VLLM_API_KEY:-}" ]; then
  echo "error: VLLM_ALLOW_RUNTIME_LORA_UPDATING needs a key: set RECLM_VLLM_API_KEY_FILE" >&2
  exit 2
fi
exec python3 -m vllm.entrypoints.launchers.api_server.entry "$@"
