"""What a study's YAML file says, checked before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from recommenders.benchmark.errors import BenchmarkError
from recommenders.benchmark.experiment import (
    Experiment,
    Fields,
    MetricName,
    ModelEntry,
    check_entry,
)

if TYPE_CHECKING:
    from pathlib import Path

POPULARITY, FOLD_IN, PROFILE, BOTH = "popularity", "fold-in", "profile", "both"


class Way(BaseModel):
    """One way to rank items for a stranger.

    Attributes:
        name: What it stands for in the question of the study: `popularity`, `fold-in` alone,
            `profile` alone or `both`. Several may stand for one.
        model: In the registry.
        label: In tables; the name by default.
        options: Of the model that differ from its defaults.
        training: Options of the trainer that differ from the study's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """The model as a grid would have it; the same for all ways that share it."""
        return ModelEntry(name=self.model, options=self.options, training=self.training)

    @property
    def reads_clicks(self) -> bool:
        """Whether the stranger's clicks are told to the model."""
        return self.name in {FOLD_IN, BOTH}

    @property
    def reads_profile(self) -> bool:
        """Whether the stranger's profile is."""
        return self.name in {PROFILE, BOTH}


class Study(BaseModel):
    """How well strangers are served, by how many of their clicks are known.

    Attributes:
        name: What the tables are headed with.
        dataset: The dataset's folder, relative to the folder of datasets.
        seeds: Of split, parameters and order of training alike.
        share: Share of the users who leave training; half of them validation, half test.
        clicks: How many first clicks are known. What comes after the most of them is to be found
            at each, and none of those is ever ranked, so that all questions have one answer.
        text: Which fields of an item its own text is made from.
        profiles: The snapshot's folder with the items' profiles, and the training users' where
            `user_profiles` is `own`; `{seed}` in it is replaced.
        user_profiles: As in a benchmark. With `items` a stranger's profile is the mean of those
            of the known clicks.
        new_user_profiles: With `own`, the snapshot's folder with the strangers' profiles by the
            service from their known clicks alone: `{seed}` and `{known}` in it are replaced.
        metric: What decides between epochs, on validation.
        training: Options of the trainer, for all models.
        ways: What is compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        """The benchmark's experiment that trains this study's models, each once."""
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
        BenchmarkError: It is missing, is no YAML, or has what a study has not; the message names
            the place.
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
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        raise BenchmarkError(f"{path}: {wrong}") from error
    if any(way.model == "random" for way in study.ways):
        raise BenchmarkError(
            f"{path}: random draws lots for a user's row, which a stranger has not"
        )
    if study.user_profiles == "own" and study.new_user_profiles is None:
        raise BenchmarkError(
            f"{path}: user_profiles are `own`, so say where those of the new users are: new_user_profiles"
        )
    return study
