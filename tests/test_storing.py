"""Storing: packs are closed when they are full, or hold as many chunks as a pack may."""

from __future__ import annotations

from dwebbackup import storing
from dwebbackup.known import KnownChunks, Numbering
from dwebbackup.storing import Storing, Worker
from shelf import Shelf


def test_a_pack_of_tiny_frames_is_closed_at_so_many_chunks(shelf: Shelf):
    """Else an index of it alone could be larger than an index may be."""
    run = Storing(
        shelf.store,
        shelf.writer.id,
        shelf.signer,
        shelf.writer.chunk_key,
        [shelf.writer.reader_recipient],
        KnownChunks(),
        Numbering([]),
    )
    worker = Worker(run)
    for number in range(storing.PACK_ROWS * 5 // 2):
        worker._add(number, number.to_bytes(32, "big"), 1, b"12345678")
    worker.close()
    run.uploader.close()
    run.write_index()
    packs = [pack for ref in run.new_indexes for pack in shelf.catalog().index(ref).packs]
    assert [len(pack) for pack in packs] == [storing.PACK_ROWS, storing.PACK_ROWS, storing.PACK_ROWS // 2]
    assert max(pack.plain for pack in packs) < run.capacity // 2
