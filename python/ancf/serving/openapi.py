"""The OpenAPI document, made of the routes and their structs, and a page for people made of the document.

The page is one plain HTML document without scripts: nothing is fetched from elsewhere.
"""

import html
import json
import re
from typing import Any

import msgspec

from ancf import _native
from ancf.serving.problems import TITLES
from ancf.serving.routes import OPERATIONS, Operation
from ancf.serving.schema import Id, NoOptions, ProblemBody

# What any request may meet.
_ANYWHERE = (400, 408, 431, 503)
_WITH_KEY = (401, 403)
_WITH_BODY = (413, 415)
PROBLEM_TYPE = "application/problem+json"


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    structs = dict.fromkeys(
        kind for each in OPERATIONS for kind in (each.question, each.answer, ProblemBody) if kind is not None
    )
    schemas, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    refs = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, refs, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ancf",
            "version": _native.__version__,
            "description": "Product recommendations that count what users did a second ago.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(each: Operation, refs: dict[type, dict[str, Any]], components: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": each.handler.__name__,
        "summary": each.summary,
        "description": each.handler.__doc__,
        "responses": {},
    }
    content = {"application/json": {"schema": refs[each.answer]}} if each.answer else {"text/plain": {}}
    described["responses"][str(each.status)] = {"description": "As asked.", "content": content}
    with_body = each.method == "POST"
    statuses = {*_ANYWHERE, *each.problems, *(_WITH_KEY if each.scope else ()), *(_WITH_BODY if with_body else ()), 422}
    for status in sorted(statuses):
        described["responses"][str(status)] = {
            "description": TITLES[status],
            "content": {PROBLEM_TYPE: {"schema": refs[ProblemBody]}},
        }
    if each.scope is not None:
        # Without a file of keys nobody needs one.
        described["security"] = [{}, {"key": []}]
        described["description"] = f"{each.handler.__doc__} A key needs the scope {each.scope}."
    parameters = []
    if each.id_in_path is not None:
        schema = msgspec.json.schema(Id)
        parameters.append({"name": each.id_in_path, "in": "path", "required": True, "schema": schema})
    if with_body:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[each.question]}},
        }
    elif each.question is not NoOptions:
        of_query = components[each.question.__name__]
        for name, schema in of_query["properties"].items():
            required = name in of_query.get("required", ())
            # A query has no null; what may be missing is left out.
            kinds = [kind for kind in schema.get("anyOf", [schema]) if kind != {"type": "null"}]
            parameters.append({"name": name, "in": "query", "required": required, "schema": kinds[0]})
    if parameters:
        described["parameters"] = parameters
    return described


def page(described: dict[str, Any]) -> bytes:
    """The document for people."""
    parts = []
    for path, methods in described["paths"].items():
        for method, each in methods.items():
            parts.append(_section(path, method.upper(), each))
    schemas = "".join(
        f"<details id='{name}'><summary><code>{name}</code></summary><pre>{_pretty(schema)}</pre></details>"
        for name, schema in sorted(described["components"]["schemas"].items())
    )
    text = _PAGE.format(version=html.escape(_native.__version__), routes="".join(parts), schemas=schemas)
    return text.encode()


def _section(path: str, method: str, each: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(p['name'])}</code></td><td>{p['in']}{', needed' if p['required'] else ''}</td>"
        f"<td>{_kind(p['schema'])}</td></tr>"
        for p in each.get("parameters", ())
    )
    body = each.get("requestBody")
    if body:
        rows += f"<tr><td>body</td><td>JSON</td><td>{_kind(body['content']['application/json']['schema'])}</td></tr>"
    good = next(status for status in each["responses"] if status.startswith("2"))
    ok = next(iter(each["responses"][good]["content"].values())).get("schema", {"type": "text"})
    refused = ", ".join(status for status in each["responses"] if status != good)
    return (
        f"<section><h3><b>{method}</b> <code>{html.escape(path)}</code></h3><p>{html.escape(each['description'])}</p>"
        f"<table>{rows}<tr><td>{good}</td><td></td><td>{_kind(ok)}</td></tr>"
        f"<tr><td>{refused}</td><td></td><td>{_kind({'$ref': '#/components/schemas/ProblemBody'})}</td></tr>"
        "</table></section>"
    )


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#{name}'><code>{name}</code></a>"
    return f"<code>{_pretty(schema, indent=None)}</code>"


def _pretty(schema: dict[str, Any], indent: int | None = 2) -> str:
    text = html.escape(json.dumps(schema, indent=indent), quote=False)
    return re.sub(r"#/components/schemas/(\w+)", r"<a href='#\1'>\1</a>", text)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>ancf {version}</title><style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ border-top: 1px solid #8885; padding: .3rem .5rem; vertical-align: top; }}
code, pre {{ overflow-wrap: anywhere; white-space: pre-wrap; }} section {{ margin-bottom: 2rem; }}
</style></head><body><main><h1>ancf {version}</h1>
<p>Product recommendations that count what users did a second ago. The same for programs:
<a href="openapi.json">openapi.json</a>. Errors are <code>application/problem+json</code>.</p>
<h2>Routes</h2>{routes}<h2>Shapes</h2>{schemas}</main></body></html>
"""
