"""The results of a grid in files and in a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recommenders.cli import main
from recommenders.commands import benchmark
from tests.recommenders.benchmark.tiny_grid import CHEAP, run

if TYPE_CHECKING:
    from pathlib import Path

    from recommenders.benchmark.prepared import BenchmarkPaths


def test_results_are_inserted_into_a_document(tmp_path: Path) -> None:
    for name, text in (("first", "# One\n\n## warm\n\n| # |\n"), ("other", "# Two\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.md").write_text(text)
    page = tmp_path / "page.md"
    text = "# Title\n\nBy hand.\n\n<!-- results first -->\nold\n<!-- end first -->\n\nBetween.\n"
    page.write_text(text + "\n<!-- results other -->\n<!-- end other -->\n")
    arguments = ["report", *(str(tmp_path / name) for name in ("first", "other"))]
    assert main([*arguments, "--out", str(page)]) == 0
    once = page.read_text()
    assert "By hand.\n\n<!-- results first -->\n\n## One\n\n### warm\n\n| # |\n\n<!-- end" in once
    assert "Between." in once
    assert "## Two" in once
    assert "old" not in once
    assert main([*arguments, "--out", str(page)]) == 0
    assert page.read_text() == once


def test_results_are_written_whole_or_not_at_all(
    paths: BenchmarkPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.md"
    path.write_text("old")
    mode = path.stat().st_mode
    with pytest.raises(UnicodeEncodeError):
        benchmark.write_text(path, "half \ud800")
    assert path.read_text() == "old"
    benchmark.write_text(path, "new")
    assert (path.read_text(), path.stat().st_mode) == ("new", mode)
    assert [each.name for each in tmp_path.iterdir() if "page" in each.name] == ["page.md"]

    run(paths, tmp_path, CHEAP)
    whole = (paths.out / "results.parquet").read_bytes()

    def full(_: pa.Table, where: Path, **__: object) -> None:
        where.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        run(paths, tmp_path, CHEAP)
    assert (paths.out / "results.parquet").read_bytes() == whole


def test_a_report_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, folder = tmp_path / "page.md", tmp_path / "grid"
    arguments = ["report", str(folder), "--out", str(page)]
    for message in ("page.md is missing", "run its benchmark first", "has no place for grid"):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err
        if not page.exists():
            page.write_text("# Title\n")
        elif not folder.exists():
            folder.mkdir()
            (folder / "results.md").write_text("# One\n")
