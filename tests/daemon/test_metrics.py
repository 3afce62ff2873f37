"""The metrics by Prometheus' own tools, the alerts by its rule tests, and the dashboard: only of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.screenshots import PICTURES
from daemon.statuses import EVERY, HOUR, NOW, RESTORING, STORE, SUSPECT, WAITING, WELL, history, source, status
from dwebbackup.daemon.metrics import metrics
from dwebbackup.daemon.status import Kind, Phase, Problem, Run, Status

EXAMPLES = Path(__file__).parents[2] / "examples"
RULES = EXAMPLES / "prometheus-rules.yaml"
DASHBOARD = EXAMPLES / "grafana-dashboard.json"

BUSY = status(replace(WELL.sources[0], moving=RESTORING.sources[0].moving), runs=WELL.runs)
"""It has something of everything."""


def told(about: Status, undelivered: int | None = None) -> dict[tuple[str, ...], float]:
    """Every line: by its name and the values of its labels, sorted by the label's name."""
    return {
        (sample.name.removeprefix("dwebbackup_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics(about, undelivered).decode())
        for sample in family.samples
    }


def names() -> set[str]:
    """Of all metrics that a sidecar may have."""
    return {f"dwebbackup_{name}" for name, *_ in told(BUSY, 0)}


def promtool(*arguments: str, given: bytes = b"") -> None:
    program = shutil.which("promtool") or pytest.fail("the program `promtool` is missing: apt-get install prometheus")
    ran = subprocess.run([program, *arguments], input=given, capture_output=True, check=False)
    said = (ran.stdout + ran.stderr).decode()
    assert ran.returncode == 0, said


@pytest.mark.parametrize("name", EVERY)
def test_promtool_finds_nothing_to_say_about_the_metrics(name):
    text = metrics(EVERY[name], 3)
    for line in text.decode().splitlines():
        assert line.startswith(("# HELP dwebbackup_", "# TYPE dwebbackup_", "dwebbackup_"))
    promtool("check", "metrics", given=text)


def test_the_newest_good_backup_is_told():
    good = SUSPECT.sources[0].good
    assert good
    assert good != SUSPECT.sources[0].history[-1]
    seen = told(SUSPECT)
    assert seen["last_success_timestamp_seconds", "app"] == good.finished
    assert seen["last_success_age_seconds", "app"] == NOW - good.finished
    assert seen["last_success_duration_seconds", "app"] == good.seconds
    assert seen["last_success_read_bytes", "app"] == good.bytes_read
    assert seen["last_success_stored_bytes", "app"] == good.bytes_stored
    assert seen["last_success_rows", "app"] == good.rows
    assert seen["last_success_dedup_ratio", "app"] == 1 - good.bytes_stored / good.bytes_read
    assert seen["good_until_timestamp_seconds", "app"] == SUSPECT.sources[0].good_until
    assert seen["next_run_timestamp_seconds", "app"] == SUSPECT.sources[0].next_run


def test_what_is_not_known_has_no_line():
    seen = {name for name, *_ in told(WAITING)}
    assert not {
        name for name in seen if name.startswith(("last_", "progress_", "next_run", "good_until", "undelivered"))
    }
    unknown = told(replace(WAITING, stores=(replace(STORE, answered=None, packs=None, bytes=None),)))
    assert ("store_healthy", "s3") in unknown
    assert ("store_packs", "s3") not in unknown


def test_a_backup_of_nothing_has_no_ratio_and_one_that_grew_saved_nothing():
    empty = replace(history(1)[0], bytes_read=0)
    grown = replace(empty, bytes_read=10, bytes_stored=12)
    assert ("last_success_dedup_ratio", "app") not in told(status(source((empty,))))
    assert told(status(source((grown,))))["last_success_dedup_ratio", "app"] == 0


def test_suspect_backups_are_counted_apart():
    seen = told(SUSPECT)
    assert (seen["backups", "app", "good"], seen["backups", "app", "suspect"]) == (120, 1)
    assert seen["newest_suspect", "app"] == 1
    assert told(WELL)["newest_suspect", "app"] == 0


def test_every_kind_of_failure_begins_at_zero_so_that_the_first_one_is_an_increase():
    seen = told(WELL)
    assert seen["failures_total", "store"] == 1
    assert [seen["failures_total", kind] for kind in get_args(Kind) if kind != "store"] == [0] * 9


def test_what_is_wrong_now_is_counted_by_kind():
    overdue = told(EVERY["overdue"])
    assert [kind for kind in get_args(Kind) if overdue["problems", kind] == 1] == ["store", "database"]
    assert (overdue["store_healthy", "attic"], overdue["store_healthy", "s3"]) == (0, 1)
    assert (overdue["fresh", "app"], told(WELL)["fresh", "app"]) == (0, 1)


def test_of_all_phases_one_is_on():
    seen = told(RESTORING)
    assert [phase for phase in get_args(Phase) if seen["phase", phase, "app"] == 1] == ["restoring"]
    moving = RESTORING.sources[0].moving
    assert moving
    assert (seen["progress_done_bytes", "app"], seen["progress_expected_bytes", "app"]) == (moving.done, moving.total)


def test_who_has_waited_for_a_quarter_of_an_hour_is_in_alarm():
    for age, phase in ((899, "waiting"), (901, "alarm")):
        away = Problem("database", "wrong password", "", NOW - age)
        seen = told(status(source((), phase="waiting", problem=away)))
        assert [each for each in get_args(Phase) if seen["phase", each, "app"] == 1] == [phase]


def test_the_newest_drill_counts():
    drills = [Run("drill", "app", NOW - at * HOUR, 60, outcome, "") for at, outcome in ((9, "ok"), (3, "failed"))]
    seen = told(status(runs=tuple(drills)))
    assert seen["last_drill_success", "app"] == 0
    assert seen["last_drill_timestamp_seconds", "app"] == NOW - 3 * HOUR + 60


def test_lost_notices_and_the_version_are_told():
    seen = told(WELL, 2)
    assert seen["undelivered_notices_total",] == 2
    assert seen["build_info", "0.1.0"] == 1
    assert seen["start_timestamp_seconds",] == WELL.started


def table() -> str:
    """All metrics, as they stand in the docs."""
    lines = ["| metric | labels | is |", "|---|---|---|"]
    for family in text_string_to_metric_families(metrics(BUSY, 0).decode()):
        sample = family.samples[0]
        labels = ", ".join(f"`{label}`" for label in sample.labels)
        lines.append(f"| `{sample.name}` | {labels} | {family.documentation} |")
    return "\n".join(lines)


def test_the_page_about_monitoring_has_every_metric():
    assert table() in (EXAMPLES.parent / "docs" / "monitoring.md").read_text()


def test_the_page_about_monitoring_shows_every_picture_and_each_is_small():
    page = (EXAMPLES.parent / "docs" / "monitoring.md").read_text()
    pictures = {picture.name: picture.stat().st_size for picture in (EXAMPLES.parent / "docs" / "images").iterdir()}
    assert set(re.findall(r"images/([\w.-]+)", page)) == {f"{name}.png" for name in PICTURES} == set(pictures)
    assert max(pictures.values()) < 150_000


def test_the_rules_are_ones_and_alert_when_they_should(tmp_path):
    promtool("check", "rules", str(RULES))
    tests = Path(__file__).with_name("prometheus-rules-test.yaml").read_text()
    (tmp_path / "test.yaml").write_text(tests.replace("[RULES]", f"['{RULES}']"))
    promtool("test", "rules", str(tmp_path / "test.yaml"))
    alerts = re.findall(r"alert: (\w+)", RULES.read_text())
    assert {alert for alert in alerts if f"alertname: {alert}\n        exp_alerts" not in tests} == set()


def test_rules_and_dashboard_name_only_metrics_that_exist():
    named = set(re.findall(r"dwebbackup_\w+", RULES.read_text() + " ".join(expressions())))
    assert len(named) > 10
    assert named <= names()


def test_every_expression_of_the_dashboard_is_one(tmp_path):
    given = {"job": ".+", "instance": ".+", "source": ".+", "__interval": "5m"}
    rules = []
    for at, expression in enumerate(expressions()):
        filled = re.sub(r"\$(\w+)", lambda variable: given[variable[1]], expression)
        rules.append({"record": f"dashboard:{at}", "expr": filled})
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.json"))


def test_the_dashboard_is_one_that_grafana_can_import():
    board = json.loads(DASHBOARD.read_text())
    variables = {variable["name"] for variable in board["templating"]["list"]}
    assert set(re.findall(r"\$(?!__)\{?(\w+)", DASHBOARD.read_text())) == variables
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert "id" not in board
    taken = [cell for panel in board["panels"] for cell in cells(panel["gridPos"])]
    assert len(taken) == len(set(taken)), "panels lie on each other"
    assert max(column for column, _ in taken) < 24


def cells(place: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    return [(column, row) for column in columns for row in range(place["y"], place["y"] + place["h"])]


def expressions() -> list[str]:
    return list(_expressions(json.loads(DASHBOARD.read_text())))


def _expressions(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "expr":
                yield value
            elif name == "query" and isinstance(value, dict):
                yield re.sub(r"label_values\((\w+), \w+\)", r"\1", value["query"])
            else:
                yield from _expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from _expressions(value)
