"""Spans of requests, as OpenTelemetry's own exporter sees them."""

import pytest

from ancf.serving.tracing import recorder

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed (ancf[test-serve])")


@pytest.fixture
def spans(monkeypatch):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def test_a_request_is_a_span_of_the_trace_that_asked(spans):
    record = recorder()
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    record("GET /v1/recommend/{user_id}", 200, 0.25, {b"traceparent": parent})
    record("GET /health/ready", 503, 0.001, {})
    first, second = spans.get_finished_spans()
    assert first.name == "GET /v1/recommend/{user_id}"
    assert dict(first.attributes) == {
        "http.request.method": "GET",
        "http.route": "/v1/recommend/{user_id}",
        "http.response.status_code": 200,
    }
    assert f"{first.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{first.parent.span_id:016x}" == "b7ad6b7169203331"
    assert first.end_time - first.start_time == 250_000_000
    assert (first.status.is_ok or first.status.is_unset, second.status.is_ok) == (True, False)
    assert second.parent is None


def test_without_opentelemetry_there_is_nothing_to_pay_for(monkeypatch):
    monkeypatch.setattr("ancf.serving.tracing.find_spec", lambda _: None)
    assert recorder() is None


def test_where_nobody_set_it_up_there_is_nothing_to_pay_for_either(spans, monkeypatch):
    from opentelemetry import trace

    assert recorder() is not None
    for nothing in (trace.ProxyTracerProvider(), trace.NoOpTracerProvider()):
        monkeypatch.setattr(trace, "get_tracer_provider", lambda nothing=nothing: nothing)
        assert recorder() is None
