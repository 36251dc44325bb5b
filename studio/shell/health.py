"""`/healthz`: whether the web process lives. For container checks and for `up`, which waits for it."""

from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from studio.core.settings import Settings


def program_version() -> str:
    """The installed version; "0" in a checkout that was never installed."""
    try:
        return version("tunesmith")
    except PackageNotFoundError:
        return "0"


def health_router(settings: Settings) -> APIRouter:
    """One route: 200 with `{"ok": true, "version": ...}`, 503 where the data dir is gone. Asks no database."""
    router = APIRouter()
    number = program_version()

    @router.get("/healthz")
    async def healthz() -> JSONResponse:
        there = settings.data_dir.is_dir()
        return JSONResponse({"ok": there, "version": number}, 200 if there else 503)

    return router
