"""Sources of profiles for a comparison: a model folder, a server, or a file of answers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import httpx
import torch

from training.data.rows import Chat, Prompted, TrainingRow, read_rows
from training.errors import TrainingError
from training.modeling.chat import prompt_text, token_ids
from training.modeling.lora import load_model, load_tokenizer
from training.runs.progress import ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BASELINES = ("teacher", "categories")
"""Names of the baselines of every comparison."""

_TIMEOUT_S = 300.0
_BATCH = 16
_AT_ONCE = 16


class HeldOut(Prompted):
    """A prompt that no model was trained on, and the teacher's answer if there is one."""

    completion: Chat = ()

    @property
    def teacher_text(self) -> str | None:
        """The teacher's answer; None without one."""
        return self.completion[0].content if self.completion else None


@dataclass(frozen=True, slots=True)
class Written:
    """Answers, in the order of the prompts.

    Attributes:
        tokens: Tokens of all answers together; None for answers from a file.
        seconds: Time of generating them; None for answers from a file.
    """

    texts: list[str]
    tokens: int | None = None
    seconds: float | None = None


class Writer(Protocol):
    """Generates answers to prompts, greedily and without constrained decoding."""

    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        """Returns an answer to each prompt.

        Args:
            rows: The prompts.
            tokens: Most tokens of an answer.
            done: Called with the number of answers so far.
        """
        ...


class LocalWriter:
    """A model folder, run in this process.

    Args:
        folder: Folder of a complete model; merge an adapter before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @torch.no_grad()
    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        """Returns greedy answers; prompts of similar length share a batch."""
        tokenizer = load_tokenizer(self.folder)
        tokenizer.padding_side = "left"
        model: Any = load_model(self.folder, dtype=torch.bfloat16)
        model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        began = time.monotonic()
        texts = [prompt_text(tokenizer, row.prompt) for row in rows]
        order = sorted(range(len(rows)), key=lambda at: len(token_ids(tokenizer, texts[at])))
        answers = [""] * len(rows)
        counted = 0
        for first in range(0, len(rows), _BATCH):
            positions = order[first : first + _BATCH]
            batch = tokenizer(
                [texts[at] for at in positions],
                return_tensors="pt",
                padding=True,
                add_special_tokens=False,
                return_token_type_ids=False,
            ).to(model.device)
            output = model.generate(
                **batch,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
            new = output[:, batch["input_ids"].shape[1] :]
            counted += int((new != tokenizer.pad_token_id).sum())
            written = tokenizer.batch_decode(new, skip_special_tokens=True)
            for at, answer in zip(positions, written, strict=True):
                answers[at] = answer
            done(first + len(positions))
        return Written(answers, counted, time.monotonic() - began)


class ServedWriter:
    """A model behind an OpenAI-compatible server.

    Args:
        url: Base URL of the server.
        model: Name of the model on the server.
    """

    def __init__(self, url: str, model: str) -> None:
        self._url = url
        self._model = model

    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        """Returns greedy answers, by concurrent requests.

        Raises:
            TrainingError: The server does not answer, or answers with an error.
        """
        began = time.monotonic()
        with (
            httpx.Client(base_url=self._url, timeout=_TIMEOUT_S) as http,
            ThreadPoolExecutor(_AT_ONCE) as pool,
        ):
            answers = []
            for answer in pool.map(lambda row: self._ask(http, row, tokens), rows):
                answers.append(answer)
                done(len(answers))
        counted = sum(count for _, count in answers)
        return Written([text for text, _ in answers], counted, time.monotonic() - began)

    def _ask(self, http: httpx.Client, row: HeldOut, tokens: int) -> tuple[str, int]:
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
            document = answer.raise_for_status().json()
            text = str(document["choices"][0]["message"]["content"] or "")
            return text, int(document["usage"]["completion_tokens"])
        except httpx.HTTPError as error:
            raise TrainingError(f"{self._url} did not answer for {self._model}: {error}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TrainingError(
                f"{self._url} does not answer as an OpenAI-compatible server does: {error!r}"
            ) from error


class AnswerRow(TrainingRow):
    """An answer from a file, to the prompt of a user or item."""

    id: str
    kind: Literal["user", "item"] = "user"
    text: str


class ReadWriter:
    """Answers from a file.

    Args:
        file: JSON lines with `id`, `text` and, for an item, `kind`.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(
        self, rows: Sequence[HeldOut], *, tokens: int, done: Callable[[int], object] = ignore
    ) -> Written:
        """Returns the last answer of the file to each prompt.

        Raises:
            TrainingError: The file lacks an answer.
        """
        del tokens
        found = {(row.kind, row.id): row.text for row in read_rows(AnswerRow, self._file)}
        for row in rows:
            if (row.kind, row.id) not in found:
                raise TrainingError(f"{self._file} has no answer for {row.kind} {row.id}")
        done(len(rows))
        return Written([found[row.kind, row.id] for row in rows])


def writer(given: str) -> tuple[str, Writer]:
    """Returns name and writer of `NAME=FOLDER`, `NAME=URL` or `NAME=FILE`.

    Raises:
        TrainingError: It is none of these, or the name is that of a baseline.
    """
    name, _, where = given.partition("=")
    if name in BASELINES:
        raise TrainingError(f"{given}: {name} is the name of a baseline; choose another name")
    if where.startswith(("http://", "https://")):
        return name, ServedWriter(where, name)
    if name and (Path(where) / "config.json").is_file():
        return name, LocalWriter(Path(where))
    if name and Path(where).is_file():
        return name, ReadWriter(Path(where))
    raise TrainingError(
        f"{given!r} is neither NAME=FOLDER of a model, nor NAME=URL of a server, nor NAME=FILE of "
        "answers"
    )
