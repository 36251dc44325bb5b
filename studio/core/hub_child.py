"""The parent's end of `studio.fetching`: the process that has the network and a person's token, and parses nothing."""

import logging
import os
import tempfile
from dataclasses import dataclass, field
from typing import Any

from studio.core import hub
from studio.core.child import as_error, end, start, talk
from studio.core.errors import Refused, StudioError, Unavailable

log = logging.getLogger(__name__)

_PASSED_ON = (
    "HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip


def checked_token(token: str | None) -> str | None:
    """`token` without spaces around it; None where it is empty. Raises `Refused`, which does not repeat it."""
    text = (token or "").strip()
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 300:
        raise Refused("This is no token of the Hub.", "Copy it from huggingface.co/settings/tokens.", field="token")
    return text or None


@dataclass(frozen=True)
class HubChild:
    """The fetching process for one dataset or model. The token goes to it on standard input, and nowhere else."""

    subject: hub.Subject
    token: str | None = field(repr=False)
    pauses: tuple[float, ...] = ()

    def ask(
        self, request: dict[str, Any], file_bytes: int, on_progress: hub.OnProgress | None = None
    ) -> dict[str, Any]:
        """Its answer. Raises `StudioError` with its sentence, and whatever `on_progress` raises."""
        if hub.is_offline():
            raise hub.offline(self.subject)
        whole = {**request, "repo": self.subject.repo, "revision": self.subject.revision, "token": self.token,
                 "pauses": self.pauses, "file_bytes": file_bytes}  # fmt: skip
        with tempfile.TemporaryFile() as errors:
            child = start("studio.fetching", errors, _environment())
            try:
                last = talk(child, whole, on_progress)
            finally:
                end(child)
            if "result" in last:
                return dict(last["result"])
            if "error" in last:
                raise self._as_error(last["error"])
            errors.seek(0)
            log.error("the fetching process died with %s: %s", child.returncode, errors.read()[-4000:].decode())
        raise Unavailable(f"The {self.subject.noun} could not be fetched.", "Try again.")

    def _as_error(self, error: dict[str, Any]) -> StudioError:
        if error.get("reason") == hub.HubUnreachable.reason:
            return hub.HubUnreachable(error["problem"], error.get("remedy", ""))
        if error.get("reason") == hub.GatedModel.reason:
            return hub.gated(self.subject)
        return as_error(error)


def _environment() -> dict[str, str]:
    return {"HF_HUB_DISABLE_XET": "1", **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}
