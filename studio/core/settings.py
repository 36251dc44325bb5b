"""What the operator sets by environment: `TUNESMITH_*`, read here and nowhere else. Each has a default for a laptop."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

GIB = 1024**3


class Settings(BaseSettings):
    """The operator's settings. README's table is made from the descriptions; a test keeps the two alike."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", frozen=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("tunesmith", appauthor=False),
        description="Where records, datasets, models and runs are kept. A local disk.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on. Anything but loopback needs a trusted network.")
    port: int = Field(7860, ge=0, le=65535, description="Port to listen on. 0 takes a free one.")
    allowed_hosts: str = Field("", description="More names by which the studio may be called, with commas.")
    trusted_network: bool = Field(False, description="Say 1 if the network in front is trusted: lets `HOST` be public.")
    max_upload_bytes: int = Field(2_000_000_000, gt=0, description="The largest file a person may upload, in bytes.")
    import_memory_bytes: int = Field(2 * GIB, gt=0, description="Address space of the process that reads a file.")
    import_seconds: int = Field(60, gt=0, description="CPU seconds for reading a file, for each 100 MB begun.")
    import_line_bytes: int = Field(50_000_000, gt=0, description="The longest line, or row, of a file.")
    import_levels: int = Field(64, gt=0, description="How deep brackets may be nested in a file.")
    import_ratio: int = Field(100, gt=0, description="A packed file may unpack to so many times its size,")
    import_packed_bytes: int = Field(50_000_000, ge=0, description="or to so many bytes, whichever is more.")
    api_per_minute: int = Field(600, ge=0, description="Calls of the API that a key may make in a minute. 0: no limit.")
    api_at_once: int = Field(32, ge=0, description="Answers that a key may wait for at once. 0: no limit.")
    api_body_bytes: int = Field(2_000_000, gt=0, description="The largest question that the API takes, in bytes.")
    threads: int = Field(0, ge=0, description="Threads of trainer and engine. 0 takes the real cores.")
    spare_trainer: bool = Field(True, description="Keep one trainer ready: a run begins seconds earlier, for 0.5 GB.")
    spare_floor_bytes: int = Field(2 * GIB, ge=0, description="No spare trainer is kept with less free memory.")
    engine_idle_seconds: int = Field(600, gt=0, description="The playground's process leaves after this long unused.")
    engine_dtype: Literal["", "float32", "bfloat16", "float16"] = Field(
        "", description="The playground's number format. Empty takes the fastest; float32 answers alike in any company."
    )
    engine_url: str = Field(
        "", description="Another server that answers in the playground: OpenAI-shaped, LoRA loaded at run time (vLLM)."
    )
    stop_grace_seconds: int = Field(30, gt=0, description="How long a stopping run may take before it is ended.")
    stall_seconds: int = Field(1800, ge=0, description="A run without a sign of work for so long is ended. 0 never.")
    run_limit_seconds: int = Field(0, ge=0, description="The longest that one run may take. 0 sets no limit.")
    checkpoint_seconds: int = Field(300, gt=0, description="Seconds between checkpoints, where the run sets none.")
    disk_floor_bytes: int = Field(GIB, ge=0, description="No run begins with less free disk than this.")
    ballast_bytes: int = Field(64_000_000, ge=0, description="Disk kept back for the records when it fills up.")
    tokenised_bytes: int = Field(
        2_000_000_000, ge=0, description="Disk for tokenised examples that are kept. 0 is off."
    )
    backup_hours: float = Field(0, ge=0, description="Hours between snapshots of the records. 0 makes none.")
    backup_kept: int = Field(7, gt=0, description="How many of these snapshots are kept.")
    starter_wheel: Path | None = Field(None, description="The starter model's wheel as a file, for machines offline.")

    @cached_property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the studio."""
        return self.host in {"127.0.0.1", "::1", "localhost"}

    @property
    def database_path(self) -> Path:
        """The records."""
        return self.data_dir / "tunesmith.db"

    @property
    def queue_path(self) -> Path:
        """Huey's own file; it may be deleted at any time."""
        return self.data_dir / "queue.db"

    @property
    def locks_dir(self) -> Path:
        """Lock files; they are never unlinked."""
        return self.data_dir / "locks"

    @property
    def models_dir(self) -> Path:
        """The starter model and the Hub cache."""
        return self.data_dir / "models"
