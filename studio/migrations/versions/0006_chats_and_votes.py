"""What a chat of the playground keeps: who answered, turn by turn, how fast, what a person made of it.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns of `chats` and `messages`, which nobody has written to yet, and the table `votes`."""
    op.add_column("chats", sa.Column("panes", sa.JSON(), nullable=True))
    op.add_column("chats", sa.Column("system", sa.Text(), nullable=False, server_default=""))
    op.add_column("chats", sa.Column("updated_at", sa.Float(), nullable=True))
    op.add_column("messages", sa.Column("turn", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("messages", sa.Column("edited", sa.Text(), nullable=True))
    op.add_column("messages", sa.Column("facts", sa.JSON(), nullable=True))
    op.create_table(
        "votes",
        sa.Column("chat_id", sa.String(length=12), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=12), nullable=False),
        sa.Column("best", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["chat_id"], ["chats.id"], name=op.f("fk_votes_chat_id")),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_votes_owner")),
        sa.PrimaryKeyConstraint("chat_id", "turn", name=op.f("pk_votes")),
    )
