"""Bearer keys of callers and of administrators."""

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
"""Characters that a header may contain (RFC 6750, section 2.1), and enough of them."""


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
        """Returns the keys in the settings.

        Raises:
            SettingsError: A key is too short, or has characters that a header cannot contain.
        """
        return cls(
            tuple(map(_digest, split_keys(settings.api_keys, "RECLM_API_KEYS"))),
            tuple(map(_digest, split_keys(settings.admin_keys, "RECLM_ADMIN_KEYS"))),
        )

    def __bool__(self) -> bool:
        return bool(self.callers or self.admins)

    def role(self, key: bytes) -> Role | None:
        """Returns the role of a key, None for an unknown one.

        Compares with all digests, each in constant time, so that the time taken reveals nothing.
        """
        digest = hashlib.sha256(key).digest()
        admin = _among(digest, self.admins)
        caller = _among(digest, self.callers)
        return "admin" if admin else "caller" if caller else None


def split_keys(secret: SecretStr | None, name: str) -> list[str]:
    """Returns the keys in a setting, which are separated by commas or white space.

    Args:
        secret: The setting's value.
        name: The variable's name, for the message.

    Raises:
        SettingsError: A key is too short, or has characters that a header cannot contain.
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
