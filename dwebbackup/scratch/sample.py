"""Fills a scratch database with the sample: a pin board that sells prints, about 50 MB, the same every time."""

from __future__ import annotations

from pathlib import Path

from dwebbackup.scratch.postgres import ScratchPostgres


def fill_sample(server: ScratchPostgres, dbname: str) -> None:
    """Fill the empty UTF-8 database *dbname*; it takes a few seconds. Raises `DatabaseRefused`."""
    server.execute_file(Path(__file__).with_name("sample.sql"), dbname)
