"""A span for each request, where OpenTelemetry is installed and set up (``opentelemetry-instrument ancf serve …``).

Spans are made when the request has been answered. A server without OpenTelemetry, or where it is installed and nobody
set it up, pays for one comparison: a span that goes nowhere would take longer than a list. They belong to the trace of
the header ``traceparent``, and no id of a person stands in them.
"""

import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec

Record = Callable[[str, int, float, Mapping[bytes, bytes]], None]
"""Route, status, seconds, headers of the request."""


def recorder() -> Record | None:
    """What makes spans; None where there is no OpenTelemetry, or nothing that would take them."""
    if find_spec("opentelemetry") is None:
        return None
    try:
        from opentelemetry import propagate, trace
    except ImportError:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return None
    tracer = provider.get_tracer("ancf.serving")

    def record(route: str, status: int, seconds: float, headers: Mapping[bytes, bytes]) -> None:
        context = None
        if b"traceparent" in headers:
            names = ("traceparent", "tracestate")
            carrier = {name: headers.get(name.encode(), b"").decode("latin-1") for name in names}
            context = propagate.extract({name: value for name, value in carrier.items() if value})
        end = time.time_ns()
        span = tracer.start_span(route, context, trace.SpanKind.SERVER, start_time=end - int(seconds * 1e9))
        method, _, path = route.partition(" ")
        span.set_attribute("http.request.method", method)
        span.set_attribute("http.route", path)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        span.end(end)

    return record
