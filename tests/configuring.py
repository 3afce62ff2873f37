"""Reads a configuration as the program does: from `dwebbackup.yaml` here, and from variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from dwebbackup.config import Config, Given, load
from dwebbackup.errors import WrongConfiguration


def configured(text: str = "", given: Given | None = None, **variables: str) -> Config:
    if text:
        Path("dwebbackup.yaml").write_text(text)
    return load(given, {f"DWEBBACKUP_{name}": value for name, value in variables.items()})


def refusal(*arguments: object, **variables: str) -> str:
    with pytest.raises(WrongConfiguration) as caught:
        configured(*arguments, **variables)  # type: ignore[arg-type]
    return f"{caught.value} ({caught.value.hint})"


def secret_file(name: str, text: str, mode: int = 0o600) -> str:
    path = Path(name)
    path.write_text(text)
    path.chmod(mode)
    return str(path)
