"""The dashboard, the alerts and the documented monitoring, compared with the metrics that the service exposes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import encoded
from tests.fakes import tagged_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.testclient import TestClient

DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATING = (DEPLOY.parent / "docs/operating.md").read_text()
RELIABILITY = (DEPLOY.parent / "docs" / "reliability.md").read_text()
DASHBOARD = DEPLOY / "grafana-dashboard.json"
RULES, RULES_TEST = DEPLOY / "alerts.yml", DEPLOY / "alerts_test.yml"

NAME = re.compile(r"\b(?:http|fashion|process)_\w+")

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (`apt-get install prometheus`)"
)


def promtool(*arguments: str, text: str | None = None) -> tuple[int, str]:
    """Run promtool in the deploy folder; return its exit code and output."""
    done = subprocess.run(
        ["promtool", *arguments],  # noqa: S607  wherever it is installed
        cwd=DEPLOY,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of the dashboard, preceded by its panel's title."""
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", ()))


def expressions() -> list[str]:
    """Return the expressions of the alert rules, the only place where the rules name metrics."""
    found = re.findall(r"^        expr: (.+?)^        (?:for|labels):", RULES.read_text(), re.DOTALL | re.MULTILINE)
    assert len(found) == RULES.read_text().count("- alert:")
    return found


def used() -> set[str]:
    """Return the names of all metrics that the dashboard or the alerts use."""
    return {name for text in (*(query for _, query in queries()), *expressions()) for name in NAME.findall(text)}


@pytest.fixture
def shown(client: TestClient) -> dict[str, dict[str, set[str]]]:
    """Return the labels and their values of each metric that the service exposes after a prediction."""
    client.post("/predict", content=encoded(tagged_image(9)))
    shown: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            labels = shown.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return shown


def test_every_metric_that_the_dashboard_or_the_alerts_use_is_exposed(shown: dict[str, dict[str, set[str]]]) -> None:
    assert len(used()) > 25
    assert used() - shown.keys() == set()


def test_every_label_that_the_dashboard_or_the_alerts_use_is_exposed_with_that_value(
    shown: dict[str, dict[str, set[str]]],
) -> None:
    given_by_prometheus = {"__name__", "job", "instance"}
    checked = 0
    for text in (*(query for _, query in queries()), *expressions()):
        for metric, selected in re.findall(r"(\w*)\{(.*?)\}", text):
            matchers = re.findall(r'(\w+)(?:=~|!~|=)"(.*?)"', selected)
            names = [metric] if metric else dict(matchers)["__name__"].split("|")
            for label, pattern in matchers:
                values = set().union(*(shown.get(name, {}).get(label, ()) for name in names))
                for value in pattern.split("|") if label not in given_by_prometheus else ():
                    assert any(re.fullmatch(value, one) for one in values), (text, label, value)
                    checked += 1
        grouped = {name for names in re.findall(r"\bby \(([\w, ]+)\)", text) for name in names.split(", ")}
        labels = {label for name in NAME.findall(text) for label in shown[name]}
        # Metrics that Prometheus itself records for each instance, such as `up`, have none of the service's labels.
        assert grouped - labels - given_by_prometheus - {"le"} == set(), text
    assert checked > 15


def test_every_metric_of_the_service_is_used_by_the_dashboard_or_the_alerts(
    shown: dict[str, dict[str, set[str]]],
) -> None:
    stems = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used()}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown if name.startswith(("fashion_", "http_"))}
    assert ours - stems == set()


def test_every_alert_links_to_instructions_and_is_tested() -> None:
    tests = RULES_TEST.read_text()
    _, *rules = RULES.read_text().split("- alert: ")
    assert [rule for rule in rules if "docs/reliability.md" not in rule] == []
    assert [rule for rule in rules if f'alertname="{rule.split()[0]}"' not in tests] == []


def test_the_documented_query_for_the_share_of_failures_is_that_of_the_alert() -> None:
    (alert,) = (" ".join(one.removeprefix(">-").split()) for one in expressions() if 'reason="internal"' in one)
    assert f"    {alert.replace('sum by (job) (', 'sum(').removesuffix(' > 0.01')}\n" in OPERATING


def test_the_documented_job_name_matches_the_alerts() -> None:
    (job,) = re.findall(r"job_name: (\w+)", RELIABILITY)
    patterns = re.findall(r'job=~"(.+?)"', RULES.read_text())
    assert patterns
    assert all(re.fullmatch(pattern, job) for pattern in patterns)


@needs_promtool
def test_promtool_accepts_the_documented_configurations(tmp_path: Path) -> None:
    of_one, of_replicas = re.findall(r"```yaml\n(.+?)```", RELIABILITY, re.DOTALL)
    (tmp_path / "deploy").symlink_to(DEPLOY)
    for text in (of_one, of_one.partition("    static_configs")[0] + of_replicas):
        (tmp_path / "prometheus.yml").write_text(text)
        code, said = promtool("check", "config", "--lint-fatal", str(tmp_path / "prometheus.yml"))
        assert code == 0, said


@needs_promtool
def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    for arguments in (("check", "rules", "--lint-fatal", RULES.name), ("test", "rules", RULES_TEST.name)):
        code, said = promtool(*arguments)
        assert (code, said.count("SUCCESS")) == (0, 1), said


@needs_promtool
def test_promtool_can_parse_every_query_of_the_dashboard(tmp_path: Path) -> None:
    # JSON is valid YAML. Grafana's variables are replaced as Grafana would replace them.
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, (_, query) in enumerate(queries())
    ]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said = promtool("check", "rules", str(tmp_path / "queries.yml"))
    assert code == 0, said


@needs_promtool
def test_promtool_has_no_complaint_about_the_metrics(client: TestClient) -> None:
    client.post("/predict", content=encoded(tagged_image(9)))
    assert promtool("check", "metrics", text=client.get("/metrics").text) == (0, "")
