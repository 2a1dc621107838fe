"""Metrics, traces and logs say what happened, with bounded series and without prompts."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from adapterworks.gateway.config.tables import LogTable, TracingTable
from adapterworks.gateway.observe.logs import StructuredFormatter, configure_logging
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.gateway.observe.tracing import Tracing

ROOT = Path(__file__).resolve().parents[3]


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_what_is_counted_is_what_is_shown() -> None:
    metrics = Metrics()
    for status in (200, 200, 503):
        metrics.finished(
            tenant="acme", adapter="medical", endpoint="/v1/chat/completions", status=status,
            prompt_tokens=10, completion_tokens=5, seconds=0.3,
        )  # fmt: skip
    metrics.series("acme", "medical").first_token(0.2)
    metrics.series("acme", "medical").between_tokens(0.02)
    metrics.loaded(engine="e1", adapter="medical@1", outcome="ok", seconds=0.1)
    metrics.loaded(engine="e1", adapter="medical@2", outcome="refused", seconds=0.1)
    shown = samples(metrics)
    # Label values are in the order of the labels' names: adapter, endpoint, status, tenant.
    assert shown["adapters_requests_total", "medical", "/v1/chat/completions", "200", "acme"] == 2
    assert shown["adapters_tokens_total", "medical", "prompt", "acme"] == 30
    assert shown["adapters_tokens_total", "medical", "completion", "acme"] == 15
    assert shown["adapters_time_to_first_token_seconds_count", "medical", "acme"] == 1
    assert shown["adapters_inter_token_seconds_sum", "medical", "acme"] == 0.02
    assert shown["adapters_proof_failures_total", "medical@2", "e1"] == 1
    assert metrics.series("acme", "medical") is metrics.series("acme", "medical")


def test_resident_adapters_are_exactly_those_said() -> None:
    metrics = Metrics()
    metrics.set_resident("e1", ["a@1", "b@1"])
    metrics.set_resident("e2", ["a@1"])
    metrics.set_resident("e1", ["b@1", "c@1"])
    resident = {key[1:] for key in samples(metrics) if key[0] == "adapters_resident"}
    assert resident == {("b@1", "e1"), ("c@1", "e1"), ("a@1", "e2")}


def test_the_dashboard_asks_only_for_metrics_there_are() -> None:
    dashboard = json.loads((ROOT / "docs" / "reference" / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [
        variable["query"] for variable in dashboard["templating"]["list"] if "refresh" in variable
    ]
    metrics = Metrics()
    known: set[str] = set()
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        known |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
    asked = {name for text in expressions for name in re.findall(r"adapters_\w+", text)}
    assert len(asked) >= 12
    assert asked - known == set()


def test_a_trace_continues_the_callers_and_is_passed_on() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(TracingTable(), exporter=exporter)
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    outgoing: dict[str, str] = {}
    with tracing.span("request", headers={"traceparent": caller}, tenant="acme"):
        with tracing.span("load", adapter="medical@1"):
            tracing.inject(outgoing)
        with pytest.raises(ValueError, match="secret"), tracing.span("relay"):
            raise ValueError("a secret prompt")
    tracing.close()
    spans = {span.name: span for span in exporter.get_finished_spans()}
    trace = int("0af7651916cd43dd8448eb211c80319c", 16)
    assert {span.context.trace_id for span in spans.values()} == {trace}
    assert spans["load"].parent.span_id == spans["request"].context.span_id
    assert outgoing["traceparent"].split("-")[2] == f"{spans['load'].context.span_id:016x}"
    assert spans["request"].attributes["tenant"] == "acme"
    assert "secret" not in str([span.to_json() for span in spans.values()])
    assert spans["relay"].status.description == "ValueError"


def test_tracing_that_is_off_loads_nothing() -> None:
    code = (
        "import sys\n"
        "from adapterworks.gateway.config.tables import TracingTable\n"
        "from adapterworks.gateway.observe.tracing import Tracing\n"
        "tracing = Tracing(TracingTable())\n"
        "with tracing.span('request', headers={}) as span: tracing.inject({})\n"
        "tracing.close(); print(span, [m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "None []"


def test_log_lines_are_json_or_text() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        for table in (LogTable(), LogTable(format="text", level="debug")):
            stream = io.StringIO()
            configure_logging(table, stream)
            log = logging.getLogger("gateway.test")
            log.info("answered", extra={"fields": {"status": 200, "answer": "private"}})
            log.debug("details")
            try:
                raise RuntimeError("broken")
            except RuntimeError:
                log.exception("failed")
            text = stream.getvalue()
            assert "private" not in text
            assert "RuntimeError: broken" in text
            if table.format == "json":
                entries = [json.loads(line) for line in text.splitlines()]
                assert [entry["message"] for entry in entries] == ["answered", "failed"]
                assert entries[0]["status"] == 200
            else:
                assert "info    answered status=200\n" in text
                assert "debug   details" in text
    finally:
        root.handlers[:] = before
        root.setLevel(level)


@pytest.mark.parametrize("kind", ["json", "text"])
def test_what_a_client_wrote_begins_no_line_and_does_nothing_to_a_terminal(
    kind: Literal["json", "text"],
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(StructuredFormatter(LogTable(format=kind)))
    forged = "x\n2026-01-01T00:00:00Z info all is well\x1b]0;owned\x07\x9b2J\u202e"
    record = logging.LogRecord("g", logging.INFO, "p", 1, f"no {forged}", None, None)
    record.__dict__["fields"] = {"model": forged}
    handler.emit(record)
    (line,) = stream.getvalue().splitlines()
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(line)
    assert line.count("all is well") == 2
