"""Secret settings read from files, as containers receive passwords and keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import SecretStr
from pydantic_settings import PydanticBaseSettingsSource, SettingsError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class SecretFiles(PydanticBaseSettingsSource):
    """For each setting NAME that is a secret: the content of the file that NAME_FILE names.

    Surrounding white space is removed, and an empty file counts as no setting.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Returns the secret or None, with the setting's name.

        Raises:
            SettingsError: The file cannot be read, or the variable is set as well.
        """
        variable = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        path = os.environ.get(f"{variable}_FILE")
        if not path or SecretStr not in {field.annotation, *get_args(field.annotation)}:
            return None, field_name, False
        if os.environ.get(variable):
            raise SettingsError(f"{variable} and {variable}_FILE are both set; keep one of them")
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}_FILE: {path} cannot be read: {error}") from error
        return text or None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Returns the secrets that files hold, by setting."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: secret for name, secret in found.items() if secret is not None}
