"""Judging models by the profiles that they write, without constraint, for the same prompts."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import torch

from training.chat import prompt_text, token_ids
from training.errors import TrainingError
from training.files import write_json
from training.judging import grounded, is_well_formed, likeness, read_profile, stems
from training.lora import load_model, load_tokenizer
from training.rows import Chat, Prompted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.profiles.models import ProfileText

_TIMEOUT_S = 300.0
_BATCH = 16
_AT_ONCE = 16


class HeldOut(Prompted):
    """A prompt that no model trained on, and the teacher's answer if there is one."""

    completion: Chat = ()

    @property
    def taught(self) -> str | None:
        """The teacher's answer."""
        return self.completion[0].content if self.completion else None


class Writer(Protocol):
    """Writes answers to prompts, greedily."""

    def __call__(self, rows: Sequence[HeldOut], *, tokens: int) -> list[str]:
        """Returns an answer of at most so many tokens to each."""
        ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a model's answers are like. Shares are of all answers, malformed ones included.

    Attributes:
        well_formed: Share that is a profile as it stands.
        distinct: Different texts, as a share.
        distinct_phrases: Different phrases among all phrases of the readable answers.
        grounded: Mean share of phrases with a word of the prompt; 0 for what is no profile.
        copied: Share with a phrase that stands in the prompt word for word.
        sameness: Mean likeness of an answer to its most similar one among the others.
        to_teacher: Mean likeness to the teacher's profile; None without a teacher.
        seconds: For all answers; None for answers that were there.
    """

    well_formed: float
    distinct: float
    distinct_phrases: float
    grounded: float
    copied: float
    sameness: float
    to_teacher: float | None
    seconds: float | None


class LocalWriter:
    """A model folder, run in this process.

    Args:
        folder: Of a whole model: merge an adapter first.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.padding_side = "left"
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model: Any = load_model(folder, dtype=torch.bfloat16)
        self._model = model.to(device).eval()

    @torch.no_grad()
    def __call__(self, rows: Sequence[HeldOut], *, tokens: int) -> list[str]:
        """Returns greedy answers; prompts of like length go together."""
        texts = [prompt_text(self._tokenizer, row.prompt) for row in rows]
        order = sorted(range(len(rows)), key=lambda at: len(token_ids(self._tokenizer, texts[at])))
        answers = [""] * len(rows)
        for first in range(0, len(rows), _BATCH):
            places = order[first : first + _BATCH]
            batch = self._tokenizer(
                [texts[at] for at in places],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            ).to(self._model.device)
            output = self._model.generate(
                **batch,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id,
            )
            written = self._tokenizer.batch_decode(
                output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
            )
            for at, answer in zip(places, written, strict=True):
                answers[at] = answer
        return answers


class ServedWriter:
    """A model behind an OpenAI-compatible server.

    Args:
        url: Of the server.
        model: Under which it knows the model.
    """

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._model = model

    def __call__(self, rows: Sequence[HeldOut], *, tokens: int) -> list[str]:
        """Returns greedy answers, some asked for at once.

        Raises:
            TrainingError: The server does not answer, or with an error.
        """
        with (
            httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as http,
            ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            return list(pool.map(lambda row: self._ask(http, row, tokens), rows))

    def _ask(self, http: httpx.Client, row: HeldOut, tokens: int) -> str:
        try:
            answer = http.post(
                "/v1/chat/completions",
                json={
                    "model": self._model,
                    "messages": [turn.model_dump() for turn in row.prompt],
                    "temperature": 0,
                    "max_tokens": tokens,
                },
            )
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"])
        except httpx.HTTPError as error:
            raise TrainingError(f"{self._url} did not answer for {self._model}: {error}") from error


def writer(given: str) -> tuple[str, Writer]:
    """Returns name and writer of `NAME=FOLDER` or `NAME=URL`.

    Raises:
        TrainingError: It is neither.
    """
    name, _, where = given.partition("=")
    if where.startswith(("http://", "https://")):
        return name, ServedWriter(where, name)
    if name and (Path(where) / "config.json").is_file():
        return name, LocalWriter(Path(where))
    raise TrainingError(f"{given!r} is neither NAME=FOLDER of a model nor NAME=URL of a server")


def compare(
    writers: dict[str, Writer], rows: Sequence[HeldOut], *, tokens: int = 96
) -> tuple[dict[str, Judgement], dict[str, list[str]]]:
    """Has each model answer all prompts, and judges the answers.

    Beside the models stand the teacher, where all rows have one, and `categories`: a profile put
    together from each prompt's most frequent categories, which no model should be worse than.

    Returns:
        Judgements and answers, by name.
    """
    teacher = [row.taught or "" for row in rows]
    answers: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for name, write in writers.items():
        began = time.monotonic()
        answers[name] = write(rows, tokens=tokens)
        seconds[name] = time.monotonic() - began
    if all(teacher):
        answers["teacher"] = teacher
    answers["categories"] = [_categories(row) for row in rows]
    return {
        name: judge(rows, found, seconds=seconds.get(name)) for name, found in answers.items()
    }, answers


def judge(
    rows: Sequence[HeldOut], answers: Sequence[str], *, seconds: float | None = None
) -> Judgement:
    """Judges the answers to some prompts."""
    profiles = [read_profile(row.kind, answer) for row, answer in zip(rows, answers, strict=True)]
    phrases = [phrase.casefold() for found in profiles if found for phrase in _phrases(found)]
    read = [row.prompt[-1].content for row in rows]
    count = len(rows)
    whole = sum(is_well_formed(row.kind, text) for row, text in zip(rows, answers, strict=True))
    grounds = [grounded(one, [text]) for one, text in zip(profiles, read, strict=True) if one]
    copies = [_copies(one, text) for one, text in zip(profiles, read, strict=True) if one]
    same = [
        likeness(answer, [*answers[:at], *answers[at + 1 :]]) for at, answer in enumerate(answers)
    ]
    taught = [
        likeness(answer, [row.taught])
        for row, answer in zip(rows, answers, strict=True)
        if row.taught
    ]
    return Judgement(
        well_formed=whole / count,
        distinct=len(set(answers)) / count,
        distinct_phrases=len(set(phrases)) / len(phrases) if phrases else 0.0,
        grounded=sum(grounds) / count,
        copied=sum(copies) / count,
        sameness=sum(same) / count,
        to_teacher=sum(taught) / len(taught) if taught else None,
        seconds=seconds,
    )


def table(judgements: dict[str, Judgement]) -> str:
    """Returns a Markdown table, a line for each model."""
    names = list(Judgement.__dataclass_fields__)
    lines = ["| model | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for model, judgement in judgements.items():
        values = asdict(judgement)
        cells = ["" if values[name] is None else f"{values[name]:.3f}" for name in names]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save(
    path: Path,
    rows: Sequence[HeldOut],
    judgements: dict[str, Judgement],
    answers: dict[str, list[str]],
) -> None:
    """Writes judgements, and the answers side by side, as JSON."""
    side_by_side = [
        {"kind": row.kind, "id": row.id, **{name: found[at] for name, found in answers.items()}}
        for at, row in enumerate(rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        path,
        {
            "models": {name: asdict(judgement) for name, judgement in judgements.items()},
            "profiles": side_by_side,
        },
    )


def _phrases(profile: ProfileText) -> tuple[str, ...]:
    return (*profile.identities, *profile.interests)


def _copies(profile: ProfileText, read: str) -> bool:
    there = read.casefold()
    return any(phrase.casefold() in there for phrase in _phrases(profile) if len(stems(phrase)) > 1)


def _categories(row: HeldOut) -> str:
    """Returns a profile of the most frequent categories of a prompt's items."""
    wanted = 3 if row.kind == "user" else 5
    counts = Counter(
        part.strip().casefold()
        for line in row.prompt[-1].content.splitlines()
        if line.startswith("- ")
        for part in line.split(" | ")[1:2]
        for part in part.split(",")
        if part.strip()
    )
    top = [name for name, _ in counts.most_common(wanted)]
    top += [f"other item {number}" for number in range(1, wanted - len(top) + 1)]
    name = row.kind.capitalize()
    identities = ", ".join(f"{category} viewer" for category in top)
    interests = ", ".join(f"{category} titles" for category in top)
    return f"{name} identity: {identities}; {name} interests: {interests}."
