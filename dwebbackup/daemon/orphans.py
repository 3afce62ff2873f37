"""Stub."""


def reap() -> None: ...
