"""The schema as SQLAlchemy tables; Alembic's migrations make it, a test holds the two alike."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Times are UTC seconds since 1970 as floats: SQLite has no time type, and a float sorts and subtracts.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _owner() -> Column[str]:
    return Column("owner", String(12), ForeignKey("users.id"), nullable=False)


users = Table(
    "users",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(12), primary_key=True),
    _owner(),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("deleted_at", Float),
)

dataset_versions = Table(
    "dataset_versions",
    metadata,
    Column("id", String(12), primary_key=True),
    _owner(),
    Column("dataset_id", String(12), ForeignKey("datasets.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("mapping", JSON, nullable=False),
    Column("report", JSON, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("held_out", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("dataset_id", "number"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(12), primary_key=True),
    _owner(),
    Column("name", Text, nullable=False),
    Column("kind", String(16), nullable=False, server_default="train"),
    Column("method", String(16), nullable=False, server_default="sft"),
    Column("task", String(32), nullable=False, server_default="chat"),
    Column("state", String(16), nullable=False),
    Column("reason", String(32)),
    Column("problem", Text),
    Column("remedy", Text),
    Column("config", JSON, nullable=False),
    Column("spec", JSON),
    Column("result", JSON),
    Column("base_repo", Text, nullable=False),
    Column("base_revision", Text, nullable=False),
    Column("dataset_version_id", String(12), ForeignKey("dataset_versions.id")),
    Column("position", Integer, nullable=False),
    Column("held", Boolean, nullable=False, server_default="0"),
    Column("idempotency_key", String(64)),
    Column("claim", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("host", Text),
    Column("worker_id", String(12)),
    Column("pid", Integer),
    Column("pid_started", Float),
    Column("step", Integer, nullable=False, server_default="0"),
    Column("steps", Integer, nullable=False, server_default="0"),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("first_step_at", Float),
    Column("ended_at", Float),
    Column("deleted_at", Float),
    # What keeps a run from being lost: the step an attempt began from, the newest checkpoint, deaths without progress
    # in a row, the run that must end first, the time before which it is not tried again, when its files were removed.
    Column("resume_step", Integer, nullable=False, server_default="0"),
    Column("checkpoint_step", Integer, nullable=False, server_default="0"),
    Column("checkpoint_at", Float),
    Column("fruitless", Integer, nullable=False, server_default="0"),
    Column("after_run_id", String(12)),
    Column("not_before", Float),
    Column("expected_seconds", Float),
    # What was said before Start: memory by part, steps, tokens, seconds. The actual figures stand in `result`.
    Column("forecast", JSON),
    Column("files_removed_at", Float),
    UniqueConstraint("owner", "idempotency_key"),
    Index("ix_runs_state_position", "state", "position"),
)

run_events = Table(
    "run_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", String(12), ForeignKey("runs.id"), nullable=False),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("claim", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("title", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Index("ix_run_events_run_id", "run_id"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("run_id", String(12), ForeignKey("runs.id"), primary_key=True),
    Column("name", String(32), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("claim", Integer, nullable=False),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("value", Float, nullable=False),
    sqlite_with_rowid=False,
)

# What the model in training answers to a few held-out prompts, check by check; step 0 is the base model.
samples = Table(
    "samples",
    metadata,
    Column("run_id", String(12), ForeignKey("runs.id"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("claim", Integer, nullable=False),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("asked", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("answer", Text, nullable=False),
    sqlite_with_rowid=False,
)

chats = Table(
    "chats",
    metadata,
    Column("id", String(12), primary_key=True),
    _owner(),
    Column("run_id", String(12), ForeignKey("runs.id")),
    Column("title", Text, nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    Column("deleted_at", Float),
    Column("panes", JSON),
    Column("system", Text, nullable=False, server_default=""),
    Column("updated_at", Float),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    _owner(),
    Column("chat_id", String(12), ForeignKey("chats.id"), nullable=False),
    Column("pane", String(16), nullable=False),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("turn", Integer, nullable=False, server_default="0"),
    Column("edited", Text),
    Column("facts", JSON),
    Index("ix_messages_chat_id", "chat_id"),
)

# Which answer to a turn's question a person found best: the number of its pane, -1 where all are alike.
votes = Table(
    "votes",
    metadata,
    Column("chat_id", String(12), ForeignKey("chats.id"), primary_key=True),
    Column("turn", Integer, primary_key=True),
    _owner(),
    Column("best", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

# One row per host that runs a worker: what it is, what it measured, and when its worker was last seen.
machines = Table(
    "machines",
    metadata,
    Column("host", Text, primary_key=True),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("worker_id", String(12), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("seen_at", Float, nullable=False),
)

# One row per queue (today "runs"): whether it is paused, and since when.
queues = Table(
    "queues",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("paused_at", Float),
)

# What people ask of the playground's process, and what the worker answers. One row per host.
engines = Table(
    "engines",
    metadata,
    Column("host", Text, primary_key=True),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("wanted_repo", Text, nullable=False),
    Column("wanted_revision", Text, nullable=False),
    Column("wanted_at", Float, nullable=False),
    Column("ready_repo", Text),
    Column("ready_revision", Text),
    Column("socket", Text),
    Column("pid", Integer),
    Column("problem", Text),
    Column("remedy", Text),
    Column("updated_at", Float),
)

# What dry runs counted, by a digest of all that it depends on: the web process asks, the worker counts.
measurements = Table(
    "measurements",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("owner", String(12), ForeignKey("users.id"), nullable=False),
    Column("request", JSON, nullable=False),
    Column("wanted_at", Float, nullable=False),
    Column("counted", JSON(none_as_null=True)),
    Column("problem", Text),
    Column("counted_at", Float),
)

# Keys of the API. The key itself is nowhere: `digest` is its SHA-256, `hint` its last characters.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),
    _owner(),
    Column("name", Text, nullable=False),
    Column("hint", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("last_used_at", Float),
    Column("revoked_at", Float),
    UniqueConstraint("digest"),
)
