"""Gradio's HTML component as we serve it: mended, so that the page needs no `eval` (see headers)."""

from fastapi import APIRouter
from fastapi.responses import Response

from studio.shell.headers import html_component


def frontend_router() -> APIRouter:
    """One route for the mended file, in front of Gradio's own; none where this Gradio looks different."""
    router = APIRouter()
    if found := html_component():
        name, source = found

        @router.get(f"/assets/{name}")
        async def component() -> Response:
            return Response(source, media_type="text/javascript", headers={"Cache-Control": "max-age=3600"})

    return router
