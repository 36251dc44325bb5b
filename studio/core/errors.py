"""What can go wrong, as sentences for people.

A `StudioError` is shown as it stands: `problem` says what is wrong, where, with the value seen; `remedy` names one
action. Neither ever holds a path, a token or a traceback. Everything else that is raised is a bug: it goes to the log
in full and to the person as a short id.
"""

from dataclasses import dataclass


class StudioError(Exception):
    """Something a person can mend. Children say which door answers it and with which HTTP status."""

    status = 422

    def __init__(self, problem: str, remedy: str = "", *, field: str = "") -> None:
        """`field` names the config field or column at fault, for the form to point at."""
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy
        self.field = field


class Refused(StudioError):
    """The input can not be used as it is."""


class NotFound(StudioError):
    """No such thing, or not this person's: both look the same from outside."""

    status = 404


class Conflict(StudioError):
    """It was possible a moment ago; the state has moved on."""

    status = 409


class Unavailable(StudioError):
    """Something outside is not there now (the Hub, the worker, the database): trying again may help."""

    status = 503


class DiskFull(Unavailable):
    """No room to write: nothing was changed. `reason` is the code of a run that waits for room."""

    status = 507
    reason = "disk_full"


class BootRefused(StudioError):
    """The program must not start like this. The command line exits with 3."""

    status = 503


@dataclass(frozen=True)
class Fault:
    """One fault of a form: the field (dotted, as in the config), what is wrong with it, and what to do."""

    field: str
    problem: str
    remedy: str = ""


class Faults(Refused):
    """Every fault of an input at once."""

    def __init__(self, faults: list[Fault]) -> None:
        """`faults` is never empty and keeps the order of the form."""
        self.faults = tuple(faults)
        first = faults[0]
        more = f" And {len(faults) - 1} more." if len(faults) > 1 else ""
        super().__init__(first.problem + more, first.remedy, field=first.field)
