"""`create_webhook`: prints the secret, alone; says in a sentence what is wrong."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account, AuditEntry
from tests.webhooks.messages import URL
from webhooks.models import Endpoint

pytestmark = pytest.mark.django_db


def create(*words: str) -> str:
    out = StringIO()
    call_command("create_webhook", *words, stdout=out)
    return out.getvalue()


def test_it_prints_the_secret_alone(acme: Account):
    printed = create(
        "--url",
        URL,
        "--account",
        "acme",
        "--type",
        "period.closed",
        "--type",
        "threshold.crossed",
        "--description",
        "x",
    )

    row = Endpoint.objects.get()
    assert printed == f"{row.secret}\n"
    assert (row.url, row.account, row.description, row.enabled) == (URL, acme, "x", True)
    assert row.types == ["threshold.crossed", "period.closed"]
    assert AuditEntry.objects.filter(action="webhook_endpoint.created", actor="create_webhook").count() == 1


def test_without_an_account_and_types_it_hears_everything():
    create("--url", URL)

    row = Endpoint.objects.get()
    assert (row.account, row.types) == (None, [])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Say --url"),
        (["--url", "http://hooks.example.com/"], "https:// only"),
        (["--url", "https://169.254.169.254/"], "never go to private or reserved addresses"),
        (["--url", "\0"], "visible ASCII"),
        (["--url", URL, "--account", "nobody"], "There is no account 'nobody'"),
        (["--url", URL, "--account", "\0"], "There is no account"),
        (["--url", URL, "--type", "period.opened"], "There is no type period.opened"),
        (["--url", URL, "--description", "\0"], "all of them printable"),
        (["--url", URL, "--description", "x" * 201], "at most 200 characters"),
    ],
)
def test_it_says_in_a_sentence_what_is_wrong(words: list[str], sentence: str):
    with pytest.raises(CommandError, match=re.escape(sentence)):
        create(*words)

    assert not Endpoint.objects.exists()
