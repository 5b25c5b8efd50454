"""The audit of a dataset: counts, alignment of texts with interactions, leaks of splits and profiles."""

from recommenders.data.audit.report import Audit, describe
from recommenders.data.audit.run import run_audit

__all__ = ["Audit", "describe", "run_audit"]
