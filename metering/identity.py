"""Who a subject is, and what an identifier may look like (DESIGN.md section 4, Identity).

Two spellings are one contact exactly if `normalise` gives the same text for both. The answers are stored,
so a change here splits contacts: it needs a data migration.
"""

import re
import unicodedata
from functools import lru_cache
from hashlib import sha256
from hmac import digest
from typing import Final

import idna

from metering.characters import has_outer_space, refused_character

MAX_ADDRESS: Final = 320
"""Characters of an address: 64 of local part, `@`, 255 of domain (RFC 3696). Also of a subject as given."""

MAX_IDENTIFIER: Final = 255
"""Bytes of UTF-8 of a channel user id, an `id` or a `source`."""

MAX_REMEMBERED: Final = 16_384
"""Subjects whose identity is remembered: some 5 MB, and with the longest and widest of them below 50."""

MAX_DOMAIN: Final = 253
"""Characters of a domain in IDNA (RFC 1035)."""

MAX_INTERNATIONAL_DOMAIN: Final = 100
"""The same for a domain that is not plain ASCII.

Neither this nor the next is of any standard: they bound the work for a subject to 0.2 ms, of 1.5 possible.
"""

MAX_ARABIC_DIGITS: Final = 16
"""Arabic-Indic digits in a domain: idna compares each with its whole label."""

# What neither NFC, nor lower-casing, nor IDNA would change once it is lower case. A second hyphen in a row
# (`xn--`) and a domain that might hold a label over 63 characters are left to the slow way.
_PLAIN_ADDRESS: Final = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?=.{1,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*"
)
_ARABIC_DIGIT: Final = re.compile("[\u0660-\u0669\u06f0-\u06f9]")
_TOO_COSTLY: Final = (
    f"An internationalised domain has at most {MAX_INTERNATIONAL_DOMAIN} characters in IDNA, "
    f"and {MAX_ARABIC_DIGITS} Arabic-Indic digits."
)


class BadText(ValueError):
    """A text breaks a rule of identity.

    `code` is one of `blank`, `bad_characters`, `too_long`, `bad_address`; `detail` says what to change and
    holds nothing of the text itself but one character's number.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class BadSubject(BadText):
    """A subject is neither an address nor a channel user id."""


class BadIdentifier(BadText):
    """An identifier cannot be used as a key; `field` names the attribute it came in."""

    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.field = field


@lru_cache(maxsize=MAX_REMEMBERED)
def normalise(subject: str) -> str:
    """The identity of a contact from any spelling of it; normalising an identity again changes nothing.

    Lengths are checked twice, as given and as normalised: both are stored. Raises `BadSubject`.
    """
    if len(subject) > MAX_ADDRESS:
        raise BadSubject("too_long", f"A subject has at most {MAX_ADDRESS} characters, space around it included.")
    if subject.isascii():
        plain = subject.strip(" ").lower()
        if _PLAIN_ADDRESS.fullmatch(plain):
            return plain
    return _normalise_slowly(subject)


def _normalise_slowly(subject: str) -> str:
    """`normalise` for any subject of at most `MAX_ADDRESS` characters, without the short cut."""
    if not subject.strip():
        raise BadSubject("blank", "A subject must hold more than white space.")
    refused = refused_character(subject)
    if refused is not None:
        raise BadSubject("bad_characters", f"A subject cannot hold the character U+{ord(refused):04X}.")
    trimmed = subject.strip(" ")
    if "@" in trimmed:
        return _address(trimmed)
    return _channel_user_id(trimmed)


def _channel_user_id(trimmed: str) -> str:
    """A channel user id: NFC, else as it is. Raises `BadSubject` for `too_long`."""
    identity = unicodedata.normalize("NFC", trimmed)
    if _bytes(trimmed) > MAX_IDENTIFIER or _bytes(identity) > MAX_IDENTIFIER:
        raise BadSubject("too_long", f"A channel user id has at most {MAX_IDENTIFIER} bytes.")
    return identity


def _address(trimmed: str) -> str:
    """An address: local part lower-case, domain as lower-case IDNA. Raises `BadSubject`."""
    if trimmed.count("@") > 1:
        raise BadSubject("bad_address", "An address has exactly one @.")
    if any(character.isspace() for character in trimmed):
        raise BadSubject("bad_address", "An address holds no white space.")
    local, _, domain = trimmed.partition("@")
    if not local or not domain:
        raise BadSubject("bad_address", "An address has text before and after its @.")
    identity = f"{_lower(local)}@{_domain(domain)}"
    if len(identity) > MAX_ADDRESS:
        raise BadSubject("too_long", f"An address has at most {MAX_ADDRESS} characters, its domain written in IDNA.")
    return identity


def _lower(local: str) -> str:
    """`local` in NFC and lower case, both at once.

    Lower-casing can undo NFC: no one character is J with a caron, but one is j with a caron.
    """
    composed = unicodedata.normalize("NFC", local)
    while (lowered := unicodedata.normalize("NFC", composed.lower())) != composed:
        composed = lowered
    return composed


@lru_cache(maxsize=1024)
def _domain(domain: str) -> str:
    """`domain` in lower-case IDNA 2008 after UTS 46 mapping, non-transitional: `ß` stays apart from `ss`.

    Raises `BadSubject`, also for an empty label, as before a dot at the end.
    """
    try:
        mapped = idna.uts46_remap(domain, std3_rules=True)
        labels = mapped.split(".")
        if mapped.isascii() and "xn--" not in mapped:
            return _encoded(labels, MAX_DOMAIN, "A domain name has at most 253 characters.")
        if len(_ARABIC_DIGIT.findall("".join(map(_as_unicode, labels)))) > MAX_ARABIC_DIGITS:
            raise BadSubject("bad_address", _TOO_COSTLY)
        return _encoded(labels, MAX_INTERNATIONAL_DOMAIN, _TOO_COSTLY)
    except UnicodeError:  # the base of everything idna raises
        raise BadSubject("bad_address", "The part after the @ is not a domain name.") from None


def _encoded(labels: list[str], most: int, otherwise: str) -> str:
    """`labels` in IDNA with dots between. Raises `idna.IDNAError`, or `BadSubject` above `most`.

    What idna.encode does, but it stops early: an encoding is never shorter than what it encodes.
    """
    if len(labels) + sum(map(len, labels)) - 1 > most:
        raise BadSubject("bad_address", otherwise)
    encoded = ""
    for label in labels:
        encoded += "." * bool(encoded) + idna.alabel(label).decode("ascii")
        if len(encoded) > most:
            raise BadSubject("bad_address", otherwise)
    return encoded


def _as_unicode(label: str) -> str:
    """What `label` spells, not checked in any way. Raises `UnicodeError`."""
    return label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label


def check_identifier(text: str, field: str) -> None:
    """Nothing, if `text` can be a key exactly as it is: it is never trimmed, folded or normalised.

    `field` is the attribute it came in. Raises `BadIdentifier`: `blank`, `too_long` (over 255 bytes of
    UTF-8), or `bad_characters` (refused categories; white space at an end, which nobody would see).
    """
    if text.isascii() and text.isprintable() and 0 < len(text) <= MAX_IDENTIFIER and text[0] != " " != text[-1]:
        return
    if not text or text.isspace():
        raise BadIdentifier(field, "blank", f"{field} must hold more than white space.")
    if len(text) > MAX_IDENTIFIER or _bytes(text) > MAX_IDENTIFIER:
        raise BadIdentifier(field, "too_long", f"{field} has at most {MAX_IDENTIFIER} bytes.")
    refused = refused_character(text)
    if refused is not None:
        raise BadIdentifier(field, "bad_characters", f"{field} cannot hold the character U+{ord(refused):04X}.")
    if has_outer_space(text):
        raise BadIdentifier(field, "bad_characters", f"{field} has white space at an end; it is not trimmed.")


def _bytes(text: str) -> int:
    """Bytes of `text` in UTF-8; a lone surrogate, refused elsewhere, counts as the three it would take."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


ERASED: Final = "\x7f"
"""Begins what stands in for an erased identity: refused in identities, so it can never be one."""

FORGOTTEN: Final = ERASED * 2
"""Begins what stands in for one that cannot be known again."""


def pseudonym(identity: str, secret: bytes) -> str:
    """What stands in for an erased identity while it must be known again: an HMAC with its account's secret."""
    return ERASED + digest(secret, identity.encode(), sha256).hex()


def is_pseudonym(identity: str) -> bool:
    """Whether this stands in for an identity that was erased."""
    return identity.startswith(ERASED)
