"""The studio's own icon and manifest, in place of Gradio's."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from studio.ui.theme import COLOURS, ICONS

ICON_LINK = b'<link rel="icon" type="image/svg+xml" href="/favicon.ico"><title>Tunesmith</title>'


def icon_svg() -> str:
    """The tuning fork in the accent, light or dark as the system is."""
    light, dark = COLOURS["accent"]
    style = f"path{{stroke:{light}}}@media(prefers-color-scheme:dark){{path{{stroke:{dark}}}}}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" fill="none" stroke-width="2.4" '
        f'stroke-linecap="round"><style>{style}</style>{ICONS["fork"]}</svg>'
    )


def brand_router() -> APIRouter:
    """`/favicon.ico` (an SVG) and `/manifest.json`."""
    router = APIRouter()

    @router.get("/favicon.ico")
    async def favicon() -> Response:
        return Response(icon_svg(), media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})

    @router.get("/manifest.json")
    async def manifest() -> JSONResponse:
        icons = [{"src": "/favicon.ico", "sizes": "any", "type": "image/svg+xml", "purpose": "any"}]
        whole = {"name": "Tunesmith", "start_url": "/", "display": "standalone", "icons": icons}
        return JSONResponse(whole, media_type="application/manifest+json")

    return router
