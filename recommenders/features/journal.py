"""A journal of the profiles received so far, so that an interrupted snapshot can be resumed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Self

import numpy as np

from recommenders.data.errors import DatasetError
from recommenders.features.table import ProfileTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import BinaryIO

    from reclm_client import Profile


class Journal:
    """Appends profiles to a file of JSON lines. Opening drops an incomplete last line.

    Attributes:
        path: The file.

    Raises:
        DatasetError: The file exists and is not a journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, tuple[str, bytes]] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        whole = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._load(line)
                    whole += len(line)
        self._file = self.path.open("ab")
        self._file.truncate(whole)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            self._file.close()

    def __contains__(self, id_: str) -> bool:
        return id_ in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, id_: str, profile: Profile) -> None:
        """Appends a profile under an id, with its vector in half precision."""
        if self._file is None:
            raise ValueError("the journal is not open")
        vector = np.asarray(profile.embedding or (), np.float16)
        document = {
            "id": id_,
            "text": profile.text,
            "vector": base64.b64encode(vector.tobytes()).decode(),
        }
        line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._load(line)

    def table(self, ids: Sequence[str]) -> ProfileTable:
        """Returns the profiles of some ids in their order; ids without a profile are left out."""
        rows = [(name, *self._rows[name]) for name in ids if name in self._rows]
        widths = {len(vector) for _, _, vector in rows}
        if len(widths) > 1:
            raise DatasetError(
                f"{self.path}: vectors of different lengths; delete it and run the command again"
            )
        vectors = [np.frombuffer(vector, np.float16) for _, _, vector in rows]
        return ProfileTable(
            tuple(name for name, _, _ in rows),
            tuple(text for _, text, _ in rows),
            np.array(vectors, np.float32).reshape(len(rows), -1 if rows else 0),
        )

    def _load(self, line: bytes) -> None:
        try:
            document = json.loads(line)
            vector = base64.b64decode(document["vector"], validate=True)
            self._rows[document["id"]] = document["text"], vector
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(f"{self.path} is damaged ({error!r}); delete it") from error
