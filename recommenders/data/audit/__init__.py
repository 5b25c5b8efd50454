"""Whether a dataset can be trusted: what is in it, whether its text is its own, what leaks."""

from recommenders.data.audit.report import Audit, describe
from recommenders.data.audit.run import run_audit

__all__ = ["Audit", "describe", "run_audit"]
