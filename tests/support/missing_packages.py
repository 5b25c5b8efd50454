"""A pytest plugin for environments without the largest packages, such as torch.

With `-p tests.support.missing_packages`, a test module or a test that imports one of `LEFT_OUT`
where it is not installed is skipped, with the package's name as the reason. Any other missing
module is an error as usual. The summary counts what was skipped and why.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

LEFT_OUT = frozenset(
    {
        "torch",
        "transformers",
        "accelerate",
        "peft",
        "trl",
        "datasets",
        "ray",
        "ranx",
        "numba",
        "xgrammar",
    }
)

_skipped: Counter[str] = Counter()


def _missing(error: BaseException | None) -> str | None:
    """Returns the package that an error says is not installed, if it may be left out."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            if package in LEFT_OUT and importlib.util.find_spec(package) is None:
                return package
        error = error.__cause__ or error.__context__
    return None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Skips a module that imports a package which is left out."""
    report = yield
    call = getattr(report, "call", None)
    package = _missing(call.excinfo.value) if call is not None and call.excinfo else None
    if package is None:
        return report
    _skipped[f"modules: {package}"] += 1
    where = str(collector.path), 1, f"{package} is not installed"
    return pytest.CollectReport(report.nodeid, "skipped", where, [])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Skips a test that imports a package which is left out."""
    report = yield
    package = _missing(call.excinfo.value) if call.excinfo else None
    if package is not None and report.failed:
        _skipped[f"tests: {package}"] += 1
        report.outcome = "skipped"
        report.longrepr = str(item.path), 1, f"{package} is not installed"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many were skipped, and for which package."""
    for what, count in sorted(_skipped.items()):
        terminalreporter.write_line(f"not run for a missing package: {count} {what}")
