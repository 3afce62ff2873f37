"""Folders: read by GNU tar as one sorted stream, and unpacked by ourselves, beside what is there."""

from dwebbackup.sources.files.dump import FilesSource
from dwebbackup.sources.files.target import FilesTarget

__all__ = ["FilesSource", "FilesTarget"]
