"""Sending the tab to another page. The policy of our pages allows no script of a handler, so a tag does it."""

from urllib.parse import quote

from studio.ui.markup import Markup


def go_to(path: str, **values: str) -> Markup:
    """Markup that opens `path` (our own) with `values` in its query, as soon as it stands on the page."""
    return Markup('<meta http-equiv="refresh" content="0; url={}">').format(address(path, **values))


def address(path: str, **values: str) -> str:
    """A path of ours with `values`, encoded, in its query."""
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())
    return f"{path}?{query}" if query else path
