"""An option's old name is refused with its new one, wherever a YAML file may have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import read_experiment
from recommenders.models import registry
from recommenders.models.base import Inputs
from recommenders.models.errors import ModelError
from recommenders.renamed import RENAMED, StrictConfig
from recommenders.study.plan import read_study

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = "option 'stranger_profiles' is now called 'new_user_profiles'"


def test_a_models_option() -> None:
    inputs = Inputs(train=sparse.csr_array(np.ones((2, 2), np.float32)))
    with pytest.raises(ModelError, match=MESSAGE):
        registry.build(
            "linear_tower", inputs, {"stranger_profiles": "items"}, np.random.default_rng(0)
        )


@pytest.mark.parametrize("where", ["options", "search"])
def test_a_model_of_an_experiment(where: str, tmp_path: Path) -> None:
    value = "[items]" if where == "search" else "items"
    path = tmp_path / "e.yaml"
    path.write_text(
        "name: e\ndataset: d\nsplit: {kind: random}\nmodels:\n"
        f"  - name: linear_tower\n    {where}: {{stranger_profiles: {value}}}\n"
    )
    with pytest.raises(BenchmarkError, match=MESSAGE):
        read_experiment(path)


def test_a_study(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\ndataset: d\nprofiles: p\nstranger_profiles: q\nways: [{model: popularity}]\n"
    )
    with pytest.raises(BenchmarkError, match=MESSAGE):
        read_study(path)


def test_no_configuration_has_an_option_by_an_old_name() -> None:
    every = [entry.config for entry in registry.MODELS.values()]
    assert every
    for config in (*every, *StrictConfig.__subclasses__()):
        assert not RENAMED.keys() & config.model_fields.keys()
