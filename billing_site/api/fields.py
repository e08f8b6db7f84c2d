"""Fields of a body, read strictly: a number is no text, 1 is not true, and what cannot be seen is refused."""

from functools import cache
from typing import Any, Final, Never, override
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError as Invalid
from django.core.validators import EmailValidator
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from billing_site.api.bodies import read_object
from metering.attributes import Fault, read_time
from metering.characters import refused_character

MAX_LIMIT: Final = 2**53
"""The greatest number that every JSON reader takes exactly."""

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000

# The two are the machine's own matter: what they mean differs from one to the next.
_NO_PLACES: Final = frozenset({"localtime", "Factory"})


def _fail(code: str, detail: str) -> Never:
    raise ValidationError(detail, code=code)


class StrictSerializer(serializers.Serializer[Any]):
    """The fields of an object and none besides them."""

    @override
    def to_internal_value(self, data: Any) -> Any:
        errors: dict[str, Any] = {
            name: [ErrorDetail("There is no such field.", code="unknown_field")]
            for name in data
            if name not in self.fields
        }
        value = None
        try:
            value = super().to_internal_value(data)
        except ValidationError as error:
            errors.update(error.detail)  # type: ignore[arg-type]  # a serializer's is by field
        for name, field in self.fields.items():
            if field.required and name not in data:
                errors[name] = [ErrorDetail("Must be given.", code="missing_field")]
        if errors:
            raise ValidationError(errors)
        return value


def read_fields(request: Request, form: type[StrictSerializer]) -> dict[str, Any]:
    """The fields that a body gives, each in its type. Raises `ValidationError`, `BadBody`, `Problem`."""
    serializer = form(data=read_object(request._request))
    serializer.is_valid(raise_exception=True)
    given: dict[str, Any] = serializer.validated_data
    return given


class Text(serializers.CharField):
    """A string of printable characters, kept as it is."""

    @override
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            _fail("wrong_type", "Must be a string.")
        if self.max_length is not None and len(data) > self.max_length:
            _fail("too_long", f"Has at most {self.max_length} characters.")
        refused = refused_character(data)
        if refused is not None:
            _fail("bad_characters", f"Cannot hold the character U+{ord(refused):04X}.")
        return data


class Address(Text):
    """A mail address, or nothing."""

    _is_address = EmailValidator()

    @override
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            self._is_address(text)
        except Invalid:
            _fail("bad_address", "Must be a mail address.")
        return text


class TimeZone(Text):
    """The name of a time zone of the tz database."""

    @override
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if text not in _zones():
            _fail("unknown_timezone", "Must be a time zone of the tz database, like Europe/Berlin.")
        return text


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES


class Choice(serializers.ChoiceField):
    """One of a few words."""

    @override
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            _fail("wrong_type", "Must be a string.")
        if data not in self.choices:
            _fail("unknown_choice", f"Must be one of {', '.join(map(str, self.choices))}.")
        return data


class YesNo(serializers.BooleanField):
    """true or false."""

    @override
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            _fail("wrong_type", "Must be true or false.")
        return data


class WholeNumber(serializers.IntegerField):
    """A whole number within bounds; 12.0 is one too, as JSON Schema has it."""

    def __init__(self, *, min_value: int, max_value: int, **options: Any) -> None:
        super().__init__(min_value=min_value, max_value=max_value, **options)
        self._least, self._most = min_value, max_value

    @override
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            _fail("wrong_type", "Must be a whole number.")
        if not self._least <= data <= self._most:
            _fail("out_of_range", f"Must be from {self._least} to {self._most}.")
        return data


class Instant(serializers.DateTimeField):
    """A time in RFC 3339 with its offset, from 1970 to 9000."""

    @override
    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            _fail("wrong_type", "Must be a string.")
        try:
            at = read_time(value)
        except Fault:
            _fail("bad_time", "Must be a time like 2026-11-22T10:00:00Z.")
        if not FIRST_YEAR <= at.year <= LAST_YEAR:
            _fail("out_of_range", f"Must be from {FIRST_YEAR} to {LAST_YEAR}.")
        return at
