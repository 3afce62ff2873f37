"""What goes wrong: each incident is over when it returns, and the next backups have to succeed again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.soak.commands import INCOMPLETE, dwebbackup
from bench.soak.lease import Lease, in_background
from bench.soak.watch import is_reading
from daemon.gate import Gate
from daemon.sidecar import OWNER

KEEP = 12
"""Good backups of each history that a prune leaves."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What an incident may lay hands on."""

    lease: Lease
    gate: Gate
    rng: random.Random

    def pause(self, longest: float) -> None:
        time.sleep(self.rng.uniform(0, longest))

    def begin_run(self) -> None:
        """A moment at which a backup is under way, mostly."""
        assert self.lease.sidecar
        self.lease.nudge()
        deadline = time.monotonic() + self.rng.uniform(0, 4)
        while time.monotonic() < deadline and not is_reading(self.lease.sidecar.process.pid):
            time.sleep(0.02)
        self.pause(0.5)


def store_away(scene: Scene) -> None:
    scene.gate.shut()
    scene.pause(3)
    scene.gate.open()


def store_away_during_a_run(scene: Scene) -> None:
    scene.begin_run()
    store_away(scene)


def store_flickers(scene: Scene) -> None:
    scene.begin_run()
    for _ in range(5):
        scene.gate.shut()
        scene.pause(0.1)
        scene.gate.open()
        scene.pause(0.3)


def database_restarted(scene: Scene) -> None:
    scene.begin_run()
    scene.lease.server.stop()
    scene.pause(1)
    scene.lease.server.start()


def database_crashed(scene: Scene) -> None:
    scene.begin_run()
    scene.lease.server.kill()
    scene.pause(1)
    scene.lease.server.start()


def sidecar_killed(scene: Scene) -> None:
    scene.begin_run()
    scene.lease.kill()
    scene.lease.start()


def sidecar_killed_while_the_store_is_away(scene: Scene) -> None:
    scene.begin_run()
    scene.gate.shut()
    scene.pause(1)
    scene.lease.kill()
    scene.lease.start()
    scene.pause(2)
    scene.gate.open()


def machine_crashed(scene: Scene) -> None:
    scene.begin_run()
    scene.lease.server.kill()
    scene.lease.kill()
    scene.lease.start()
    scene.pause(2)
    scene.lease.server.start()


def sidecar_stopped(scene: Scene) -> None:
    scene.begin_run()
    scene.lease.stop()
    scene.lease.start(BACKUP_ON_STOP=scene.rng.choice(["yes", "no"]), RATE=scene.rng.choice(["10M", "100K"]))


def sidecar_frozen(scene: Scene) -> None:
    """As a provider that takes a snapshot of a machine does."""
    assert scene.lease.sidecar
    scene.begin_run()
    scene.lease.sidecar.signal(signal.SIGSTOP)
    scene.pause(2)
    scene.lease.sidecar.signal(signal.SIGCONT)


def configuration_read_again(scene: Scene) -> None:
    """It looks at the database anew, and would restore it where it is not there."""
    assert scene.lease.sidecar
    scene.begin_run()
    already = len(scene.lease.sidecar.events)
    scene.lease.sidecar.signal(signal.SIGHUP)
    scene.lease.wait_for("left as it is", already)


def backup_by_hand(scene: Scene) -> None:
    done = scene.lease.by_hand("backup")
    tally = scene.lease.tally
    if done["suspect"]:
        tally.fault(f"a backup by hand is suspect: {done}")
    tally.report(done["backup"], done)


def pruned(scene: Scene) -> None:
    """By the owner: a writer key keeps two weeks. The sidecar goes on meanwhile, and is killed once in a while."""
    lease = scene.lease
    lease.look()
    wait = in_background(lambda: prune(lease))
    if scene.rng.random() < 0.3:
        scene.pause(1)
        lease.kill()
        lease.start()
    wait()


def prune(lease: Lease) -> None:
    words = lease.settings | {"KEY": OWNER.words}
    done = dwebbackup(lease.folder, "prune", "--keep", f"last {KEEP}", **words)
    dropped = {each["backup"] for each in done["backups"] if not each["keep"]}
    for doubt in done["doubts"] if done["status"] == INCOMPLETE else ():
        if "wait for a later prune" not in doubt:
            lease.tally.fault(f"a prune doubts: {doubt}")
    good = [each["backup"] for each in done["backups"] if each["backup"] not in lease.tally.suspects]
    if lost := dropped & set(good[-KEEP:]):  # of the last of all, each is one of the last of its history
        lease.tally.fault(f"a prune that keeps the last {KEEP} dropped {lost}")
    lease.tally.pruned |= dropped


def page_read(scene: Scene) -> None:
    assert scene.lease.sidecar
    scene.begin_run()
    for path in ("/", "/metrics", "/healthz"):
        status = scene.lease.sidecar.get(path).status_code
        if status not in ((200, 503) if path == "/healthz" else (200,)):
            scene.lease.tally.fault(f"{path} answered {status}")


ALL: list[Callable[[Scene], None]] = [
    store_away,
    store_away_during_a_run,
    store_flickers,
    database_restarted,
    database_crashed,
    sidecar_killed,
    sidecar_killed,
    sidecar_killed_while_the_store_is_away,
    machine_crashed,
    sidecar_stopped,
    sidecar_frozen,
    configuration_read_again,
    backup_by_hand,
    pruned,
    page_read,
]


def drawn(rng: random.Random) -> Iterator[Callable[[Scene], None]]:
    """For ever; each comes once before any comes again."""
    while True:
        yield from rng.sample(ALL, len(ALL))


def words_of(incident: Callable[[Scene], None]) -> str:
    return incident.__name__.replace("_", " ")
