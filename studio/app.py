"""The web process: FastAPI with our own routes, Gradio mounted at `/`, the gate before both."""

import asyncio
import contextlib
import os
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import gradio as gr
from fastapi import APIRouter, FastAPI

from studio.core.settings import Settings
from studio.shell.brand import ICON_LINK, brand_router
from studio.shell.downloads import RunFiles, download_router
from studio.shell.frontend import frontend_router
from studio.shell.gate import Gate
from studio.shell.headers import script_hash
from studio.shell.health import health_router
from studio.shell.listen import address, bind, check_boot, run_server
from studio.shell.problems import answer_problems
from studio.shell.uploads import prepare_uploads, sweep_uploads
from studio.ui import theme
from studio.ui.frame import page
from studio.ui.markup import Markup, empty, html

Draw = Callable[[gr.Blocks, Any], None]  # a page's `draw(studio, services)`
WORDS = {"upload_text.drop_file": "Drop a file here", "upload_text.click_to_upload": "or click to choose one"}
SWEEP_SECONDS = 60
AT_ONCE = 4  # handlers that wait in the queue, unless they say otherwise; QUIET ones do not wait


def build_app(
    settings: Settings,
    services: Any,
    pages: Sequence[Draw] = (),
    files: RunFiles | None = None,
    api: APIRouter | None = None,
) -> FastAPI:
    """The whole web app. `services` is handed to the pages as it is; `files` says how downloads find their things.

    `api` is what answers below `/v1`.

    Raises BootRefused where Gradio would open the studio to strangers. The data dir must be there. Not to be called
    inside an event loop.
    """
    check_boot(settings)
    prepare_uploads(settings)
    quiet_gradio()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lambda _: sweeping(settings))
    answer_problems(app)
    for router in (health_router(settings), brand_router(), frontend_router()):
        app.include_router(router)
    if files is not None:
        app.include_router(download_router(files))
    if api is not None:
        app.include_router(api)
    asyncio.run(put_together(app, services, pages or (placeholder,), settings))
    app.add_middleware(Gate, settings=settings, hashes=(script_hash(theme.SWITCH),), extra_head=ICON_LINK)
    return app


async def put_together(app: FastAPI, services: Any, pages: Sequence[Draw], settings: Settings) -> None:
    """Draw and mount. Inside a loop, because Gradio outside of one makes loops that it never closes."""
    mount(app, draw_pages(services, pages), settings)


def quiet_gradio() -> None:
    """Nothing is reported to anybody. Gradio and the Hub's client read these from the environment."""
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")


def draw_pages(services: Any, pages: Sequence[Draw]) -> gr.Blocks:
    """All pages in one Gradio app, with its queue."""
    studio = gr.Blocks(title="Tunesmith", fill_width=True, analytics_enabled=False)
    for draw in pages:
        draw(studio, services)
    studio.queue(api_open=False, default_concurrency_limit=AT_ONCE)
    return studio


def placeholder(studio: gr.Blocks, services: Any) -> None:
    """The first page of a studio without pages."""
    with page(studio, "Home"):
        html(empty("Nothing here yet", Markup("The pages of the studio are not part of this process.")))


def mount(app: FastAPI, studio: gr.Blocks, settings: Settings) -> None:
    """Gradio at `/`, closed as far as it lets itself be closed; the gate shuts the rest."""
    with warnings.catch_warnings():  # it says that several pages and server rendering exclude each other, also when off
        warnings.filterwarnings("ignore", message="SSR mode is not supported", category=UserWarning)
        mount_quietly(app, studio, settings)


def mount_quietly(app: FastAPI, studio: gr.Blocks, settings: Settings) -> None:
    """Gradio's own mounting, with all that it offers for closing."""
    gr.mount_gradio_app(
        app,
        studio,
        path="/",
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        run_history=False,
        ssr_mode=False,
        show_error=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        footer_links=[],
        allowed_paths=[],
        blocked_paths=[str(settings.data_dir.resolve())],
        max_file_size=settings.max_upload_bytes,
        theme=theme.Studio(),
        head=theme.SWITCH,
        i18n=gr.I18n(en=WORDS),
    )


@contextlib.asynccontextmanager
async def sweeping(settings: Settings) -> AsyncIterator[None]:
    """While the app lives, uploads that nobody took are removed every minute."""

    async def sweep() -> None:
        while True:
            await asyncio.to_thread(sweep_uploads, settings)
            await asyncio.sleep(SWEEP_SECONDS)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def serve(
    settings: Settings,
    services: Any,
    pages: Sequence[Draw] = (),
    files: RunFiles | None = None,
    announce: Callable[[str], None] = lambda _: None,
    api: APIRouter | None = None,
) -> None:
    """Run the web process until it is told to end. `announce` gets the address when it answers.

    Raises BootRefused before anything is built where the settings or the port forbid it.
    """
    check_boot(settings)
    with bind(settings) as listener:
        app = build_app(settings, services, pages, files, api)
        run_server(app, listener, lambda: announce(address(settings, listener)))
