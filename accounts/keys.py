"""Keys of the HTTP API: made once, shown once, known afterwards by a keyed hash alone.

    hc_live_<8: id>_<43: 256 random bits><6: CRC32 of all before it>

The part before the last `_` is stored as it is, to find the row by. The checksum lets a scanner of leaked
secrets, and us, tell a key from a mistyped one without asking a database.

The hash is keyed with a pepper, `KEY_PEPPER`. Each row tells which one its hash was made with, so that keys
outlive a new pepper for as long as `KEY_PEPPERS_OLD` holds the one before.
"""

import re
import secrets
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from accounts.audit import write_audit
from accounts.models import Account, ApiKey, Scope
from accounts.refusals import Refused, missing

type Address = IPv4Address | IPv6Address

NOTED_AGAIN_AFTER: Final = timedelta(minutes=1)
MOST_LIVE: Final = 2
"""Keys of one account with the same scopes: the one in use, and the one that replaces it."""
MOST_NETWORKS: Final = 20
PREFIX_LENGTH: Final = 16

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_KEY: Final = re.compile(r"(hc_live_[0-9A-Za-z]{8})_[0-9A-Za-z]{43}([0-9A-Za-z]{6})")
_CHECKSUM_LENGTH: Final = 6
_NO_DIGEST: Final = bytes(sha256().digest_size)


@transaction.atomic
def create_key(
    *,
    account: Account | None,
    scopes: Iterable[str],
    actor: str,
    now: datetime,
    name: str = "",
    expires_at: datetime | None = None,
    networks: Iterable[str] = (),
) -> tuple[str, ApiKey]:
    """Make a key of an account or (None) of the operator: its text, which nobody sees again, and its row.

    Raises `Refused`: `missing_scope`, `unknown_scope`, `operator_only`, `already_expired`, `bad_network`,
    `too_many_networks`, `two_live_keys`.
    """
    wanted = set(scopes)
    _check_scopes(wanted, account)
    if expires_at is not None and expires_at <= now:
        raise Refused("already_expired", "A key must expire in the future.", field="expires_at", status=400)
    row = ApiKey(
        account=account,
        name=name,
        scopes=[scope.value for scope in Scope if scope in wanted],
        expires_at=expires_at,
        networks=_networks(networks),
    )
    _check_room(row, now)
    row.prefix = f"hc_live_{_random(8)}"
    text = f"{row.prefix}_{_random(43)}"
    text += _checksum(text)
    row.pepper = _fingerprint(settings.KEY_PEPPER)
    row.digest = _digest(text, settings.KEY_PEPPER)
    row.save()
    told = ("prefix", "name", "scopes", "expires_at", "networks")
    after = {each: getattr(row, each) for each in told if getattr(row, each)}
    write_audit(account, "key.created", actor=actor, at=now, before={}, after=after)
    return text, row


@transaction.atomic
def revoke_key(prefix: str, *, reason: str, actor: str, now: datetime) -> ApiKey:
    """End a key, from the next request on; one that is revoked already stays as it is.

    Raises `Refused`: `missing_reason`, `not_found`.
    """
    if not reason.strip():
        raise Refused("missing_reason", "Say why the key is revoked.", field="reason", status=400)
    row = ApiKey.objects.select_for_update().filter(prefix=prefix).first()
    if row is None:
        raise missing()
    if row.revoked_at is None:
        row.revoked_at = now
        row.save(update_fields=["revoked_at"])
        after = {"prefix": row.prefix, "revoked_at": now}
        write_audit(row.account, "key.revoked", actor=actor, at=now, before={}, after=after, reason=reason)
    return row


def admit(text: str, *, now: datetime, address: Address | None = None) -> ApiKey | None:
    """The row, with its account, of a key that is good now and for this address; None for any other text.

    An unknown id and a wrong secret cost the same: one query and one hash; a text that cannot be a key costs no query.
    Uses, and refusals of an id that exists, are noted, so the caller should hold no transaction.
    """
    match = _KEY.fullmatch(text)
    if match is None or not compare_digest(match[2], _checksum(text[:-_CHECKSUM_LENGTH])):
        return None
    row = ApiKey.objects.select_related("account").filter(prefix=match[1]).first()
    is_the_same = _is_text_of(row or _stand_in(), text)
    if row is None:
        return None
    if is_the_same and _is_live(row, now) and _may_be_used_from(row, address):
        _note_use(row, address, now)
        return row
    _note_refusal(row, now)
    return None


def _stand_in() -> ApiKey:
    """A row that no text belongs to, to do the same work with."""
    return ApiKey(pepper=_fingerprint(settings.KEY_PEPPER), digest=_NO_DIGEST)


def _is_text_of(row: ApiKey, text: str) -> bool:
    """With a row whose pepper is gone the work is done in vain."""
    pepper = _peppers().get(row.pepper)
    presented = _digest(text, pepper or settings.KEY_PEPPER)
    return compare_digest(presented, bytes(row.digest)) and pepper is not None


def _is_live(row: ApiKey, now: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def _may_be_used_from(row: ApiKey, address: Address | None) -> bool:
    if not row.networks:
        return True
    return address is not None and any(address in ip_network(network) for network in row.networks)


def _note_use(key: ApiKey, address: Address | None, now: datetime) -> None:
    _note(key, "last_used_at", now, last_used_from=None if address is None else str(address))


def _note_refusal(key: ApiKey, now: datetime) -> None:
    """At most one write a minute, however many guess."""
    _note(key, "refused_at", now, refusals=F("refusals") + 1)


def _note(key: ApiKey, column: str, now: datetime, **more: object) -> None:
    noted_at: datetime | None = getattr(key, column)
    before = now - NOTED_AGAIN_AFTER
    if noted_at is None or noted_at <= before:
        is_due = Q((column, None)) | Q((f"{column}__lte", before))
        ApiKey.objects.filter(is_due, pk=key.pk).update(**{column: now}, **more)


def _check_scopes(wanted: set[str], account: Account | None) -> None:
    if not wanted:
        raise Refused("missing_scope", "A key needs at least one scope.", field="scopes", status=400)
    if unknown := wanted - set(Scope.values):
        detail = f"There is no scope {min(unknown)}; there are {', '.join(Scope.values)}."
        raise Refused("unknown_scope", detail, field="scopes", status=400)
    if account is not None and Scope.OPERATE in wanted:
        raise Refused("operator_only", "A key of an account cannot operate.", field="scopes", status=400)


def _check_room(row: ApiKey, now: datetime) -> None:
    """Under the account's lock, so that of two who make one at the same time one sees the other's."""
    if row.account is None:
        return
    Account.objects.select_for_update(no_key=True).get(pk=row.account.pk)
    unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
    live = ApiKey.objects.filter(unexpired, account=row.account, scopes=row.scopes, revoked_at=None)
    if live.count() >= MOST_LIVE:
        detail = f"The account has two live keys for {' and '.join(row.scopes)} already: revoke one of them first."
        raise Refused("two_live_keys", detail)


def _networks(texts: Iterable[str]) -> list[str]:
    """As they are stored: every one once."""
    networks: dict[str, None] = {}
    for text in texts:
        try:
            networks[str(ip_network(text))] = None
        except ValueError:
            detail = "A network is an address like 192.0.2.7, or a range like 192.0.2.0/24 or 2001:db8::/32."
            raise Refused("bad_network", detail, field="networks", status=400) from None
    if len(networks) > MOST_NETWORKS:
        detail = f"A key is bound to at most {MOST_NETWORKS} networks."
        raise Refused("too_many_networks", detail, field="networks", status=400)
    return list(networks)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _peppers() -> dict[str, str]:
    """All peppers by what the rows call them. Rows that call theirs nothing are older than the first new one."""
    all_of_them = [settings.KEY_PEPPER, *settings.KEY_PEPPERS_OLD]
    return {_fingerprint(pepper): pepper for pepper in all_of_them} | {"": all_of_them[-1]}


def _fingerprint(pepper: str) -> str:
    return sha256(pepper.encode()).hexdigest()[:8]


def _digest(text: str, pepper: str) -> bytes:
    return hmac_digest(pepper.encode(), text.encode(), sha256)


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
