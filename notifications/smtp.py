"""Hand a mail to the mail server, and sort what can go wrong: worth another try, or refused for good."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from smtplib import (
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from typing import Final

from django.core.mail import EmailMessage, mailers
from django.core.mail.backends.base import BaseEmailBackend

log = logging.getLogger(__name__)

LONGEST_ERROR: Final = 1_000

_LOG_IN_FIRST: Final = {530, 534, 535, 538}
"""Replies that ask for another login or for TLS: 5xx, but what they refuse is us and not the mail."""


class NotNow(Exception):
    """The mail was not accepted, but may be later. The text says what happened, in the server's words."""


class Refused(Exception):
    """The mail server will not take this mail, however often it is asked. The text has the server's words."""


def hand_over(mail: EmailMessage) -> None:
    """Return when the server has accepted the mail; raise NotNow or Refused when it has not.

    All that goes wrong before the mail is offered (no connection, TLS, login) says nothing about the mail, so it is
    NotNow whatever its number. A goodbye that fails after the mail was accepted is only logged.
    """
    with _conversation() as server:
        try:
            accepted = server.send_messages([mail])
        except (SMTPException, OSError) as error:
            kind = Refused if _is_final(error) else NotNow
            raise kind(_in_words(error)) from error
        except ValueError as error:  # the recipient was looked at before: it is our own address that is no address
            raise NotNow(
                f"the mail cannot be put together, see DEFAULT_FROM_EMAIL and SUPPORT_EMAIL: {error}"
            ) from error
    if not accepted:
        raise NotNow("the mail server's client says that it sent nothing")


@contextmanager
def _conversation() -> Iterator[BaseEmailBackend]:
    server = mailers.default
    try:
        try:
            server.open()
        except (SMTPException, OSError) as error:
            raise NotNow(f"no conversation with the mail server: {_in_words(error)}") from error
        yield server
    finally:
        try:
            server.close()
        except (SMTPException, OSError) as error:
            log.warning("the mail server did not let us say goodbye: %s", _in_words(error))


def _is_final(error: Exception) -> bool:
    """Whether the server refused this mail for good, and not us (as it may at its greeting) or for now."""
    if not isinstance(error, SMTPRecipientsRefused | SMTPSenderRefused | SMTPDataError):
        return False
    code = _reply(error)[0]
    return 500 <= code < 600 and code not in _LOG_IN_FIRST


def _reply(error: Exception) -> tuple[int, bytes | str]:
    """The server's reply; 0 if it did not say anything."""
    if isinstance(error, SMTPRecipientsRefused):  # we write to one
        return next(iter(error.recipients.values()), (0, ""))
    if isinstance(error, SMTPResponseException):
        return error.smtp_code, error.smtp_error
    return 0, ""


def _in_words(error: Exception) -> str:
    code, said = _reply(error)
    if code <= 0:
        silent = isinstance(error, SMTPServerDisconnected | TimeoutError)
        words = f"{'the mail server went away or said nothing' if silent else type(error).__name__}: {error}"
    else:
        what = {SMTPRecipientsRefused: "the recipient", SMTPSenderRefused: "the sender"}.get(type(error), "the mail")
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        words = f"{what} was not accepted: {code} {text}"
    return " ".join(words.replace("\0", "").split())[:LONGEST_ERROR]
