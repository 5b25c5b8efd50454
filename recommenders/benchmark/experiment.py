"""The configuration of a benchmark: a YAML file, validated before anything runs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator

from recommenders.benchmark.controls import CONTROLS, WORDS, Control
from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.newer import cutoff_year
from recommenders.data.errors import DatasetError
from recommenders.data.splits import PaperSplit, parse
from recommenders.metrics import cutoff_of
from recommenders.models.registry import MODELS
from recommenders.renamed import StrictConfig
from recommenders.trainer import TrainerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from recommenders.data.splits import Plan

Fields = Literal["title", "category", "description"]


def _known(metric: str) -> str:
    cutoff_of(metric)
    return metric


PROFILE_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
"""Weights of the profiles that a closed form tries; which is taken is chosen on validation."""

_WITHOUT_TEXT = frozenset({"linear_tower"})
"""Models that read profiles of users, and no text of items."""

MetricName = Annotated[str, AfterValidator(_known)]
"""A metric with its cutoff, such as `ndcg@20`."""


class ModelEntry(StrictConfig):
    """A model of the grid.

    Attributes:
        name: The model's name in the registry.
        label: Its name in tables; by default the name and the variant.
        options: Options that differ from the model's defaults.
        training: Options of the trainer that differ from the experiment's.
        search: Option -> values to try. For each seed and scenario the best on validation is taken.
        against: Label of the entry that this one is compared with, instead of the base variant.
        control: What the model gets in place of profiles; None for the profiles themselves. The rows
            of controls are made by the experiment.
        of: Label of the row whose control this is.
    """

    name: str
    label: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    against: str | None = None
    control: Control | None = None
    of: str | None = None

    @property
    def shown(self) -> str:
        """The name in tables."""
        variant = self.options.get("variant")
        return self.label or (f"{self.name} {variant}" if variant else self.name)

    @property
    def variant(self) -> str | None:
        """`base` or `augmented` (reads profiles); None for a model without variants."""
        field = MODELS[self.name].config.model_fields.get("variant")
        return None if field is None else str(self.options.get("variant", field.default))

    def candidates(self) -> Iterator[dict[str, Any]]:
        """Yields the options of every trial."""
        search = self.trials
        for values in itertools.product(*search.values()):
            yield self.options | dict(zip(search, values, strict=True))

    @property
    def trials(self) -> dict[str, list[Any]]:
        """The values to try: those of `search`, and the profiles' weights for a model that has one.

        Nothing but a weight of 0 is tried where no item has a profile.
        """
        weighed = "profile_weight" in MODELS[self.name].config.model_fields
        given = "profile_weight" in {*self.options, *self.search}
        if not weighed or given or self.variant != "augmented":
            return self.search
        weights = (0.0,) if self.control == "text" else PROFILE_WEIGHTS
        return {**self.search, "profile_weight": list(weights)}

    def controlled_by(self, control: Control) -> ModelEntry:
        """Returns the row of a control: the same options, search and training on other inputs."""
        label = f"{self.shown}: {WORDS[control]}"
        changes = {"label": label, "against": None, "control": control, "of": self.shown}
        return self.model_copy(update=changes)


class Experiment(StrictConfig):
    """A grid of models on one dataset.

    Attributes:
        name: The title of the tables.
        dataset: The dataset's folder, relative to the folder of datasets.
        split: A kind with its options. If they include a seed, the split is the same for all seeds,
            as is necessary for profiles that were made for that split.
        seeds: Seeds of the parameters, of the order of training and of the split.
        text: The fields that make up an item's text.
        profiles: The snapshot's folder, relative to the folder of snapshots; `{seed}` in it is
            replaced. None if no model reads profiles.
        user_profiles: `own` takes users' profiles from the snapshot; `items` takes for each user the
            mean of the profiles of the known items; `both` takes the first if it exists, else the
            second.
        metric: The metric that selects steps and options on validation, such as `ndcg@20`.
        scenario: The scenario that selects. By default each scenario selects its own best step of a
            training and its own best options.
        validation_users: Maximum number of users of a scenario in validation, the same for all
            models; None for all.
        test_users: Maximum number of users of a scenario in test.
        protocol: `standard`; or `paper`, which selects the best step on the test part as the
            paper's code does. Only for a comparison with the paper's table.
        paper: The dataset of the paper whose results are shown beside ours.
        controls: The controls of each model that reads profiles, by default all (`controls`).
            Without any of them no gain is called one.
        knowledge_cutoff: The last day, month or year of what the model that wrote the profiles has
            read; by default what the snapshot says. Newer items are reported apart.
        training: Options of the trainer for all models.
        models: The grid.
    """

    name: str
    dataset: str
    split: dict[str, Any]
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    text: tuple[Fields, ...] = ("title", "category", "description")
    profiles: str | None = None
    user_profiles: Literal["own", "items", "both"] = "own"
    metric: MetricName = "ndcg@20"
    scenario: str | None = None
    validation_users: int | None = Field(None, ge=1)
    test_users: int | None = Field(None, ge=1)
    protocol: Literal["standard", "paper"] = "standard"
    paper: Literal["mind", "netflix"] | None = None
    controls: tuple[Control, ...] = CONTROLS
    knowledge_cutoff: str | None = None
    training: dict[str, Any] = Field(default_factory=dict)
    models: tuple[ModelEntry, ...] = Field(min_length=1)

    @field_validator("models")
    @classmethod
    def _labels_differ(cls, models: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
        labels = [model.shown for model in models]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two models are called {label!r}; give one of them a label")
        for model in models:
            if model.against is not None and model.against not in {*labels} - {model.shown}:
                raise ValueError(
                    f"{model.shown!r} is against {model.against!r}, which no other model is called"
                )
        return models

    @property
    def rows(self) -> tuple[ModelEntry, ...]:
        """The models, and after each that reads profiles its controls, without duplicates."""
        rows: list[ModelEntry] = []
        for entry in self.models:
            rows.append(entry)
            if self.profiles is not None and entry.variant == "augmented":
                rows += [entry.controlled_by(control) for control in self._controls_of(entry)]
        return tuple(rows)

    def _controls_of(self, entry: ModelEntry) -> tuple[Control, ...]:
        # A model that reads no texts of items reads them in the control `text` in place of profiles.
        if entry.name in _WITHOUT_TEXT:
            return tuple(control for control in self.controls if control != "text")
        return self.controls

    def plan(self, seed: int) -> Plan:
        """Returns the split's plan for a seed; a kind without randomness is the same for all.

        Raises:
            DatasetError: The kind or an option is unknown.
        """
        plan = parse(self.split)
        fixed = "seed" in self.split or not hasattr(plan, "seed")
        return plan if fixed else parse({**self.split, "seed": seed})

    def trainer(self, entry: ModelEntry) -> TrainerConfig:
        """Returns the options of a model's training."""
        return TrainerConfig.model_validate({**self.training, **entry.training})


def read_experiment(path: Path) -> Experiment:
    """Reads a YAML file.

    Raises:
        BenchmarkError: The file is missing, is not YAML or has an invalid or unknown key; the
            message names it.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BenchmarkError(f"{path} is missing") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} is not YAML: {error}") from error
    try:
        experiment = Experiment.model_validate(document)
        for entry in experiment.models:
            check_entry(experiment, entry)
        if experiment.knowledge_cutoff is not None:
            cutoff_year(experiment.knowledge_cutoff)
        _check_protocol(experiment, experiment.plan(0))
    except ValidationError as error:
        raise BenchmarkError(f"{path}: {_described(error)}") from error
    except DatasetError as error:
        raise BenchmarkError(f"{path}: {error}") from error
    return experiment


def check_entry(experiment: Experiment, entry: ModelEntry) -> None:
    """Validates a model's name, its options and those of its training.

    Raises:
        BenchmarkError: The model is unknown, or is a control.
        ValidationError: An option is unknown or invalid.
    """
    if entry.name not in MODELS:
        raise BenchmarkError(f"there is no model {entry.name!r}; there are {', '.join(MODELS)}")
    if entry.control is not None or entry.of is not None:
        raise BenchmarkError(
            f"{entry.shown!r}: rows of controls are made from `controls` of the grid; list the model alone"
        )
    experiment.trainer(entry)
    for options in entry.candidates():
        MODELS[entry.name].config.model_validate(options)


def _check_protocol(experiment: Experiment, plan: Plan) -> None:
    if plan.kind == PaperSplit.kind and experiment.protocol != "paper":
        raise BenchmarkError(
            f"split {plan.kind} has no validation part; it needs `protocol: paper`"
        )


def _described(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


def differing(options: Mapping[str, Any]) -> str:
    """Returns options in one line, as in `layers=3, variant=base`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
