"""How the sidecar is, in Prometheus' text format; examples/prometheus-rules.yaml says what is worth an alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dwebbackup.daemon.status import Kind, Made, Phase, Run, SourceStatus, Status, StoreStatus
from dwebbackup.daemon.summary import is_newest_suspect, phase, wrong

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def metrics(status: Status, undelivered: int | None = None) -> bytes:
    """*status* for a scrape; *undelivered*: how many notices were given up since the start."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told(status, undelivered))
    return generate_latest(registry)


class _Told(Collector):
    """One status, asked once."""

    def __init__(self, status: Status, undelivered: int | None) -> None:
        self._status = status
        self._undelivered = undelivered

    def collect(self) -> Iterator[Metric]:
        status = self._status
        yield from _process(status)
        yield from _sources(status)
        yield from _newest_good(status)
        yield from _stores(status.stores)
        yield from _drills(status.runs)
        if self._undelivered is not None:
            words = "Notices that were given up since the start."
            yield CounterMetricFamily("dwebbackup_undelivered_notices", words, value=self._undelivered)


_Values = Iterable[tuple[tuple[str, ...], float | None]]
"""Of each line its labels and its number; None: not known, and no line."""


def _gauge(name: str, words: str, labels: tuple[str, ...], values: _Values) -> Metric:
    family = GaugeMetricFamily(f"dwebbackup_{name}", words, labels=labels)
    for of, value in values:
        if value is not None:
            family.add_metric(of, value)
    return family


def _process(status: Status) -> Iterator[Metric]:
    yield InfoMetricFamily("dwebbackup_build", "The version that runs.", value={"version": status.version})
    yield _gauge("start_timestamp_seconds", "When the sidecar started.", (), [((), status.started)])
    failed = CounterMetricFamily("dwebbackup_failures", "Failures since the start.", labels=("kind",))
    times = dict(status.failures)
    for kind in get_args(Kind):
        failed.add_metric((kind,), times.get(kind, 0))
    yield failed
    kinds = [problem.kind for _, problem in wrong(status)]
    here = [((kind,), kinds.count(kind)) for kind in get_args(Kind)]
    yield _gauge("problems", "How many things are wrong now.", ("kind",), here)


def _sources(status: Status) -> Iterator[Metric]:
    def gauge(name: str, words: str, value: Callable[[SourceStatus], float | None]) -> Metric:
        return _gauge(name, words, ("source",), [((source.name,), value(source)) for source in status.sources])

    yield gauge(
        "fresh",
        "1 while the newest good backup is younger than its schedule allows.",
        lambda source: source.is_fresh(status.now),
    )
    yield _gauge(
        "phase",
        "1 for what the sidecar is doing about this source, 0 for all else.",
        ("source", "phase"),
        [
            ((source.name, each), each == phase(source, status.now))
            for source in status.sources
            for each in get_args(Phase)
        ],
    )
    yield gauge("next_run_timestamp_seconds", "When the next backup is due.", lambda source: source.next_run)
    yield gauge(
        "good_until_timestamp_seconds",
        "By when the next good backup has to be there.",
        lambda source: source.good_until,
    )
    yield _gauge(
        "backups",
        "Backups in the catalog, of the last thousand.",
        ("source", "standing"),
        [line for source in status.sources for line in _standings(source)],
    )
    yield gauge("newest_suspect", "1 while the newest backup does not count as good.", is_newest_suspect)
    yield gauge(
        "progress_done_bytes",
        "How much of the work under way is done.",
        lambda source: source.moving.done if source.moving else None,
    )
    yield gauge(
        "progress_expected_bytes",
        "How much the work under way is in all; an estimate.",
        lambda source: source.moving.total if source.moving else None,
    )


def _standings(source: SourceStatus) -> _Values:
    suspect = sum(bool(made.suspect) for made in source.history)
    yield (source.name, "good"), len(source.history) - suspect
    yield (source.name, "suspect"), suspect


def _newest_good(status: Status) -> Iterator[Metric]:
    def gauge(name: str, words: str, value: Callable[[Made], float | None]) -> Metric:
        good = [(source.name, source.good) for source in status.sources if source.good]
        return _gauge(f"last_success_{name}", words, ("source",), [((of,), value(made)) for of, made in good])

    yield gauge("timestamp_seconds", "When the newest good backup was finished.", lambda made: made.finished)
    yield gauge(
        "age_seconds", "How long ago the newest good backup was finished.", lambda made: status.now - made.finished
    )
    yield gauge("duration_seconds", "How long the newest good backup took.", lambda made: made.seconds)
    yield gauge("read_bytes", "What the newest good backup read from the database.", lambda made: made.bytes_read)
    yield gauge("stored_bytes", "What the newest good backup had to store.", lambda made: made.bytes_stored)
    yield gauge("dedup_ratio", "The share of the bytes read that did not have to be stored.", _saved)
    yield gauge("rows", "How many rows the newest good backup holds.", lambda made: made.rows)


def _saved(made: Made) -> float | None:
    return max(0.0, 1 - made.bytes_stored / made.bytes_read) if made.bytes_read else None


def _stores(stores: tuple[StoreStatus, ...]) -> Iterator[Metric]:
    def gauge(name: str, words: str, value: Callable[[StoreStatus], float | None]) -> Metric:
        return _gauge(f"store_{name}", words, ("store",), [((store.name,), value(store)) for store in stores])

    yield gauge("healthy", "0 while something is wrong with the store.", lambda store: store.problem is None)
    yield gauge("answered_timestamp_seconds", "When the store last answered.", lambda store: store.answered)
    yield gauge("packs", "This writer's packs in the store.", lambda store: store.packs)
    yield gauge("size_bytes", "What this writer's packs take in the store.", lambda store: store.bytes)


def _drills(runs: tuple[Run, ...]) -> Iterator[Metric]:
    newest = {run.source: run for run in runs if run.what == "drill"}.values()

    def gauge(name: str, words: str, value: Callable[[Run], float]) -> Metric:
        return _gauge(f"last_drill_{name}", words, ("source",), [((run.source,), value(run)) for run in newest])

    yield gauge("timestamp_seconds", "When the newest drill ended.", lambda run: run.began + run.seconds)
    yield gauge("success", "1 if the newest drill restored what it should.", lambda run: run.outcome == "ok")
    yield gauge("duration_seconds", "How long the newest drill took.", lambda run: run.seconds)
