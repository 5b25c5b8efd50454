"""The configuration of a study: a YAML file, validated before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import (
    Experiment,
    Fields,
    MetricName,
    ModelEntry,
    check_entry,
)
from recommenders.renamed import StrictConfig

if TYPE_CHECKING:
    from pathlib import Path

POPULARITY, FOLD_IN, PROFILE, BOTH = "popularity", "fold-in", "profile", "both"


class Way(StrictConfig):
    """One way to rank items for a new user.

    Attributes:
        name: The information that is used: `popularity`, clicks (`fold-in`), `profile` or `both`.
            Several ways may have the same name.
        model: The model's name in the registry.
        label: The name in tables; `name` by default.
        options: Options that differ from the model's defaults.
        training: Options of the trainer that differ from the study's.
    """

    name: Literal["popularity", "fold-in", "profile", "both"]
    model: str
    label: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The name in tables."""
        return self.label or self.name

    @property
    def entry(self) -> ModelEntry:
        """The model as an entry of a grid; equal for all ways that share it."""
        return ModelEntry(name=self.model, options=self.options, training=self.training)

    @property
    def reads_clicks(self) -> bool:
        """Whether the model reads the new user's clicks."""
        return self.name in {FOLD_IN, BOTH}

    @property
    def reads_profile(self) -> bool:
        """Whether the model reads the new user's profile."""
        return self.name in {PROFILE, BOTH}


class Study(StrictConfig):
    """The quality for new users by the number of their known clicks.

    Attributes:
        name: The title of the tables.
        dataset: The dataset's folder, relative to the folder of datasets.
        seeds: Seeds of the split, the parameters and the order of training.
        share: Share of the users who are not in training; half of them validation, half test.
        clicks: The numbers of known first clicks. For each of them the relevant items are those
            after the largest number of clicks, and no known click is ranked, so that the results are
            comparable.
        text: The fields that make up an item's text.
        profiles: The snapshot's folder with the items' profiles, and with the training users' if
            `user_profiles` is `own`; `{seed}` in it is replaced.
        user_profiles: As in a benchmark. With `items` a new user's profile is the mean of the
            profiles of the known clicks.
        new_user_profiles: With `own`, the snapshot's folder with new users' profiles, made by the
            service from their known clicks only; `{seed}` and `{known}` in it are replaced.
        metric: The metric that selects steps on validation.
        training: Options of the trainer for all models.
        ways: The ways to compare.
    """

    name: str
    dataset: str
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    share: float = Field(0.2, gt=0, lt=1)
    clicks: tuple[int, ...] = (1, 2, 3, 5, 10, 20)
    text: tuple[Fields, ...] = ("title", "category", "description")
    profiles: str
    user_profiles: Literal["own", "items"] = "items"
    new_user_profiles: str | None = None
    metric: MetricName = "ndcg@20"
    training: dict[str, Any] = Field(default_factory=dict)
    ways: tuple[Way, ...] = Field(min_length=1)

    @field_validator("clicks")
    @classmethod
    def _ascending(cls, clicks: tuple[int, ...]) -> tuple[int, ...]:
        if not clicks or clicks[0] < 1 or list(clicks) != sorted(set(clicks)):
            raise ValueError("numbers of clicks, from 1, ascending, each once")
        return clicks

    @field_validator("ways")
    @classmethod
    def _labels_differ(cls, ways: tuple[Way, ...]) -> tuple[Way, ...]:
        labels = [way.shown for way in ways]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two ways are called {label!r}; give one of them a label")
        return ways

    @property
    def experiment(self) -> Experiment:
        """The benchmark experiment that trains each of this study's models once."""
        entries: list[ModelEntry] = []
        for way in self.ways:
            if way.entry not in entries:
                entries.append(way.entry)
        return Experiment(
            name=self.name,
            dataset=self.dataset,
            split={"kind": "cold-users", "share": self.share, "known": self.clicks[-1]},
            seeds=self.seeds,
            text=self.text,
            profiles=self.profiles,
            user_profiles=self.user_profiles,
            metric=self.metric,
            scenario="cold-users",
            training=self.training,
            models=tuple(
                entry.model_copy(update={"label": f"{number}"})
                for number, entry in enumerate(entries)
            ),
        )


def read_study(path: Path) -> Study:
    """Reads a YAML file.

    Raises:
        BenchmarkError: The file is missing, is not YAML or has an invalid or unknown key; the
            message names it.
    """
    try:
        study = Study.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        experiment = study.experiment
        for entry in experiment.models:
            check_entry(experiment, entry)
    except FileNotFoundError as error:
        raise BenchmarkError(f"{path} is missing") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(
            ": ".join([*(".".join(map(str, each["loc"])),) * bool(each["loc"]), each["msg"]])
            for each in error.errors()
        )
        raise BenchmarkError(f"{path}: {wrong}") from error
    if any(way.model == "random" for way in study.ways):
        raise BenchmarkError(
            f"{path}: random scores depend on a user's row, which a new user does not have"
        )
    if study.user_profiles == "own" and study.new_user_profiles is None:
        raise BenchmarkError(
            f"{path}: user_profiles is `own`: new_user_profiles must name the new users' snapshot"
        )
    return study
