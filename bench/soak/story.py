"""What happens in a soak, from a first backup to the end of a second lease."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.soak import incidents
from bench.soak.incidents import Scene, drawn
from bench.soak.lease import Lease
from bench.soak.ledger import DATABASE, examine, fill
from bench.soak.tally import Tally
from bench.soak.writers import Chronicle
from daemon.gate import Gate
from daemon.sidecar import OWNER, Event
from dwebbackup import clock
from dwebbackup.scratch.postgres import ScratchPostgres, find_postgres

READER = OWNER.reader(1).line

_DROP = f"DROP DATABASE {DATABASE} WITH (FORCE)"
_IDENTITY = f"""SELECT 'postgres:' || system_identifier || ':' || oid FROM pg_control_system(), pg_database
    WHERE datname = '{DATABASE}'"""


@dataclass(slots=True)
class Play:
    """Whatever there is while it lasts."""

    folder: Path
    place: Mapping[str, str]
    """How sidecars reach the store: through the gate."""
    gate: Gate
    rng: random.Random
    stack: ExitStack
    tally: Tally
    leases: list[Lease] = field(default_factory=list)
    chronicles: dict[str, Chronicle] = field(default_factory=dict)
    """Of every database that there ever was, by its identity."""
    emptied: set[str] = field(default_factory=set)
    """Identities of databases that stood empty under a living sidecar: backups of them have to be suspect."""

    def server(self) -> ScratchPostgres:
        return self.stack.enter_context(ScratchPostgres(find_postgres()))

    def lease(self, name: str) -> Lease:
        return self.take(Lease(self.server(), self.folder / name, self.place, self.tally))

    def take(self, lease: Lease) -> Lease:
        self.leases.append(lease)
        return lease

    def pause(self, longest: float) -> None:
        time.sleep(self.rng.uniform(0, longest))

    def end(self) -> None:
        """Whatever is still running."""
        for lease in self.leases:
            if lease.sidecar:
                lease.kill()
            lease.rest()

    def know(self, lease: Lease) -> None:
        """The database that the lease has now, and what happens to it from here on."""
        self.chronicles[identity_of(lease)] = lease.chronicle


def identity_of(lease: Lease) -> str:
    return lease.server.psql(_IDENTITY)


def old_and_new_lease(play: Play, runs: int) -> Lease:
    """The whole story; what is left is the last lease, at rest."""
    old = play.lease("old")
    fill(old.server)
    play.know(old)
    old.write(play.rng)
    old.start()
    let_go_wrong(play, [old], runs // 4)
    wipe(play, old, play.rng.choice(WAYS[:3]))
    let_go_wrong(play, [old], runs // 2)
    new = second_lease(play, old)
    let_go_wrong(play, [old, new], runs * 3 // 4)
    play.tally.incident("old lease ended")
    old.rest()
    old.kill()
    old.server.kill()
    new.let_run(2)  # so that it is the newest
    for way in play.rng.sample(WAYS, len(WAYS)):
        let_go_wrong(play, [new], play.tally.runs + max(1, (runs - play.tally.runs) // len(WAYS)))
        wipe(play, new, way)
    let_go_wrong(play, [new], max(runs, play.tally.runs + 2))
    rest_in_health(new)
    return new


def let_go_wrong(play: Play, leases: list[Lease], runs: int) -> None:
    """One incident after the other, with backups between them, until so many were reported since the beginning."""
    for incident in drawn(play.rng):
        if play.tally.runs >= runs:
            return
        for lease in leases:
            lease.let_run(play.rng.randint(1, 3))
        play.tally.incident(incidents.words_of(incident))
        incident(Scene(play.rng.choice(leases), play.gate, play.rng))


def rest_in_health(lease: Lease) -> None:
    """Nothing is wrong any more, nobody writes, and the sidecar ends."""
    lease.rest()
    lease.let_run(2)
    assert lease.sidecar
    answer = lease.sidecar.get("/healthz")
    if answer.status_code != 200:
        lease.tally.fault(f"all is well at the end, and /healthz answers {answer.status_code}: {answer.text}")
    lease.stop()


# --- a database that is gone ---


def dropped(play: Play, lease: Lease) -> None:
    play.rng.choice([lease.kill, lease.stop])()
    lease.server.psql(_DROP)


def dropped_under_a_living_sidecar(_play: Play, lease: Lease) -> None:
    lease.provoke(_DROP, until=is_noticed)
    lease.kill()


def emptied_under_a_living_sidecar(play: Play, lease: Lease) -> None:
    """With luck its next run meets the empty database, else a look before that; a backup of it has to be suspect."""
    play.emptied.add(lease.provoke(f"{_DROP}; CREATE DATABASE {DATABASE}; {_IDENTITY}", until=is_noticed))
    lease.kill()


def gone_with_its_server(play: Play, lease: Lease) -> None:
    lease.kill()
    lease.server.destroy()
    lease.server = play.server()


Way = Callable[[Play, Lease], None]
WAYS: list[Way] = [dropped, dropped_under_a_living_sidecar, emptied_under_a_living_sidecar, gone_with_its_server]


def wipe(play: Play, lease: Lease, way: Way) -> None:
    """A new sidecar has to bring the database back as the newest good backup has it."""
    play.tally.incident(f"database {way.__name__.replace('_', ' ')}")
    lease.let_run(1)
    lease.rest()
    if play.rng.random() < 0.5:
        lease.let_run(2)
    lease.look()
    promised = newest_promise(play.tally, lease.chronicle)
    way(play, lease)
    lease.start(RESTORE_KEY=READER)
    if play.rng.random() < 0.7:
        disturb_restore(play, lease)
    take_over(play, lease, lease.chronicle, promised)


def disturb_restore(play: Play, lease: Lease) -> None:
    lease.wait_for(lambda event: event.get("decision") == "restore")
    play.pause(1)
    way = play.rng.choice(["sidecar killed", "store away", "database crashed"])
    play.tally.incident(f"{way} during a restore")
    if way == "sidecar killed":
        lease.kill()
        lease.start(RESTORE_KEY=READER)
    elif way == "store away":
        play.gate.shut()
        play.pause(3)
        play.gate.open()
    else:
        lease.server.kill()
        play.pause(3)
        lease.server.start()


def second_lease(play: Play, old: Lease) -> Lease:
    """Beside the old one, which goes on."""
    play.tally.incident("second lease")
    new = play.lease("new")
    old.look()
    promised = newest_promise(play.tally, old.chronicle)
    new.start(RESTORE_KEY=READER)
    take_over(play, new, old.chronicle, promised)
    return new


def take_over(play: Play, lease: Lease, origin: Chronicle, promised: int) -> None:
    """Wait for the restore, look whether it is what it should be, and let the app write into it."""
    began = time.monotonic()
    lease.wait_for(is_back)
    play.tally.longest_restore = max(play.tally.longest_restore, time.monotonic() - began)
    state = examine(lease.uri)
    for rule in state.broken:
        play.tally.fault(f"in the database that a sidecar restored it does not hold that {rule}")
    if state.n < promised:
        play.tally.fault(f"a sidecar restored transaction {state.n}; a backup with {promised} had been reported")
    if state.checksum not in origin.checksums(state.n):
        play.tally.fault(f"a sidecar restored another transaction {state.n} than there was")
    lease.chronicle = Chronicle(origin, state.n)
    play.know(lease)
    lease.write(play.rng)


def newest_promise(tally: Tally, chronicle: Chronicle) -> int:
    """The number of the last transaction that a reported backup has for certain."""
    told = [event for event in tally.reported.values() if "timestamp" in event]
    ends = [clock.from_iso(event["timestamp"]) - event["seconds"] for event in told]
    return chronicle.least(max(ends, default=0.0))


def is_noticed(event: Event) -> bool:
    """That the database is not the one that it was: by a look before a run, or by the run."""
    return event.get("kind") == "database" or "decision" in event or "suspect: " in event["event"]


def is_back(event: Event) -> bool:
    return event["event"].startswith("restored from backup") or event.get("decision") == "go on"
