"""A studio to be killed: real web process, real worker, real records, and the switch that arms a failpoint."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from studio.core.failpoints import VARIABLE
from studio.core.lineage import PARENT_VARIABLE
from studio.core.services import Services, open_services
from studio.core.settings import Settings
from studio.core.stores.runs import Run
from studio.core.stores.users import LOCAL_USER
from studio.core.use_cases.upload import import_file
from tests.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]
READY_SECONDS = WAIT_SECONDS = 60
MAPPING = {"prompt": "asked", "completion": "answer"}
Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Form:
    """The form of a new run: its handler's number, label and default of each input, the label of the model's."""

    number: int
    inputs: list[tuple[str, Any]]
    model: str


@dataclass
class Stage:
    """One data dir with its processes. `trainer` is standin or real; `floor` is the free disk below which no run
    begins; `kills` counts the SIGKILLs that hit. `beside` is where the switch and the history of failpoints stand,
    where they must not share the studio's disk.
    """

    folder: Path
    trainer: str
    model: Path
    training: dict[str, Any]
    floor: int = 0
    kills: int = 0
    web: Process | None = None
    worker: Process | None = None
    worker_since: float = 0.0
    port: int = field(default_factory=free_port)
    beside: Path | None = None
    _form: "Form | None" = None

    def __post_init__(self) -> None:
        """The driver's own stores, and a dataset."""
        self.points = (self.beside or self.folder) / "points"
        self.points.mkdir(parents=True)
        self.settings = Settings(data_dir=self.folder / "data", port=self.port)
        self.services: Services = open_services(self.settings)
        orders = self.folder / "orders.csv"
        orders.write_text("asked,answer\n" + "".join(f"Send {i} apples.,{i} apples\n" for i in range(24)))
        self.dataset = import_file(self.services, LOCAL_USER, orders, "orders.csv", MAPPING).id

    @property
    def environment(self) -> dict[str, str]:
        """What every process of the studio is started with."""
        ours = {
            "DATA_DIR": str(self.settings.data_dir), "PORT": str(self.port), "THREADS": "1",
            "DISK_FLOOR_BYTES": str(self.floor), "BALLAST_BYTES": "1000000", "STOP_GRACE_SECONDS": "5",
            "SPARE_FLOOR_BYTES": "0", "BACKUP_HOURS": "0.002", "BACKUP_KEPT": "2",
        }  # fmt: skip
        return {
            **os.environ,
            **{f"TUNESMITH_{name}": value for name, value in ours.items()},
            VARIABLE: str(self.points),
            PARENT_VARIABLE: str(os.getpid()),
            "HF_HUB_OFFLINE": "1",
        }

    def start(self) -> None:
        """Start what is not running, and wait until the page answers."""
        if self.worker is None or self.worker.poll() is not None:
            self.worker = self._start("-m", "tests.chaos.worker", self.trainer)
            self.worker_since = time.monotonic()
        if self.web is None or self.web.poll() is not None:
            self.web = self._start("-m", "studio", "web")
            wait_until(self.answers, READY_SECONDS, 0.05)

    def wait(self, is_so: Callable[[], object], seconds: float = WAIT_SECONDS, every: float = 0.1) -> None:
        """Look until it is so; what died meanwhile, at a point that was armed, is started again."""

        def looked() -> object:
            self.start()
            return is_so()

        wait_until(looked, seconds, every)

    def _start(self, *arguments: str, data_dir: Path | None = None) -> Process:
        elsewhere = {"TUNESMITH_DATA_DIR": str(data_dir)} if data_dir else {}
        with (self.folder / "studio.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", *arguments],
                env={**self.environment, **elsewhere}, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def answers(self) -> bool:
        """Whether the web process is there; one that died at a failpoint is started again."""
        if self.web is not None and self.web.poll() is not None:
            self.web = self._start("-m", "studio", "web")
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2, trust_env=False).is_success
        return False

    def kill(self, *victims: str) -> None:
        """SIGKILL to web, worker, trainer or spare trainer; those that live count."""
        for victim in victims:
            pids = [run.pid for run in self.services.runs.live() if run.pid] if victim == "trainer" else []
            pids += self.spares() if victim == "spare" else []
            process = {"web": self.web, "worker": self.worker}.get(victim)
            pids += [process.pid] if process is not None and process.poll() is None else []
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
            if process is not None:
                process.wait()

    def spares(self) -> list[int]:
        """Processes in reserve, without those that a run was given to."""
        given = {run.pid for run in self.services.runs.live()}
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.worker.pid).children() if self.worker else []
            return [one.pid for one in children if "spare" in one.cmdline() and one.pid not in given]
        return []

    def arm(self, point: str, action: str = "kill") -> None:
        """The next process that passes `point` dies there (or finds the disk full)."""
        (self.points / ".armed").write_text(f"{point} {action}")
        (self.points / ".armed").rename(self.points / "armed")

    def disarm(self) -> bool:
        """Whether the armed point was passed; what was not is taken back."""
        fired = not (self.points / "armed").exists()
        (self.points / "armed").unlink(missing_ok=True)
        self.kills += fired
        return fired

    def history(self, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        """What the processes passed since `offset` (bytes), and where the next look begins."""
        path = self.points / "history.jsonl"
        data = path.read_bytes()[offset:] if path.exists() else b""
        return [json.loads(line) for line in data.splitlines()], offset + len(data)

    def client(self, *arguments: str, data_dir: Path | None = None) -> int:
        """A person's deed in a process of its own; gives its exit code (negative where a failpoint killed it)."""
        return self._start("-m", "tests.chaos.client", *arguments, data_dir=data_dir).wait(60)

    def command(self, *arguments: str) -> int:
        """`tunesmith ...`; gives its exit code."""
        return self._start("-m", "studio", *arguments).wait(60)

    def end(self) -> None:
        """Both processes leave in order."""
        for process in (self.web, self.worker):
            if process is not None:
                process.terminate()
                process.wait(30)

    def submit(self, name: str, key: str) -> bool:
        """Press Start on the page's form as a browser does. Whether the page said that the run is queued."""
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20) as http:
                form = self._asked_form(http)
                mine = {"Name": name, "From your datasets": self.dataset, form.model: str(self.model), **self.training}
                data = [key, *(mine.get(label, default) for label, default in form.inputs[1:])]
                session = uuid.uuid4().hex
                body = {"data": data, "fn_index": form.number, "session_hash": session}
                if not http.post("/gradio_api/queue/join", json=body).is_success:
                    return False
                return "is queued" in http.get("/gradio_api/queue/data", params={"session_hash": session}).text
        except (httpx.HTTPError, ValueError, IndexError):  # the web process was killed meanwhile
            return False

    def _asked_form(self, http: httpx.Client) -> "Form":
        """The form as the page describes it, asked once."""
        if self._form is None:
            text = http.get("/new").text.split("window.gradio_config = ", 1)[1].split(";</script>", 1)[0]
            page = json.loads(text)
            parts = {part["id"]: part["props"] for part in page["components"]}
            labels = {number: str(props.get("label")) for number, props in parts.items()}
            button = next(number for number, props in parts.items() if props.get("value") == "Start")
            start = next(one for one in page["dependencies"] if [button, "click"] in one["targets"])
            inputs = [(labels[i], parts[i].get("value")) for i in start["inputs"]]
            self._form = Form(start["id"], inputs, next(label for label, _ in inputs if "pick one" in label.lower()))
        return self._form

    def named(self, name: str) -> list[Run]:
        """All runs of that name, deleted ones left out."""
        ids = [run.id for run in self.services.runs.of(LOCAL_USER, 5000) if run.name == name]
        return [self.services.runs.get(run_id, LOCAL_USER) for run_id in ids]

    def last_words(self) -> str:
        """What tells why a round broke off: the switch, the runs' folders, the end of the processes' log."""
        log = (self.folder / "studio.log").read_text(errors="replace").splitlines()[-40:]
        points, folders = ([path.name for path in place.glob("*")]
                           for place in (self.points, self.services.artifacts.runs_dir()))  # fmt: skip
        return "\n".join([f"points: {points}", f"runs: {folders}", *log])

    def reopen(self) -> None:
        """The driver's own stores anew: other files may stand in the data folder now."""
        self.services.db.close()
        self.services.bell.huey.storage.close()
        self.services = open_services(self.settings)

    def close(self) -> None:
        """End everything."""
        self.kill("web", "worker", "trainer")
        self.services.db.close()
        self.services.bell.huey.storage.close()
