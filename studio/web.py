"""`tunesmith web`: the stores, the pages and the shell put together."""

import signal
from collections.abc import Callable, Iterable

from studio.api.routes import api_router
from studio.app import serve
from studio.core.errors import BootRefused
from studio.core.lineage import die_with_parent
from studio.core.locks import hold
from studio.core.migrate import prepare_data_dir
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.use_cases.judging import exported
from studio.core.use_cases.panes import title_of
from studio.pages import PAGES
from studio.shell.downloads import Located, RunFiles
from studio.shell.session import owner_of


def run_web(settings: Settings, announce: Callable[[str], None]) -> None:
    """Until it is told to end. Raises `BootRefused` where it may not start like this."""
    die_with_parent(signal.SIGTERM)
    prepare_data_dir(settings)
    if hold(settings.locks_dir / "web.lock", shared=True) is None:  # held until the end: a restore waits for nobody
        raise BootRefused("A backup is being restored here.", "Start again when that has ended.")
    services = open_services(settings)
    serve(settings, services, PAGES, run_files(services), announce, api_router(services))


def run_files(services: Services) -> RunFiles:
    """How the download routes find the files of a run, and the chats, for their owner alone."""

    def adapter(owner: str, run_id: str) -> Located:
        run = services.runs.get(run_id, owner)
        return Located(services.artifacts.adapter_dir(run.id), run.name)

    def log(owner: str, run_id: str) -> Located:
        run = services.runs.get(run_id, owner)
        return Located(services.artifacts.log_path(run.id), run.name)

    def chats(owner: str, chat_id: str) -> tuple[str, Iterable[str]]:
        names = {run.id: run.name for run in services.runs.of(owner)}
        found = [services.chats.get(chat_id, owner)] if chat_id else services.chats.whole(owner)
        name = found[0].title if chat_id else "chats"
        return name, exported(found, lambda one: title_of(names, one))

    return RunFiles(adapter, log, owner_of, chats)
