"""What a restored file looks like: its owner, rights, attributes and times; and where these come short."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from dwebbackup.sources.files.hearing import Named, readable
from dwebbackup.sources.files.members import Member

_OF_THE_SYSTEM = (b"security.selinux",)
"""Attributes that a system gives by its own rules."""

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID


class Dressing:
    """Gives files what their members say, and remembers where the system did not let us."""

    def __init__(self) -> None:
        self._owners, self._attributes, self._outward = Named(), Named(), Named()

    def shortfalls(self) -> Iterator[str]:
        yield from self._owners.sentences("without its owner, and so without setuid and setgid bits")
        yield from self._attributes.sentences("without all of its extended attributes")

    def notes(self) -> Iterator[str]:
        yield from self._outward.sentences("a symbolic link that leads out of the folder")

    def dress(self, descriptor: int, member: Member) -> None:
        """In this order: a new owner takes away special bits, and so does what is written; times come last."""
        mode = member.mode
        try:
            os.fchown(descriptor, member.owner, member.group)
        except OSError:
            self._owners.add(called(member))
            mode &= ~_SPECIAL_BITS
        os.fchmod(descriptor, mode)
        if member.attributes:
            self._set_attributes(descriptor, member)
        os.utime(descriptor, ns=(member.mtime, member.mtime))

    def dress_link(self, at: int, name: bytes, member: Member) -> None:
        """A symbolic link, called *name* in the folder *at*."""
        self._give_away(at, name, member)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=at, follow_symlinks=False)
        self._without_attributes(member)
        if _leads_out(member):
            self._outward.add(f"{called(member)} -> {readable(member.link)}")

    def dress_fifo(self, at: int, name: bytes, member: Member) -> None:
        """Opening one would wait for somebody at its other end."""
        mode = member.mode if self._give_away(at, name, member) else member.mode & ~_SPECIAL_BITS
        os.chmod(name, mode, dir_fd=at)
        os.utime(name, ns=(member.mtime, member.mtime), dir_fd=at, follow_symlinks=False)
        self._without_attributes(member)

    def _give_away(self, at: int, name: bytes, member: Member) -> bool:
        try:
            os.chown(name, member.owner, member.group, dir_fd=at, follow_symlinks=False)
        except OSError:
            self._owners.add(called(member))
            return False
        return True

    def _set_attributes(self, descriptor: int, member: Member) -> None:
        if not hasattr(os, "setxattr"):
            self._without_attributes(member)
            return
        for name, value in member.attributes:
            if name not in _OF_THE_SYSTEM:
                try:
                    os.setxattr(descriptor, name, value)
                except OSError as error:
                    self._attributes.add(f"{called(member)}: {readable(name)}: {error.strerror}")

    def _without_attributes(self, member: Member) -> None:
        """Where they cannot be set: by Python, or on what cannot be opened."""
        if any(name not in _OF_THE_SYSTEM for name, _ in member.attributes):
            self._attributes.add(called(member))


def called(member: Member | None) -> str:
    """A member's name on one line."""
    return readable(b"/".join(member.names) if member else b"") or "the folder itself"


def _leads_out(member: Member) -> bool:
    """Whether what a symbolic link says, read from where it is, is outside of the folder."""
    if member.link.startswith(b"/"):
        return True
    depth = len(member.names) - 1
    for name in member.link.split(b"/"):
        depth += -1 if name == b".." else name not in (b"", b".")
        if depth < 0:
            return True
    return False
