"""Configuration becomes working parts: the only room that names concrete stores, sources and targets."""

from dwebbackup.assemble.endpoints import own_target, recipients, sources, target
from dwebbackup.assemble.joined import (
    prepared_store,
    quick_and_patient_store,
    store,
    store_and_links,
    store_to_mend,
    uploads,
)
from dwebbackup.assemble.places import bare_store, has_begun

__all__ = [
    "bare_store",
    "has_begun",
    "own_target",
    "prepared_store",
    "quick_and_patient_store",
    "recipients",
    "sources",
    "store",
    "store_and_links",
    "store_to_mend",
    "target",
    "uploads",
]
