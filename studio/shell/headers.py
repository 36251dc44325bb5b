"""The headers of every answer, and what is changed in Gradio's own pages so that the policy can be tight.

The policy names no foreign host, no inline script without this answer's nonce, and no `eval`. Gradio 6.31 needs two
things for that: its inline scripts get the nonce, and its HTML component, which evaluates its template with
`Function`, is served with a branch of ours for the one template that we use (the value as it is).
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import gradio

FRONTEND = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"

STANDING = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"),
)
# Dropped from Gradio's answers: it lets any origin read with credentials, and the studio has no reader elsewhere.
DROPPED = frozenset({b"server", *(header for header, _ in STANDING), b"content-security-policy"})
OPEN_TO_OTHERS = b"access-control-"

_TEMPLATE = re.compile(r"let (\w+)=(\w+)\.default\.compile\((\w+)\)\((\w+)\)")
_SCRIPT = re.compile(rb"<script\b")
_FOREIGN = re.compile(
    rb"<(?:link|script)\b[^>]*\b(?:href|src)\s*=\s*[\"'](?:https?:)?//[^>]*>(?:\s*</script>)?", re.IGNORECASE
)
_CARDS = re.compile(rb"<meta\s+(?:property|name)=\"(?:og|twitter):[^>]*>\s*")


def script_hash(script: str) -> str:
    """The CSP source of one inline script, given with or without its tags."""
    text = re.sub(r"^\s*<script[^>]*>|</script>\s*$", "", script)
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@cache
def html_component() -> tuple[str, str] | None:
    """Gradio's HTML component as (file name, mended source); None where this Gradio looks different.

    The mended source hands out the value for the template `${value}` instead of compiling it, with the same result.
    """
    for path in FRONTEND.glob("HTML-*.js"):
        source = path.read_text(encoding="utf-8")
        if found := _TEMPLATE.search(source):
            template, values = found.group(3), found.group(4)
            branch = f"if({template}==='')return'';if({template}==='${{value}}')return String({values}.value??'');"
            return path.name, source[: found.start()] + branch + source[found.start() :]
    return None


def policy(nonce: str = "", hashes: tuple[str, ...] = ()) -> bytes:
    """The Content-Security-Policy of one answer. `hashes` name inline scripts that Gradio itself puts in."""
    scripts = ["'self'", *hashes, *([f"'nonce-{nonce}'"] if nonce else [])]
    if html_component() is None:  # another Gradio than the one that was looked at: work, less tightly
        scripts.append("'unsafe-eval'")
    rules = (
        "default-src 'self'",
        "script-src " + " ".join(scripts),
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "frame-src 'none'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return "; ".join(rules).encode()


def mend_page(body: bytes, nonce: str, extra_head: bytes = b"") -> bytes:
    """Gradio's page with the nonce on its scripts, without foreign links and share cards, `extra_head` put in.

    Safe as text replacement: Gradio writes its JSON with `<` escaped, so every `<script` is a tag of its template.
    """
    body = _CARDS.sub(b"", _FOREIGN.sub(b"", body))
    body = body.replace(b"</head>", extra_head + b"</head>", 1)
    return _SCRIPT.sub(b'<script nonce="' + nonce.encode() + b'"', body)
