#!/bin/sh
# Fetches the model, the sentence encoder and a small dataset, unless they are there.
set -eu
python -m services.cli models get "$RECLM_MODEL"
python -m services.cli models get all-MiniLM-L6-v2-int8
python -m recommenders.cli data get ml-100k
