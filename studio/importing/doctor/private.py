"""Secrets and personal data in texts: found, counted by sort, and masked. What was found is never kept or logged."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Found = re.Match[str]

_NOT_DIGITS = bytes(sorted(set(range(256)) - set(b"0123456789")))
_SHAPE = bytes(48 if 48 <= b < 58 else 65 if 65 <= b < 91 else b for b in range(256))
_SHAPED_FROM = 9
_STAND_IN = re.compile(
    r"(?i)your|example|changeme|change_me|placeholder|redacted|dummy|sample|insert|x{4,}|\*{3,}|\.{3,}|#{3,}|(.)\1{7,}"
)
_ROLES = frozenset(
    {"info", "support", "contact", "hello", "sales", "help", "admin", "office", "mail", "email", "service", "noreply",
     "no-reply", "donotreply", "team", "press", "jobs", "careers", "billing", "webmaster", "postmaster", "git", "you",
     "your", "name", "yourname", "user", "username", "someone", "user1", "user2", "test"}
)  # fmt: skip
_NOBODYS = frozenset(
    {"domain", "yourdomain", "company", "yourcompany", "mycompany", "email", "mail", "website", "yourwebsite",
     "mydomain", "provider", "test", "site", "host", "server", "localhost", "sentry", "ingest"}
)  # fmt: skip
_RESERVED = frozenset({"example", "test", "invalid", "localhost", "local", "internal"})
_FILES = frozenset(
    {"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "py", "html", "htm", "json", "xml", "pdf", "txt",
     "md", "zip", "gz"}
)  # fmt: skip
_CODE = re.compile(
    r"```|^\s*(?:def|class|import|from \S+ import|function|const|let|var|public|private|#include|SELECT|INSERT)\b"
    r"|^\s*CREATE\b|[;{]\s*$|=>|</\w|^\s*@\w+|\w\(.*\)\s*$",
    re.MULTILINE,
)
_IBAN_SIZES = {
    "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24, "FI": 18,
    "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24,
    "SI": 19, "SK": 24, "TR": 26, "AE": 23, "UA": 29, "RS": 22,
}  # fmt: skip


@dataclass(frozen=True)
class Pattern:
    """One sort of secret or personal data.

    A text without any of `needles`, or with fewer digits than `digits`, is not searched; where `shaped`, the needles
    are looked for in its shape (`shape_of`). `real` says whether a hit
    is one; `group` is the part of the hit that is masked, with so many characters `before` it.
    """

    kind: str
    sort: str
    shown: str
    needles: tuple[str, ...]
    search: re.Pattern[str]
    real: Callable[[Found], bool]
    digits: int = 0
    group: int = 0
    before: int = 0
    shaped: bool = False

    def hits(self, text: str, digits: int, shape: str) -> Iterator[Found]:
        """All real hits in `text`, which has so many digits and that shape."""
        if digits < self.digits:
            return
        place = shape if self.shaped else text
        for needle in self.needles:
            if needle in place:
                yield from (hit for hit in self.search.finditer(text) if self.real(hit))
                return


def _before(hit: Found, length: int = 1) -> str:
    """What stands right before a hit."""
    return hit.string[max(0, hit.start() - length) : hit.start()]


def _apart(hit: Found) -> bool:
    """Whether a hit is no piece of a longer word."""
    before = _before(hit)
    return not (before.isalnum() or before == "_")


def _key(hit: Found) -> bool:
    """A key and no stand-in: letters and digits mixed, no words of advice."""
    text = hit.group()
    if not _apart(hit):
        return False
    mixed = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    return mixed and _STAND_IN.search(text) is None and "-" not in text[-8:-1]


def _password(hit: Found) -> bool:
    """A value that can be a password: letters with digits or signs, no stand-in, no piece of a program.

    In text that looks like a program only a strong one counts: examples of code are full of "password123".
    """
    value = hit.group(1).rstrip(".,;!?\"'")
    letters, digits = any(c.isalpha() for c in value), sum(c.isdigit() for c in value)
    signs = any(c in "!@#%&+_-?" for c in value[1:])
    if len(value) < 6 or not letters or not digits or _STAND_IN.search(value) or "pass" in value.casefold():
        return False
    around = hit.string[max(0, hit.start() - 200) : hit.end() + 200]
    if _CODE.search(around) is None:
        return True
    varied = value.lower() != value and value.upper() != value
    return len(value) >= 10 and varied and (signs or digits >= 2) and "test" not in value.casefold()


def _somebodys(hit: Found) -> bool:
    """Whether an address is of a person: no example, no role, no file's name."""
    before, _, domain = hit.group().casefold().rpartition("@")
    parts = domain.split(".")
    if parts[-1] in _RESERVED or parts[-1] in _FILES or parts[-2] in _NOBODYS:
        return False
    return "example" not in domain and before not in _ROLES and "example" not in before and "your" not in before


def _card(hit: Found) -> bool:
    """The check digit of card numbers (Luhn); a number of one digit again and again is none."""
    before = _before(hit, 2)
    digits = [int(c) for c in hit.group() if c.isdigit()]
    if (
        len(set(digits)) < 2
        or not _apart(hit)
        or before[-1:] in (*".+-",)
        or (before[-1:] == " " and before[:1].isdigit())
    ):
        return False
    doubled = [d if place % 2 == 0 else (2 * d - 9 if d > 4 else 2 * d) for place, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _iban(hit: Found) -> bool:
    text = hit.group().replace(" ", "")
    if _IBAN_SIZES.get(text[:2]) != len(text) or not _apart(hit):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _phone(hit: Found) -> bool:
    """Nine digits or more after the plus, which is no sign of arithmetic; numbers of films (555-01…) are nobody's."""
    digits = "".join(c for c in hit.group() if c.isdigit())
    before = hit.string[max(0, hit.start() - 3) : hit.start()]
    sum_of = before.strip()[-1:]
    if not 9 <= len(digits) <= 15 or before[-1:].isalnum() or sum_of.isdigit() or sum_of in (*"=)]}+*/^%$\\",):
        return False
    runs = digits in "12345678901234567890" or digits in "01234567890123456789" or len(set(digits)) < 3
    return not runs and "55501" not in digits


def _social(hit: Found) -> bool:
    """Three digits before the rest, which are the first of a number of the American social security."""
    before = _before(hit, 4)
    area = before[-3:]
    if len(area) < 3 or not (area.isascii() and area.isdigit()) or area in ("000", "666") or area[0] == "9":
        return False
    return len(before) == 3 or not (before[0].isalnum() or before[0] in "_.-")


_END = r"(?![A-Za-z0-9_])"
_OPEN = (
    r"(?i)(?:pass(?:word|wort|wd|phrase)|\bpwd|contrase\u00f1a|mot de passe)\b[\"']?(?: (?:is|was|ist|lautet|es|est))?"
    r"(?:\s?[:=]\s?|(?<=[a-z]) )[\"'`]?([^\s\"'`<>(){}\[\]$|,;*]{6,64})(?![\w<>(){}\[\]$])"
)
_NUMBER_END = r"(?![ -]?\d|[.,]\d|[A-Za-z_])"
_CARDS = ("0" * 15, "0000 0000 0000 0000", "0000-0000-0000-0000", "0000 000000 00000", "0000-000000-00000")
PATTERNS = (
    Pattern("secret", "private key", "[key]", ("PRIVATE KEY",),
            re.compile(r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----\s*(?=\S{16})"
                       r"(?:[^-]|-(?!----)){16,20000}(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"),
            lambda hit: _STAND_IN.search(hit.group()[30:120]) is None, digits=1),
    Pattern("secret", "key", "[key]", ("sk-",), re.compile(r"sk-[A-Za-z0-9_-]{20,200}" + _END), _key, digits=1),
    Pattern("secret", "key", "[key]", ("_",),
            re.compile(r"(?:hf_[A-Za-z0-9]{30,60}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"
                       r"|sk_live_[A-Za-z0-9]{16,200}|npm_[A-Za-z0-9]{36})" + _END), _key, digits=1),
    Pattern("secret", "key", "[key]", ("AKIA",), re.compile(r"AKIA[0-9A-Z]{16}" + _END), _key, digits=1),
    Pattern("secret", "key", "[key]", ("AIza",), re.compile(r"AIza[0-9A-Za-z_-]{35}" + _END), _key, digits=1),
    Pattern("secret", "key", "[key]", ("xox",), re.compile(r"xox[abeoprs]-[0-9A-Za-z-]{10,250}" + _END), _key,
            digits=1),
    Pattern("secret", "key", "[key]", ("glpat-",), re.compile(r"glpat-[A-Za-z0-9_-]{20,60}" + _END), _key, digits=1),
    Pattern("secret", "token", "[key]", ("eyJ",),
            re.compile(r"eyJ[\w-]{10,4000}\.eyJ[\w-]{10,8000}\.[\w-]{10,2000}"), _apart, digits=1),
    Pattern("secret", "password", "[password]", ("assw", "ASSW", "assphrase", "wd:", "wd=", "ontrase", "ot de passe"),
            re.compile(_OPEN), _password, digits=1, group=1),
    Pattern("secret", "password", "[password]", ("://",),
            re.compile(r"://[^\s:/@?#\"']{1,64}:([^\s@/\"'<>{}$]{6,64})@(?=[\w.-])"), _password, digits=1, group=1),
    Pattern("personal_data", "card number", "[card number]", _CARDS,
            re.compile(r"(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d|64[4-9]\d)([ -]?)\d{4}\1\d{4}\1\d{4}"
                       r"|3[47]\d{2}([ -]?)\d{6}\2\d{5})" + _NUMBER_END), _card, digits=15, shaped=True),
    Pattern("personal_data", "IBAN", "[IBAN]", ("AA00",),
            re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"), _iban,
            digits=10, shaped=True),
    Pattern("personal_data", "phone number", "[phone]", ("+0",), re.compile(r"\+[1-9](?:[ ./()-]{0,2}\d){8,14}(?!\d)"),
            _phone, digits=9, shaped=True),
    Pattern("personal_data", "social security number", "[social security number]", ("000-00-0000",),
            re.compile(r"-(?!00)\d\d-(?!0000)\d{4}(?![\w-]|\.\d)"), _social, digits=9, before=3, shaped=True),
)  # fmt: skip

# For a short text one look for any of the needles is cheaper than one for each: most short texts end here.
_SHORT = 400
_ANYTHING = re.compile(
    "|".join(["@", r"\d(?:[ ./()A-Z-]{0,4}\d){7}", *{re.escape(needle) for pattern in PATTERNS if not pattern.shaped
                                                   for needle in pattern.needles}])
)  # fmt: skip
_AT = re.compile(r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,6}[A-Za-z]{2,24}(?![\w@-])")
_BEFORE_AT = re.compile(r"(?<![A-Za-z0-9._%+/:@-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}\Z")
_ADDRESS = re.compile(r"[^@]+@[^@]+")


def _addresses(text: str) -> Iterator[Found]:
    """E-mail addresses of persons, looked for from the @ outwards: cheap also in long texts of one letter."""
    if "@" not in text:
        return
    for at in _AT.finditer(text):
        start = max(0, at.start() - 65)
        before = _BEFORE_AT.search(text, start, at.start())
        hit = _ADDRESS.fullmatch(text, before.start(), at.end()) if before else None
        if hit is not None and _somebodys(hit):
            yield hit


def digits_in(text: str) -> int:
    """How many ASCII digits a text has."""
    return len(text.encode("utf-8", "replace").translate(None, _NOT_DIGITS))


def shape_of(text: str) -> str:
    """A text with every digit as 0 and every capital as A: what numbers of one kind have in common."""
    return text.encode("ascii", "replace").translate(_SHAPE).decode("ascii")


def sorts_in(text: str) -> dict[str, Counter[str]]:
    """What a text holds: {"secret": {"key": 1}, "personal_data": {"email": 2}}; kinds without a hit are left out."""
    found = dict[str, Counter[str]]()
    if len(text) < _SHORT and not _ANYTHING.search(text):
        return found
    digits = digits_in(text)
    shape = shape_of(text) if digits >= _SHAPED_FROM else ""
    for pattern in PATTERNS if digits else ():
        for _ in pattern.hits(text, digits, shape):
            found.setdefault(pattern.kind, Counter())[pattern.sort] += 1
    for _ in _addresses(text):
        found.setdefault("personal_data", Counter())["email"] += 1
    return found


def mask(text: str, kind: str) -> tuple[str, int]:
    """`text` with everything of one kind (`secret`, `personal_data`) masked, and how many there were."""
    total = 0
    for pattern in PATTERNS:
        if pattern.kind == kind:
            hits = list(pattern.hits(text, digits_in(text), shape_of(text)))
            spans = [(hit.start(pattern.group) - pattern.before, hit.end(pattern.group)) for hit in hits]
            text, total = _replaced(text, spans, pattern.shown), total + len(spans)
    if kind == "personal_data":
        spans = [hit.span() for hit in _addresses(text)]
        text, total = _replaced(text, spans, "[email]"), total + len(spans)
    return text, total


def _replaced(text: str, spans: list[tuple[int, int]], word: str) -> str:
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], word]
        at = end
    return "".join([*parts, text[at:]]) if parts else text
