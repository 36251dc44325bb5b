"""`tunesmith demo`: the main job headless, by a row and the worker, like every other run."""

from typing import Any

from rich.console import Console

from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.starter import fetch
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.demo import demo_dataset, start_demo
from studio.headless import OwnWorker, progress_on, wait


def run_demo(settings: Settings, console: Console) -> dict[str, Any]:
    """A new demo run, waited for. `seconds` runs from submit to verdict; fetching the model is not in it."""
    services = open_services(settings)
    with progress_on(console) as progress:
        task = progress.add_task("Starter model", total=1.0)
        fetch(settings, lambda share, words: progress.update(task, completed=share, description=words))
        progress.update(task, completed=1.0, description="Starter model is here")
        demo_dataset(services, LOCAL_USER)
        worker = OwnWorker(settings)
        try:
            ended = wait(services, start_demo(services, LOCAL_USER), progress, worker)
        finally:
            worker.end()
    if ended.interrupted:
        raise KeyboardInterrupt
    return _report(services, ended.run, ended.seconds)


def _report(services: Services, run: Run, took: float) -> dict[str, Any]:
    result = run.result or {}
    report: dict[str, Any] = {
        "ok": run.state == "succeeded",
        "run_id": run.id,
        "state": run.state,
        "seconds": round(took, 1),
        "base": result.get("base"),
        "tuned": result.get("tuned"),
        "adapter_dir": str(services.artifacts.adapter_dir(run.id).resolve()),
        "peak_rss_mb": result.get("peak_rss_mb"),
        "dtype": result.get("dtype"),
        "steps": run.steps,
        "held_out": result.get("held_out"),
        "source": (run.spec or {}).get("model", {}).get("source"),
    }
    if run.state != "succeeded":
        report |= {"reason": run.reason, "problem": run.problem, "remedy": run.remedy}
    return report
