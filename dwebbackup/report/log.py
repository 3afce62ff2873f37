"""Log lines on stderr: for people on a terminal, JSON elsewhere; every one passes through the redaction."""

from __future__ import annotations

import logging
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO, cast

from dwebbackup import clock
from dwebbackup.report.redaction import redact

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

CLEAR_LINE = "\r\x1b[K"
"""On a terminal before every line: a progress bar may stand there. It is drawn again below."""

_SECRET_FIELD = re.compile(r"(?i)password|secret|phrase|token|words|identity")


_TAIL = 200
"""Lines that are remembered, of about 20 to 200 bytes each."""

_remembered: deque[str] = deque(maxlen=_TAIL)

_to_do: list[Callable[[], None]] = []
"""What `set_up` left until the first line."""


def undaunted(stream: TextIO) -> TextIO:
    """*stream* for a program that must not end because nobody can read its lines: a full disk, a reader who left."""
    return cast("TextIO", _Undaunted(stream))


class _Undaunted:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def set_up(stream: TextIO, level: int = logging.INFO) -> None:
    """From now on, log lines of at least that *level* go to *stream*.

    structlog is imported with the first of them: that takes 40 ms, and most commands log nothing.
    """
    _to_do[:] = [partial(_configure, stream, level)]
    if "structlog" in sys.modules:
        _finish()
    logging.basicConfig(handlers=[_Forward()], level=max(level, logging.WARNING), force=True)


def logger(name: str) -> FilteringBoundLogger:
    """Where the room of that *name* logs; ask for it with each line."""
    import structlog  # noqa: PLC0415  # see `set_up`

    _finish()
    bound: FilteringBoundLogger = structlog.get_logger(name)
    return bound


def tail() -> tuple[str, ...]:
    """The last lines, oldest first, as they were written."""
    return tuple(_remembered)


def _finish() -> None:
    for step in _to_do:
        step()
    _to_do.clear()


def _configure(stream: TextIO, level: int) -> None:
    import structlog  # noqa: PLC0415  # see `set_up`

    terminal = stream.isatty()
    renderer: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if terminal:
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_time,
            structlog.processors.format_exc_info,
            _without_secrets,
            renderer,
            _redact_line if not terminal else _redact_terminal_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )


class _Forward(logging.Handler):
    """What libraries log goes the same way, and through the same redaction."""

    def emit(self, record: logging.LogRecord) -> None:
        logger(record.name).log(record.levelno, record.getMessage())


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {"timestamp": clock.iso(clock.now()), **event}


def _without_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Before it is rendered: there, a line break within a phrase becomes a letter."""
    return {key: "***" if _SECRET_FIELD.search(key) else _redacted(value) for key, value in event.items()}


def _redacted(value: Any) -> Any:
    if isinstance(value, int | float | None):
        return value
    if isinstance(value, Mapping):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_redacted(item) for item in value]
    return redact(str(value))


def _redact_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    """After it is rendered: words that stood one by one in a list make a phrase only now."""
    redacted = redact(line)
    _remembered.append(redacted)
    return redacted


def _redact_terminal_line(_logger: WrappedLogger, _method: str, line: Any) -> str:
    return CLEAR_LINE + redact(line)
