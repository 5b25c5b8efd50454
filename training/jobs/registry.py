"""All training jobs. A new job is a module of its own, a loader here and a line in `JOBS`.

Importing this module imports no job and no library: a command loads the job that it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from training.runs.options import JobOptions, RunPaths

OptionsT = TypeVar("OptionsT", bound="JobOptions")
OptionsT_contra = TypeVar("OptionsT_contra", bound="JobOptions", contravariant=True)
Need = Literal["required", "optional", "none"]


class Train(Protocol[OptionsT_contra]):
    """Trains, and returns the folder of the adapter."""

    def __call__(
        self, options: OptionsT_contra, paths: RunPaths, *, progress: Callable[[str], object]
    ) -> Path:
        """Raises TrainingError where the job cannot start or fails."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedJob(Generic[OptionsT]):
    """The options class and the function of a job."""

    options: type[OptionsT]
    train: Train[OptionsT]

    def run(
        self, config: Path | None, paths: RunPaths, *, progress: Callable[[str], object]
    ) -> Path:
        """Reads the options from a YAML file and trains.

        Raises:
            TrainingError: As `read_options` and the job do.
        """
        from training.runs.options import read_options

        return self.train(read_options(self.options, config), paths, progress=progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as the command line knows it.

    Attributes:
        summary: What the job does, for the help.
        load: Imports the job.
        evaluation: Whether it reads evaluation rows.
        reward_model: Whether it reads a reward model.
    """

    summary: str
    load: Callable[[], LoadedJob[Any]]
    evaluation: Need = "none"
    reward_model: Need = "none"


def _distill() -> LoadedJob[Any]:
    from training.jobs.distill import DistillOptions, distill

    return LoadedJob(DistillOptions, distill)


def _collaborate() -> LoadedJob[Any]:
    from training.jobs.collaborate import CollaborateOptions, collaborate

    return LoadedJob(CollaborateOptions, collaborate)


def _reward() -> LoadedJob[Any]:
    from training.jobs.reward import RewardOptions, reward

    return LoadedJob(RewardOptions, reward)


def _ppo() -> LoadedJob[Any]:
    from training.jobs.ppo import PpoOptions, ppo

    return LoadedJob(PpoOptions, ppo)


def _grpo() -> LoadedJob[Any]:
    from training.jobs.grpo import GrpoOptions, grpo

    return LoadedJob(GrpoOptions, grpo)


JOBS: Mapping[str, Job] = {
    "distill": Job(
        summary="train a model to write a teacher's profiles", load=_distill, evaluation="optional"
    ),
    "collaborate": Job(
        summary="train a model on the histories of similar users",
        load=_collaborate,
        evaluation="optional",
    ),
    "reward": Job(
        summary="train a reward model that scores a user's own profile above a worse one",
        load=_reward,
        evaluation="required",
    ),
    "ppo": Job(
        summary="train a model by PPO to write profiles with a high reward",
        load=_ppo,
        reward_model="required",
    ),
    "grpo": Job(
        summary="train a model by GRPO to write profiles with a high reward",
        load=_grpo,
        reward_model="optional",
    ),
}
