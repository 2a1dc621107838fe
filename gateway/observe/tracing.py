"""OpenTelemetry traces over OTLP/HTTP when `[tracing] endpoint` is set; else nothing is loaded.

    with tracing.span("request", headers=request.headers, tenant=…) as span:
        tracing.inject(engine_headers)

Invariant: without an endpoint no OpenTelemetry module is imported and a span costs a function call.
Span attributes are names and numbers; prompts and answers are never put into a trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from adapterworks.gateway.config.tables import TracingTable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter


class Tracing:
    """Spans of one gateway; a caller's W3C `traceparent` is taken up and passed on."""

    def __init__(self, table: TracingTable, *, exporter: SpanExporter | None = None) -> None:
        """`exporter` replaces the OTLP exporter (to read the spans in a test)."""
        self._provider: TracerProvider | None = None
        if table.endpoint is None and exporter is None:
            return
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=table.endpoint)
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "adapterworks-gateway"}),
            sampler=ParentBased(TraceIdRatioBased(table.sample)),
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("gateway")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(
        self,
        name: str,
        *,
        headers: Mapping[str, str] | None = None,
        **attributes: str | int | float,
    ) -> Iterator[Any]:
        """A span around the block, current inside it; `headers` continue a caller's trace.

        Yields the span (`set_attribute`), or None when tracing is off. An exception is recorded by
        its class only, since a message may quote what a client wrote.
        """
        if self._provider is None:
            yield None
            return
        from opentelemetry.trace import StatusCode

        context = self._propagator.extract(dict(headers)) if headers else None
        with self._tracer.start_as_current_span(
            name,
            context=context,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Add the current span's `traceparent` to the headers of an outgoing request."""
        if self._provider is not None:
            self._propagator.inject(headers)

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()
