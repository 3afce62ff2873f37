"""The pictures in docs/images: `PYTHONPATH=tests python -m daemon.screenshots` takes them anew, in a real Chromium."""

from __future__ import annotations

from pathlib import Path

from daemon.browser import Visit, browse, served
from daemon.statuses import EVERY

IMAGES = Path(__file__).parents[2] / "docs" / "images"

DESKTOP, PHONE = (1000, 960), (375, 760)
"""Pixels."""

PICTURES = {
    "status-light": ("well", DESKTOP, "light"),
    "status-dark": ("overdue", DESKTOP, "dark"),
    "status-suspect": ("suspect", DESKTOP, "light"),
    "status-phone": ("well", PHONE, "light"),
    "status-phone-restoring": ("restoring", PHONE, "dark"),
}
"""By file: which status, how large, light or dark."""


def take() -> None:
    IMAGES.mkdir(exist_ok=True)
    with served({name: EVERY[name] for name, _, _ in PICTURES.values()}) as at:
        browse([
            Visit(at[name], width, height, scheme, picture=str(IMAGES / f"{picture}.png"))
            for picture, (name, (width, height), scheme) in PICTURES.items()
        ])  # fmt: skip


if __name__ == "__main__":
    take()
