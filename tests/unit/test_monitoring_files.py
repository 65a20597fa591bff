"""The alert rules, the dashboard and the page say what the catalogue says, and their expressions are PromQL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest
import yaml

from worker.telemetry import CATALOGUE, Kind, Metric

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((ROOT / "deploy/prometheus/warrooms.rules.yml").read_text())[
    "groups"
][0]["rules"]
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy/grafana/warrooms.json").read_text(encoding="utf-8"))
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS: Final = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
PARTS: Final = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count"), Kind.COUNTER: ("",), Kind.GAUGE: ("",)}
SERIES: Final = {f"{metric.name}{part}": metric for metric in CATALOGUE for part in PARTS[metric.kind]}


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    """Every series that it asks for; raises ValueError if it is no PromQL."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)

    promql_parser.walk(promql_parser.parse(expression.replace("$__rate_interval", "5m")), visit)
    return found


def check(expression: str) -> None:
    found = selectors(expression)
    assert found
    for one in found:
        assert one.name in SERIES, f"{one.name} is not in the catalogue"
        known = {*SERIES[one.name].labels, "instance", "job", "le"}
        for matcher in one.matchers.matchers:
            assert matcher.name in known, f"{one.name} has no label {matcher.name}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_promql_about_metrics_that_exist(rule: dict[str, Any]) -> None:
    check(rule["expr"])


@pytest.mark.parametrize(("title", "expression"), TARGETS, ids=[title for title, _ in TARGETS])
def test_a_panel_is_promql_about_metrics_that_exist(title: str, expression: str) -> None:
    assert title
    check(expression)


def test_nonsense_is_found() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        check("sum by (account (warrooms_queue_length)")
    with pytest.raises(AssertionError, match="not in the catalogue"):
        check("warrooms_queue_size > 0")
    with pytest.raises(AssertionError, match="no label queue"):
        check('warrooms_queue_length{queue="urgent"}')


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_the_page_what_to_do(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert notes["summary"]
    assert notes["description"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    page, _, anchor = notes["runbook_url"].partition("#")
    assert (ROOT / page).is_file()
    anchors = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-") for line in headings()}
    assert anchor in anchors
    assert rule["alert"] in PAGE


def headings() -> list[str]:
    return [line.lstrip("#") for line in PAGE.splitlines() if line.startswith("#")]


def row(metric: Metric) -> str:
    labels = ", ".join(metric.labels) or "-"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.unit} | {metric.source} | {metric.sentence} |"


def test_the_page_has_the_catalogue() -> None:
    told = [line for line in PAGE.splitlines() if line.startswith("| `warrooms_")]
    assert told == [row(metric) for metric in CATALOGUE]


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    used = {SERIES[str(one.name)].name for _, expression in TARGETS for one in selectors(expression)}
    used |= {SERIES[str(one.name)].name for rule in RULES for one in selectors(rule["expr"])}
    assert used == {metric.name for metric in CATALOGUE}


def test_the_dashboard_can_be_imported_anywhere() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    sources = {json.dumps(panel["datasource"]) for panel in PANELS}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
