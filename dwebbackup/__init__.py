"""dwebbackup: encrypted, deduplicated database backups to decentralised storage, and back from 24 words.

The way out:  source → streams → chunks → zstd → pack → age → store → index → manifest → head   (`backup`)
The way back: head → manifest → indexes → packs → sha256 → age → zstd → streams → target         (`restore`)

`docs/design.md` has the words, the invariants and the map of the rooms.
"""

__version__ = "0.1.0"
