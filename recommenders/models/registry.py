"""The registry of recommenders by name; the only module that imports all of their classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from recommenders.models.alpharec import AlphaRec
from recommenders.models.bias_mf import BiasMF
from recommenders.models.ease import EASE
from recommenders.models.errors import ModelError
from recommenders.models.files import read_folder
from recommenders.models.gradient import GradientModel, generator_from
from recommenders.models.ials import IALS
from recommenders.models.kernel_ridge import KernelRidge
from recommenders.models.lightgcn import LightGCN
from recommenders.models.linear_tower import LinearTower
from recommenders.models.ncf import NCF
from recommenders.models.neumf import NeuMF
from recommenders.models.popularity import Popularity, Random
from recommenders.models.sgl import SGL
from recommenders.models.simgcl import SimGCL
from recommenders.models.text_ease import TextEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from recommenders.models.base import Inputs, ModelConfig, Recommender


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of recommender.

    Attributes:
        config: The class of its options.
        build: Builds a recommender from inputs, options and a generator. One that is trained by
            gradient descent is not trained yet.
        load: Reads a folder that the recommender's `save` wrote.
        trained: Whether `recommenders.trainer` has to train the result of `build`.
        chance: Whether the result depends on the generator.
    """

    config: type[ModelConfig]
    build: Callable[[Inputs, Any, np.random.Generator], Recommender]
    load: Callable[[Path], Recommender]
    trained: bool
    chance: bool = True


def _by_gradient(model: type[GradientModel[Any]]) -> Entry:
    def build(inputs: Inputs, config: ModelConfig, rng: np.random.Generator) -> Recommender:
        return model(inputs, config, generator_from(rng))

    return Entry(model.config_type, build, model.load, trained=True)


def _at_once(model: type[Popularity | EASE | TextEASE | KernelRidge]) -> Entry:
    fit: Callable[[Inputs, Any], Recommender] = model.fit
    return Entry(
        model.config_type,
        lambda inputs, config, _: fit(inputs, config),
        model.load,
        trained=False,
        chance=False,
    )


MODELS: Mapping[str, Entry] = {
    **{
        model.name: _by_gradient(model)
        for model in (BiasMF, NCF, NeuMF, LightGCN, SGL, SimGCL, AlphaRec)
    },
    **{model.name: _at_once(model) for model in (EASE, TextEASE, KernelRidge, Popularity)},
    LinearTower.name: Entry(
        LinearTower.config_type, LinearTower.fit, LinearTower.load, trained=False
    ),
    IALS.name: Entry(IALS.config_type, IALS.fit, IALS.load, trained=False),
    Random.name: Entry(Random.config_type, Random.fit, Random.load, trained=False),
}


def build(
    name: str, inputs: Inputs, options: Mapping[str, Any], rng: np.random.Generator
) -> Recommender:
    """Builds a recommender by name; `MODELS[name].trained` says whether it has to be trained.

    Args:
        name: One of `MODELS`.
        inputs: The training data.
        options: Options that differ from the defaults.
        rng: Source of the initial parameters.

    Raises:
        ModelError: There is no such model or option, or the inputs lack what it reads.
    """
    entry = _entry(name)
    try:
        config = entry.config.model_validate(options)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        known = ", ".join(entry.config.model_fields)
        raise ModelError(f"{name}: {wrong}; its options are {known or 'none'}") from error
    return entry.build(inputs, config, rng)


def load(folder: Path) -> Recommender:
    """Reads a saved recommender of any kind.

    Raises:
        ModelError: A file is missing or damaged, or names a model that does not exist.
    """
    info, _ = read_folder(folder)
    return _entry(str(info.get("name"))).load(folder)


def _entry(name: str) -> Entry:
    if name not in MODELS:
        raise ModelError(f"there is no model {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]
