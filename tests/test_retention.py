"""What a policy keeps of years of backups, and why; and what no policy, no clock and no thief can make it drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dwebbackup import clock
from dwebbackup.errors import WrongConfiguration
from dwebbackup.manifest import ManifestRef
from dwebbackup.retention import Candidate, Policy, decide, parse

HOUR = 3600.0
DAY = 24 * HOUR
NOW = clock.from_iso("2026-11-20T12:00:00Z")


def made(sequence: int, time: float | str, **changes: object) -> Candidate:
    """A good backup of app, finished at *time*, which the store took in five seconds later."""
    seconds = clock.from_iso(time) if isinstance(time, str) else time
    ref = ManifestRef(sequence, f"{sequence:08x}" + "0" * 56)
    return replace(Candidate(ref, "app", "pg:1", seconds, seconds + 5, good=True), **changes)


def every(step: float, since: str, until: float = NOW) -> list[Candidate]:
    """One backup each *step* seconds."""
    begin = clock.from_iso(since)
    return [made(number + 1, begin + number * step) for number in range(int((until - begin) // step) + 1)]


def kept(policy: str, candidates: Sequence[Candidate], now: float = NOW) -> list[tuple[str, str]]:
    """When each that stays was finished, and why it stays."""
    times = {each.ref: clock.iso(each.finished)[:16] for each in candidates}
    return [(times[each.ref], "; ".join(each.reasons)) for each in decide(parse(policy), candidates, now) if each.keep]


def reasons(policy: str, candidates: Sequence[Candidate], now: float = NOW) -> dict[int, str]:
    """By sequence: `keep: …` or `drop: …`."""
    return {
        each.ref.sequence: f"{'keep' if each.keep else 'drop'}: {'; '.join(each.reasons)}"
        for each in decide(parse(policy), candidates, now)
    }


GOLDEN_NIGHTLY = [
    ("2022-12-31T03:00", "yearly 2022"),
    ("2023-12-31T03:00", "yearly 2023"),
    ("2024-12-31T03:00", "yearly 2024"),
    ("2025-12-31T03:00", "yearly 2025"),
    ("2026-08-31T03:00", "monthly 2026-08"),
    ("2026-09-30T03:00", "monthly 2026-09"),
    ("2026-10-31T03:00", "monthly 2026-10"),
    ("2026-11-08T03:00", "weekly 2026-W45"),
    ("2026-11-15T03:00", "weekly 2026-W46"),
    ("2026-11-17T03:00", "daily 2026-11-17"),
    ("2026-11-18T03:00", "daily 2026-11-18"),
    ("2026-11-19T03:00", "last 2; daily 2026-11-19"),
    ("2026-11-20T03:00", "last 2; daily 2026-11-20; weekly 2026-W47; monthly 2026-11; yearly 2026; newest good of app"),
]

GOLDEN_SIX_HOURS = [
    ("2026-09-30T18:00", "monthly 2026-09"),
    ("2026-10-31T18:00", "monthly 2026-10"),
    ("2026-11-18T12:00", "within 2d"),
    ("2026-11-18T18:00", "within 2d"),
    ("2026-11-19T00:00", "within 2d"),
    ("2026-11-19T06:00", "within 2d"),
    ("2026-11-19T12:00", "within 2d"),
    ("2026-11-19T18:00", "within 2d"),
    ("2026-11-20T00:00", "hourly 2026-11-20T00; within 2d; floor: one of the 3 newest good of app"),
    ("2026-11-20T06:00", "hourly 2026-11-20T06; within 2d; floor: one of the 3 newest good of app"),
    ("2026-11-20T12:00", "hourly 2026-11-20T12; monthly 2026-11; within 2d; newest good of app"),
]


# --- what people write ---


def test_a_policy_is_read_in_any_order_with_commas_or_without():
    policy = Policy(last=7, hourly=24, daily=7, weekly=4, monthly=12, yearly=3, within=14 * 86400, floor=2)
    text = "last 7, hourly 24, daily 7, weekly 4, monthly 12, yearly 3, within 14d, floor 2"
    assert parse(text) == policy
    assert parse("  floor 2 within 2W,YEARLY 3\nmonthly 12 weekly 4 daily 7 hourly 24 last 7 ") == policy
    assert str(policy) == text
    assert parse("last 1") == Policy(last=1, floor=3)
    assert (parse("within 36h").within, parse("within 1y").within) == (36 * 3600, 365 * 86400)
    assert str(parse("within 36h, last 0")) == "within 36h, floor 3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "keeps nothing"),
        ("last 0, daily 0, within 0d", "keeps nothing"),
        ("floor 5", "keeps nothing"),
        ("daily 7, floor 0", "at least 1"),
        ("7 daily", "no rule '7'"),
        ("last", "does not say how many"),
        ("last -1", "does not say how many"),
        ("last 1.5", "does not say how many"),
        ("last ٣", "does not say how many"),
        ("last 7 daily", "does not say how many"),
        ("last 7, last 8", "last twice"),
        ("within 14", "not a length"),
        ("within", "not a length"),
        ("within 2 weeks", "not a length"),
        ("forever 1", "no rule 'forever'"),
        ("daily=7", "no rule 'daily=7'"),
    ],
)
def test_anything_else_is_refused_with_what_would_be_right(text: str, said: str):
    with pytest.raises(WrongConfiguration, match=said) as caught:
        parse(text)
    assert "within" in caught.value.hint


@given(
    st.builds(
        Policy,
        *[st.integers(0, 99999)] * 6,
        within=st.integers(0, 9999).map(lambda n: n * 3600),
        floor=st.integers(1, 99),
    )
)
def test_what_a_policy_says_of_itself_reads_as_the_same(policy: Policy):
    if replace(policy, floor=0) != Policy(floor=0):
        assert parse(str(policy)) == policy


# --- what is kept ---


def test_golden_four_years_of_nightly_backups():
    backups = every(DAY, "2022-12-01T03:00:00Z")
    assert kept("last 2, daily 4, weekly 3, monthly 4, yearly 10, floor 1", backups) == GOLDEN_NIGHTLY


def test_golden_a_year_of_backups_every_six_hours():
    backups = every(6 * HOUR, "2025-11-20T00:00:00Z")
    assert kept("hourly 3, monthly 3, within 2d", backups) == GOLDEN_SIX_HOURS


def test_golden_reasons_of_each_backup_of_a_week():
    """Two a day; the newest is of 12:00."""
    assert reasons("last 2, daily 3, weekly 2, within 36h, floor 2", every(12 * HOUR, "2026-11-14T00:00:00Z")) == {
        1: "drop: not of the last 2; before the daily 3; weekly 2026-W46 is 4-00000004; older than 36h",
        2: "drop: not of the last 2; before the daily 3; weekly 2026-W46 is 4-00000004; older than 36h",
        3: "drop: not of the last 2; before the daily 3; weekly 2026-W46 is 4-00000004; older than 36h",
        4: "keep: weekly 2026-W46",
        **dict.fromkeys(
            range(5, 10),
            "drop: not of the last 2; before the daily 3; weekly 2026-W47 is 14-0000000e; older than 36h",
        ),
        10: "keep: daily 2026-11-18",
        11: "keep: within 36h",
        12: "keep: daily 2026-11-19; within 36h",
        13: "keep: last 2; within 36h; floor: one of the 2 newest good of app",
        14: "keep: last 2; daily 2026-11-20; weekly 2026-W47; within 36h; newest good of app",
    } | {9: "drop: not of the last 2; daily 2026-11-18 is 10-0000000a; weekly 2026-W47 is 14-0000000e; older than 36h"}


def test_empty_hours_and_days_do_not_count():
    """A database whose sidecar slept for a year has its backups all the same."""
    backups = [made(1, "2024-01-01T03:00"), made(2, "2024-01-02T03:00"), made(3, "2025-06-01T03:00")]
    assert [time for time, _ in kept("daily 2, floor 1", backups)] == ["2024-01-02T03:00", "2025-06-01T03:00"]


def test_within_ends_with_the_newest_backup_and_not_today():
    backups = every(DAY, "2025-01-01T00:00:00Z", clock.from_iso("2025-02-01T00:00:00Z"))
    assert [time[:10] for time, _ in kept("within 3d, floor 1", backups)] == [
        f"2025-01-{day}" for day in (29, 30, 31)
    ] + ["2025-02-01"]


def test_the_floor_holds_where_the_policy_says_less():
    assert reasons("last 1", every(DAY, "2026-11-16T00:00:00Z")) == {
        1: "drop: not of the last 1",
        2: "drop: not of the last 1",
        3: "keep: floor: one of the 3 newest good of app",
        4: "keep: floor: one of the 3 newest good of app",
        5: "keep: last 1; newest good of app",
    }


@pytest.mark.parametrize(
    ("policy", "step", "undercut"),
    [
        ("last 1", DAY, [3, 4]),
        ("last 1, daily 2, floor 4", DAY, [2, 3]),
        ("within 1d", 30 * HOUR, [3, 4]),
        ("within 3d", DAY, []),
        ("daily 3", DAY, []),
        ("daily 3", HOUR, []),  # the first day: it will fill
        ("last 2, daily 2", 6 * HOUR, []),
    ],
)
def test_a_policy_undercuts_the_floor_where_it_would_never_keep_as_many(policy: str, step: float, undercut: list[int]):
    begin = clock.iso(NOW - 4 * step)
    found = decide(parse(policy), every(step, begin), NOW)
    assert [each.ref.sequence for each in found if each.undercut] == undercut


def test_suspect_backups_count_for_nothing_and_stay_for_two_weeks():
    backups = every(DAY, "2026-11-01T00:00:00Z")
    backups = [replace(each, good=each.ref.sequence % 2 == 0) for each in backups]
    found = reasons("last 2, floor 1", backups)
    assert {number: said for number, said in found.items() if said.startswith("keep")} == {
        **dict.fromkeys(range(7, 20, 2), "keep: not good, and kept for 14d"),
        18: "keep: last 2",
        20: "keep: last 2; newest good of app",
    }
    assert found[5] == "drop: not good, and older than 14d"
    assert reasons("last 2, within 17d", backups)[3] == "keep: not good, and kept for 17d"
    assert reasons("last 2, within 2d", backups)[7] == "keep: not good, and kept for 14d"


def test_of_two_databases_under_one_name_each_has_its_own_counts():
    both = [replace(each, identity=f"pg:{each.ref.sequence % 2}") for each in every(DAY, "2026-11-10T00:00:00Z")]
    assert [each.ref.sequence for each in decide(parse("last 2, floor 1"), both, NOW) if each.keep] == [8, 9, 10, 11]


def test_a_backup_of_two_sources_stays_for_either():
    app = every(DAY, "2026-11-15T00:00:00Z")
    backups = [*app, replace(app[1], source="shop", identity="pg:2")]
    found = reasons("last 1, floor 1", backups)
    assert found[2] == "keep: shop: last 1; shop: newest good of shop"
    assert found[1] == "drop: not of the last 1"


def test_the_newest_proved_backup_stays():
    backups = [replace(each, proved=each.ref.sequence in (1, 2)) for each in every(DAY, "2026-10-01T00:00:00Z")]
    assert reasons("last 1", backups)[2] == "keep: newest proved of app"
    assert reasons("last 1", backups)[1].startswith("drop")


# --- whose times are not beyond doubt ---


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"finished": 5.0}, "it says 1970-01-01T00:00:05Z, and the store 2026-11-17T00:00:05Z"),
        ({"finished": -1e15}, "it says 1970-01-01T00:00:00Z, and the store 2026-11-17T00:00:05Z"),
        ({"finished": NOW + 1e12}, "it says 9999-01-01T00:00:00Z, and the store 2026-11-17T00:00:05Z"),
        ({"modified": NOW}, "it says 2026-11-17T00:00:00Z, and the store 2026-11-20T12:00:00Z"),
        ({"modified": None}, "the store does not say when it came"),
        (
            {"finished": NOW + 2 * DAY, "modified": NOW + 2 * DAY},
            "the store says 2026-11-22T12:00:00Z, and that it is 2026-11-20T12:00:00Z now",
        ),
    ],
)
def test_a_time_that_nobody_can_believe_keeps_a_backup_and_takes_nobodys_place(changes: dict, why: str):
    backups = every(DAY, "2026-11-11T00:00:00Z")
    doubtful = replace(backups[6], **changes)
    found = reasons("last 1, daily 5", [*backups[:6], doubtful, *backups[7:]])
    assert found[7] == f"keep: times disagree: {why}"
    without = reasons("last 1, daily 5", [*backups[:6], *backups[7:]])
    assert {number: said for number, said in found.items() if number != 7} == without


@pytest.mark.parametrize("field", ["finished", "modified"])
def test_a_backup_that_is_earlier_than_one_before_it_stays_and_so_does_that(field: str):
    """Else the next prune would find nothing odd."""
    backups = every(HOUR, "2026-11-19T00:00:00Z", clock.from_iso("2026-11-19T20:00:00Z"))
    backups[20] = replace(backups[20], **{field: getattr(backups[18], field) - 1})
    found = reasons("last 1, daily 1, floor 1", backups)
    assert {number: said for number, said in found.items() if said.startswith("keep")} == {
        20: "keep: times disagree: 21-00000015 came after it, and is earlier; last 1; daily 2026-11-19; "
        "floor: the newest good of app",
        21: "keep: times disagree: it came after 20-00000014, and is earlier; newest good of app",
    }


def test_days_are_those_of_the_store():
    """What a lease says may be a day off, and so would be in the place of another day's."""
    backups = [made(1, "2026-11-18T12:00"), made(2, "2026-11-18T23:59:59"), made(3, "2026-11-19T12:00")]
    assert [each.reasons[0] for each in decide(parse("daily 2, floor 1"), backups, NOW)] == [
        "daily 2026-11-18",
        "daily 2026-11-19 is 3-00000003",
        "daily 2026-11-19",
    ]


def test_two_backups_of_one_sequence_may_be_of_any_order():
    one, two = made(1, "2026-11-01T00:00"), made(2, "2026-11-02T00:00")
    other = replace(made(2, "2026-11-01T23:00"), ref=ManifestRef(2, "f" * 64))
    assert [each.reasons for each in decide(parse("last 1, floor 1"), [one, two, other], NOW)] == [
        ("not of the last 1",),
        ("last 1",),
        ("newest good of app",),
    ]


@pytest.mark.parametrize("now", [0.0, clock.from_iso("2100-01-01"), clock.from_iso("2026-11-12")])
def test_a_store_with_a_wrong_clock_only_keeps_more(now: float):
    backups = every(6 * HOUR, "2026-10-01T00:00:00Z")
    policy = "last 3, daily 5, within 4d"
    assert set(dict(kept(policy, backups))) <= set(dict(kept(policy, backups, now)))


@given(st.data())
def test_backups_of_a_lease_or_a_store_with_a_wrong_clock_only_keep_more(data: st.DataObject):
    backups = every(9 * HOUR, "2026-10-20T00:00:00Z")
    wrong = data.draw(st.lists(st.integers(0, len(backups) - 1), unique=True))
    field = data.draw(st.sampled_from(["finished", "modified"]))
    times = st.one_of(st.none(), st.floats(-1e9, 1e10)) if field == "modified" else st.floats(-1e9, 1e10)
    policy = "last 3, hourly 4, daily 5, weekly 3, within 4d"
    right = set(dict(kept(policy, backups)))
    changed = list(backups)
    for at in wrong:
        time = data.draw(times)
        if time is None or abs(time - backups[at].finished) > 2 * DAY:
            changed[at] = replace(changed[at], **{field: time})
    numbers = {each.ref.sequence for each in decide(parse(policy), changed, NOW) if each.keep}
    assert {each.ref.sequence for each in backups if clock.iso(each.finished)[:16] in right} <= numbers
    assert {at + 1 for at in wrong if changed[at] != backups[at]} <= numbers


# --- what a thief of the writer key can reach ---


@st.composite
def junk(draw: st.DrawFn, youngest: float = NOW) -> list[Candidate]:
    """Whatever he signs, the store knows when it came: in the last hour."""
    return [
        Candidate(
            ManifestRef(draw(st.integers(1, 60)), f"{at:064x}"),
            draw(st.sampled_from(["app", "other"])),
            draw(st.sampled_from(["pg:1", "pg:2"])),
            draw(st.one_of(st.floats(NOW - 3 * DAY, NOW + 3 * DAY), st.sampled_from([0.0, NOW + 1e9]))),
            youngest - draw(st.floats(0, 3000)),
            draw(st.booleans()),
            draw(st.booleans()),
        )
        for at in range(draw(st.integers(0, 40)))
    ]


@given(junk())
def test_junk_of_now_pushes_out_nothing_that_is_young(bad: list[Candidate]):
    honest = every(6 * HOUR, "2026-11-08T00:00:00Z")
    keeps = {each.ref for each in decide(parse("last 1, within 7d"), [*honest, *bad], NOW) if each.keep}
    assert {each.ref for each in honest if each.finished > NOW - 7 * DAY} <= keeps


@given(junk())
def test_junk_of_now_takes_the_place_of_no_other_day_than_today(bad: list[Candidate]):
    honest = every(6 * HOUR, "2026-10-08T00:00:00Z")
    keeps = {each.ref for each in decide(parse("daily 5, weekly 3, floor 1"), [*honest, *bad], NOW) if each.keep}
    last = {clock.iso(each.finished)[:10]: each.ref for each in honest}
    assert {last[f"2026-11-{day:02}"] for day in (8, 15, 16, 17, 18, 19)} <= keeps


# --- what holds for any backups and any policy ---


@st.composite
def anything(draw: st.DrawFn) -> list[Candidate]:
    """Backups of two sources and three databases, some at odd times, some of several sources."""
    found = []
    for at in range(draw(st.integers(0, 25))):
        ref = ManifestRef(draw(st.integers(1, 12)), f"{at:064x}")
        finished = NOW - draw(st.integers(-60, 900)) * HOUR
        modified = draw(st.sampled_from([finished, finished + 5, finished + 20 * HOUR, finished - 30 * HOUR, None]))
        found += [
            Candidate(
                ref,
                source,
                f"pg:{draw(st.integers(1, 2))}",
                finished,
                modified,
                draw(st.integers(0, 3)) > 0,
                draw(st.booleans()),
            )
            for source in draw(st.sampled_from([("app",), ("shop",), ("app", "shop")]))
        ]
    return found


@st.composite
def orderly(draw: st.DrawFn) -> list[Candidate]:
    """As they come where all is well, but for what is suspect."""
    gaps = draw(st.lists(st.sampled_from([1, 3, 6, 24, 200]), max_size=30))
    time = NOW - sum(gaps) * HOUR
    found = []
    for sequence, gap in enumerate(gaps, 1):
        time += gap * HOUR
        found.append(
            made(sequence, time - 5, good=draw(st.integers(0, 4)) > 0, identity=f"pg:{draw(st.integers(1, 2))}")
        )
    return found


numbers = st.sampled_from([0, 1, 2, 3, 8])
policies = st.builds(
    Policy,
    *[numbers] * 6,
    within=st.sampled_from([0, 6, 48, 240, 600]).map(lambda hours: hours * 3600),
    floor=st.integers(1, 4),
)
backups_of_any_kind = st.one_of(anything(), orderly())


def refs_kept(policy: Policy, candidates: Sequence[Candidate], now: float = NOW) -> set[ManifestRef]:
    return {each.ref for each in decide(policy, candidates, now) if each.keep}


@given(policies, backups_of_any_kind)
def test_deciding_again_on_what_was_kept_keeps_all(policy: Policy, candidates: list[Candidate]):
    keeps = refs_kept(policy, candidates)
    left = [each for each in candidates if each.ref in keeps]
    assert refs_kept(policy, left) == keeps


@given(policies, backups_of_any_kind, st.randoms())
def test_the_order_in_which_they_are_listed_does_not_matter(policy: Policy, candidates: list[Candidate], random):
    shuffled = random.sample(candidates, len(candidates))
    assert decide(policy, shuffled, NOW) == decide(policy, candidates, NOW)


@given(policies, policies, backups_of_any_kind)
def test_a_policy_that_asks_for_more_keeps_no_less(one: Policy, two: Policy, candidates: list[Candidate]):
    names = ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within", "floor")
    more = Policy(**{name: max(getattr(one, name), getattr(two, name)) for name in names})
    assert refs_kept(one, candidates) <= refs_kept(more, candidates)


@given(policies, backups_of_any_kind, st.data())
def test_more_backups_never_make_the_floor_smaller(policy: Policy, candidates: list[Candidate], data: st.DataObject):
    for some in (candidates[: data.draw(st.integers(0, len(candidates)))], candidates):
        keeps = refs_kept(policy, some)
        for source in {each.source for each in some}:
            good = {each.ref for each in some if each.good and each.source == source}
            assert len(good & keeps) >= min(policy.floor, len(good))


@given(policies, backups_of_any_kind)
def test_the_newest_good_and_the_newest_proved_of_each_source_stay(policy: Policy, candidates: list[Candidate]):
    keeps = refs_kept(policy, candidates)
    for source in {each.source for each in candidates}:
        for those in ([e for e in candidates if e.good], [e for e in candidates if e.proved]):
            own = [each.ref for each in those if each.source == source]
            assert not own or max(own, key=lambda ref: (ref.sequence, ref.sha256)) in keeps


@given(policies, backups_of_any_kind)
def test_each_backup_is_decided_once_with_a_reason_oldest_first(policy: Policy, candidates: list[Candidate]):
    found = decide(policy, candidates, NOW)
    refs = [each.ref for each in found]
    assert refs == sorted({each.ref for each in candidates}, key=lambda ref: (ref.sequence, ref.sha256))
    none = Policy(floor=policy.floor) == policy
    assert all(each.reasons for each in found if each.keep or not none)
    assert not any(each.undercut and not each.keep for each in found)
