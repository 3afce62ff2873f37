"""Whatever a database and a store look like at the start: nothing is begun from nothing, and nothing full is touched."""

from __future__ import annotations

import itertools

import pytest

from dwebbackup.daemon.decision import Holdings, decide
from dwebbackup.ports import Condition

FULL = Condition("full", "a", ("table t",))
ROWLESS = Condition("rowless", "a", ("table t",))
EMPTY = Condition("empty", "a")
ABSENT = Condition("absent")

NOTHING = Holdings()
BEGUN = Holdings(begun=True)
WITH_ROWS = Holdings("7-12345678", 10, 1000)
WITHOUT_ROWS = Holdings("7-12345678", 10, 0)
WITHOUT_TABLES = Holdings("7-12345678", 0, 0)
FILES = Holdings("7-12345678", 0, 1000)
DOUBT = Holdings(doubt="two machines wrote at once", hint="name one")

TABLE = [
    # database, store, a key for rows: what is done
    (ABSENT, WITH_ROWS, True, "restore"),
    (ABSENT, WITH_ROWS, False, "wait"),
    (ABSENT, WITHOUT_ROWS, True, "restore"),
    (ABSENT, BEGUN, True, "begin"),
    (ABSENT, BEGUN, False, "begin"),
    (ABSENT, NOTHING, True, "wait"),
    (ABSENT, DOUBT, True, "wait"),
    (EMPTY, WITH_ROWS, True, "restore"),
    (EMPTY, WITH_ROWS, False, "wait"),
    (EMPTY, WITHOUT_TABLES, False, "go on"),
    (EMPTY, FILES, True, "restore"),
    (ABSENT, WITHOUT_TABLES, False, "wait"),
    (EMPTY, BEGUN, False, "begin"),
    (EMPTY, NOTHING, False, "wait"),
    (EMPTY, DOUBT, True, "wait"),
    (ROWLESS, WITH_ROWS, True, "wait"),
    (ROWLESS, WITH_ROWS, False, "wait"),
    (ROWLESS, WITHOUT_ROWS, True, "go on"),
    (ROWLESS, BEGUN, True, "begin"),
    (ROWLESS, NOTHING, True, "wait"),
    (ROWLESS, DOUBT, True, "wait"),
]


@pytest.mark.parametrize(("condition", "holdings", "can_open", "action"), TABLE)
def test_what_is_done(condition: Condition, holdings: Holdings, can_open: bool, action: str):
    decision = decide(condition, holdings, can_open=can_open)
    assert decision.action == action
    assert bool(decision.hint) == (action == "wait")


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        (Condition("absent", what="folder"), "the folder is not there"),
        (Condition("empty", "a", what="folder"), "the folder is empty"),
        (Condition("rowless", "a", ("x", "y"), "folder"), "the folder has folders (x, y), and not one file"),
        (Condition("full", "a", ("x",), "folder"), "the folder holds data"),
    ],
)
def test_a_folder_is_called_one(condition: Condition, told: str):
    assert decide(condition, FILES, can_open=True).sentence.startswith(told)


def test_a_database_with_data_is_left_alone_whatever_the_store_says():
    for holdings, can_open in itertools.product([NOTHING, BEGUN, WITH_ROWS, WITHOUT_ROWS, DOUBT], [True, False]):
        assert decide(FULL, holdings, can_open=can_open).action == "go on"


def test_only_with_the_owners_mark_or_an_equal_past_does_anything_begin_without_rows():
    for condition, holdings, can_open in itertools.product(
        [ABSENT, EMPTY, ROWLESS], [NOTHING, WITH_ROWS, DOUBT], [True, False]
    ):
        assert decide(condition, holdings, can_open=can_open).action in {"wait", "restore"}


def test_a_sidecar_without_a_key_says_how_to_hand_it_in():
    assert "DWEBBACKUP_RESTORE_KEY" in decide(EMPTY, WITH_ROWS, can_open=False).hint
