"""Keys of the HTTP API: made once, shown once, known afterwards by a keyed hash alone.

    hc_live_<8: id>_<43: 256 random bits><6: CRC32 of all before it>

The part before the last `_` is stored as it is, to find the row by. The checksum lets a scanner of leaked
secrets, and us, tell a key from a mistyped one without asking a database.
"""

import re
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final

from django.conf import settings
from django.db.models import Q

from accounts.models import Account, ApiKey, Scope
from accounts.refusals import Refused

USE_IS_NOTED_AFTER: Final = timedelta(minutes=1)
"""So that a busy key is no row that everybody waits for."""

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY: Final = re.compile(r"(hc_live_[0-9A-Za-z]{8})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})")
_CHECKSUM_LENGTH: Final = 6
_NO_DIGEST: Final = bytes(sha256().digest_size)


def create_key(
    *,
    account: Account | None,
    scopes: Iterable[str],
    now: datetime,
    name: str = "",
    expires_at: datetime | None = None,
) -> tuple[str, ApiKey]:
    """Make a key of an account or (None) of the operator: its text, which nobody sees again, and its row.

    Raises `Refused`: `missing_scope`, `unknown_scope`, `operator_only`, `already_expired`.
    """
    wanted = set(scopes)
    _check_scopes(wanted, account)
    if expires_at is not None and expires_at <= now:
        raise Refused("already_expired", "A key must expire in the future.", field="expires_at", status=400)
    prefix = f"hc_live_{_random(8)}"
    text = f"{prefix}_{_random(43)}"
    text += _checksum(text)
    row = ApiKey.objects.create(
        account=account,
        name=name,
        prefix=prefix,
        digest=_digest(text),
        scopes=[scope.value for scope in Scope if scope in wanted],
        expires_at=expires_at,
    )
    return text, row


def find_key(text: str, *, now: datetime) -> ApiKey | None:
    """The row, with its account, of a key that is valid now; None for any other text, after the same work.

    A text that cannot be a key costs no query.
    """
    match = _KEY.fullmatch(text)
    if match is None or not compare_digest(match[2], _checksum(text[:-_CHECKSUM_LENGTH])):
        return None
    presented = _digest(text)
    row = ApiKey.objects.select_related("account").filter(prefix=match[1]).first()
    is_the_same = compare_digest(presented, _NO_DIGEST if row is None else bytes(row.digest))
    if row is None or not is_the_same or row.revoked_at is not None:
        return None
    return None if row.expires_at is not None and row.expires_at <= now else row


def note_use(key: ApiKey, *, now: datetime) -> None:
    """Remember that a key was used, at most once a minute. The caller holds no transaction."""
    if key.last_used_at is not None and key.last_used_at > now - USE_IS_NOTED_AFTER:
        return
    unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_IS_NOTED_AFTER)
    ApiKey.objects.filter(unnoted, pk=key.pk).update(last_used_at=now)


def _check_scopes(wanted: set[str], account: Account | None) -> None:
    if not wanted:
        raise Refused("missing_scope", "A key needs at least one scope.", field="scopes", status=400)
    if unknown := wanted - set(Scope.values):
        detail = f"There is no scope {min(unknown)}; there are {', '.join(Scope.values)}."
        raise Refused("unknown_scope", detail, field="scopes", status=400)
    if account is not None and Scope.OPERATE in wanted:
        raise Refused("operator_only", "A key of an account cannot operate.", field="scopes", status=400)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _digest(text: str) -> bytes:
    return hmac_digest(settings.KEY_PEPPER.encode(), text.encode(), sha256)


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
