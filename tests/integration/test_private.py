"""Secrets and personal data: found wherever they stand, masked, never told; what only looks like them stays."""

import re

import pytest

from studio.core.examples import Example
from studio.importing.doctor.private import mask
from tests.integration.ordinary import chat, prose
from tests.integration.test_doctor import look, rows, turns

KEY = "".join("aB3dE6gH9k"[n % 10] for n in range(36))
SECRETS = [
    (f"Use sk-{KEY} for it", "Use [key] for it", "key"),
    (f"hf_{KEY[:34]}", "[key]", "key"),
    (f"(ghp_{KEY})", "([key])", "key"),
    (f"github_pat_{KEY}", "[key]", "key"),
    ("AKIA1B2C3D4E5F6G7H8J", "[key]", "key"),
    ("AIza" + KEY[:35], "[key]", "key"),
    ("xoxb-123456789012-AbCdEf12345", "[key]", "key"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.dozjgNryP4J3jVmN", "[key]", "token"),
    ("Password: hunter2!", "Password: [password]", "password"),
    ("Das Passwort lautet: Wolke77blau", "Das Passwort lautet: [password]", "password"),
    ("mysql://root:Xk39fj2kd@db", "mysql://root:[password]@db", "password"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7x8yq1kdjf93\n-----END RSA PRIVATE KEY-----\nEnd", "[key]\nEnd",
     "private key"),
]  # fmt: skip
PERSONAL = [
    ("Mail anna.schmidt@web.de now", "Mail [email] now", "email"),
    ("Card 4111 1111 1111 1111.", "Card [card number].", "card number"),
    ("378282246310005", "[card number]", "card number"),
    ("DE89 3704 0044 0532 0130 00, please", "[IBAN], please", "IBAN"),
    ("GB29NWBK60161331926819", "[IBAN]", "IBAN"),
    ("Call +49 (170) 123-45-67 89", "Call [phone]", "phone number"),
    ("SSN 078-05-1120.", "SSN [social security number].", "social security number"),
]
HARMLESS = [
    "password: <your password>",
    "Password: {{password}}",
    "Password: must have at least 8 characters",
    "sk-your-api-key-here-1234",
    "conn = connect(\n  password='password123')\n",
    "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "task-management-system-for-teams-2024",
    "user@example.com",
    "jane@shop.example",
    "info@firma.de",
    "git@github.com:a/b.git",
    "logo@2x.png",
    "4111 1111 1111 1112",
    "0.4111111111111111",
    "DE89370400440532013001",
    "3 + 4915112345678",
    "+1 202 555 0143",
    "+123456789012",
    "000-12-3456",
    "12-34-5678",
    "@app.route",
    "2024-05-17",
    "1234567890123456",
    "The password is required.",
]


@pytest.mark.parametrize(("kind", "text", "masked", "sort"), [("secret", *one) for one in SECRETS]
                         + [("personal_data", *one) for one in PERSONAL])  # fmt: skip
def test_secrets_and_personal_data_are_found_and_masked(kind: str, text: str, masked: str, sort: str) -> None:
    found, _ = look([*prose(9), chat("What is written on the note?", f"It says this:\n{text}")])
    assert rows(found, kind) == [10]
    assert found[kind].facts == {"sorts": {sort: 1}}
    assert mask(text, kind) == (masked, 1)
    assert mask(masked, kind) == (masked, 0)
    other = "secret" if kind == "personal_data" else "personal_data"
    assert mask(text, other) == (text, 0)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert mask(text, "secret") == mask(text, "personal_data") == (text, 0)
    found, _ = look([*prose(9), chat("What is written on the note?", f"It says this: {text}")])
    assert not {"secret", "personal_data"} & set(found)


def test_no_fact_holds_what_was_found() -> None:
    texts = [text for text, _, _ in (*SECRETS, *PERSONAL)]
    found, _ = look([chat(f"Note {n}", text) for n, text in enumerate(texts)])
    told = str([finding.facts for finding in found.values()])
    assert not [text for text in texts for part in re.split(r"\s", text) if len(part) > 7 and part in told]


def test_secrets_stand_in_every_part_of_an_example() -> None:
    leak = f"hf_{KEY[:34]}"
    called = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"key": leak}}}],
    }
    examples = [
        Example([{"role": "system", "content": leak}, *chat("Hi there", "Hello").messages]),
        Example(chat("Hi", "Good day").messages, rejected=[{"role": "assistant", "content": leak}]),
        Example([], text=f"A text with {leak} in it."),
        Example([*turns("user"), called, *turns("tool", "assistant")]),
    ]
    assert rows(look(examples)[0], "secret") == [1, 2, 3, 4]
