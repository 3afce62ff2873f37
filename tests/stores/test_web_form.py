"""A form is what others read as one, and takes no memory besides the files in it."""

from __future__ import annotations

import tracemalloc
from email import message_from_bytes

import pytest

from dwebbackup.stores.web_form import Form
from shelf import noise

MIB = 1024 * 1024


@pytest.mark.parametrize("block", [1, 7, 16384, -1])
@pytest.mark.parametrize("data", [b"", b"x", b"\r\n--", noise(20_000)], ids=len)
def test_a_form_is_read_as_it_was_meant_in_blocks_of_any_size(block, data):
    form = Form({"file": ("data", data, "application/octet-stream"), "other": ("b.txt", b"more", "text/plain")})
    length = len(form)
    body = b"".join(iter(lambda: form.read(block), b""))
    assert len(body) == length
    read = message_from_bytes(f"Content-Type: {form.content_type}\r\n\r\n".encode() + body)
    first, second = read.get_payload()
    assert (first.get_param("name", header="content-disposition"), first.get_filename()) == ("file", "data")
    assert (first.get_payload(decode=True), first.get_content_type()) == (data, "application/octet-stream")
    assert (second.get_payload(decode=True), second.get_filename()) == (b"more", "b.txt")


def test_what_is_sent_in_a_form_is_not_copied_first():
    data = bytes(8 * MIB)
    tracemalloc.start()
    try:
        form = Form({"file": ("data", data, "application/octet-stream")})
        while form.read(16384):
            pass
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
