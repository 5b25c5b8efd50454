"""Options of earlier releases are refused by name."""

import pytest

from training import cli
from training.commands.renamed import RENAMED

USES = {
    "--evaluation-prompts": ("spread", "a.jsonl", "b.jsonl"),
    "--no-repetitive": ("teacher",),
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_option_is_refused_with_its_new_name(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    builder, *values = USES[new]
    with pytest.raises(SystemExit) as caught:
        cli.main(["data", builder, old, *values])
    assert caught.value.code == 2
    assert f"{old} is now called {new}" in capsys.readouterr().err
