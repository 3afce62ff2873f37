"""A form with files in it as the body of a request, read piece by piece: it is never put together in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO

from urllib3.fields import RequestField
from urllib3.filepost import choose_boundary

File = tuple[str, bytes, str]
"""Its name, its bytes and their type."""


class Form:
    """*files*, by the names of their fields, as `multipart/form-data`. Can be read once."""

    def __init__(self, files: Mapping[str, File]) -> None:
        boundary = choose_boundary()
        pieces = tuple(_pieces(files, boundary))
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._length = sum(map(len, pieces))
        self._pieces = [BytesIO(piece) for piece in reversed(pieces)]  # which share the bytes

    def __len__(self) -> int:
        """Bytes, all together."""
        return self._length

    def read(self, size: int = -1) -> bytes:
        """No more than is left of a piece; nothing only at the end."""
        while self._pieces:
            if block := self._pieces[-1].read(size):
                return block
            self._pieces.pop()
        return b""


def _pieces(files: Mapping[str, File], boundary: str) -> Iterator[bytes]:
    for field, (name, data, content_type) in files.items():
        head = RequestField(field, b"", filename=name)
        head.make_multipart(content_type=content_type)
        yield f"--{boundary}\r\n{head.render_headers()}".encode()
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
