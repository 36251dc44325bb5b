"""Who is asking. Every handler takes the owner from here, never from a value of the page."""

from typing import Any

from studio.core.stores.users import LOCAL_USER


def owner_of(request: Any) -> str:
    """The owner's id of a Gradio or Starlette request. One local user for now; logins come with their own issue."""
    del request
    return LOCAL_USER
