"""Bearer keys: who may call, and who may look behind the scenes."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from pydantic_settings import SettingsError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from services.profiles.settings import Settings

Role = Literal["caller", "admin"]

_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{16,256}")
"""What goes into a header as it is (RFC 6750, section 2.1), and is too long to try out."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a service, as digests.

    Attributes:
        callers: SHA-256 of each API key.
        admins: SHA-256 of each admin key.
    """

    callers: tuple[bytes, ...]
    admins: tuple[bytes, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Returns the keys that the settings name.

        Raises:
            SettingsError: One is too short, or cannot stand in a header.
        """
        return cls(
            tuple(map(_digest, split_keys(settings.api_keys, "RECLM_API_KEYS"))),
            tuple(map(_digest, split_keys(settings.admin_keys, "RECLM_ADMIN_KEYS"))),
        )

    def __bool__(self) -> bool:
        return bool(self.callers or self.admins)

    def role(self, key: bytes) -> Role | None:
        """Returns what a key is good for, None for nothing.

        Each digest is compared in full, and all of them, so that the time taken says nothing
        about any of them.
        """
        digest = hashlib.sha256(key).digest()
        admin = _among(digest, self.admins)
        caller = _among(digest, self.callers)
        return "admin" if admin else "caller" if caller else None


def split_keys(secret: SecretStr | None, name: str) -> list[str]:
    """Returns the keys that a setting holds, which are separated by commas or white space.

    Args:
        secret: Its value.
        name: The variable, for the message.

    Raises:
        SettingsError: One is too short, or cannot stand in a header.
    """
    keys = re.findall(r"[^\s,]+", secret.get_secret_value()) if secret else []
    for number, key in enumerate(keys, start=1):
        if not _KEY.fullmatch(key):
            raise SettingsError(
                f"{name}: key {number} is not 16 to 256 letters, digits or ._~+/=- ; "
                "`openssl rand -hex 32` prints a good one"
            )
    return keys


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _among(digest: bytes, known: tuple[bytes, ...]) -> bool:
    found = False
    for other in known:
        found |= hmac.compare_digest(digest, other)
    return found
