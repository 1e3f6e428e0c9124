"""The page at ``/``: a shop to walk through, whose lists come from the routes that everybody uses.

One HTML document with its style and script inside; its policy lets nothing else run and nothing be fetched from
elsewhere.
"""

import base64
import hashlib
import re
from importlib.resources import files


def page() -> tuple[bytes, str]:
    """The page, and its content security policy."""
    content = files("ancf.serving").joinpath("playground.html").read_bytes()
    style, script = (_hash(content, tag) for tag in (b"style", b"script"))
    policy = (
        f"default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return content, policy


def _hash(content: bytes, tag: bytes) -> str:
    found = re.search(rb"<" + tag + rb">(.*?)</" + tag + rb">", content, re.DOTALL)
    assert found is not None
    return "sha256-" + base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
