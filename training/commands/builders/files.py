"""Names of the files that builders write."""

from __future__ import annotations

PROFILES = "profiles.jsonl"
TRAIN = "train.jsonl"
HELD_OUT = "held-out.jsonl"
UNANSWERED = "unanswered.jsonl"
NEIGHBOURS = "neighbours.jsonl"
SAMPLES = "samples.jsonl"
PROMPTS = "prompts.jsonl"
EVALUATION = "evaluation.jsonl"
