"""What the usage pages' templates need: numbers that a test can find, and addresses that keep the link."""

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing_site.usage import words
from billing_site.usage.visit import address

register = template.Library()


@register.simple_tag
def number(name: str, value: int) -> SafeString:
    """A number of the API, under the name that it has there."""
    return format_html('<span class="n" data-number="{}">{}</span>', name, f"{value:,}")


@register.simple_tag(takes_context=True)
def go(context: template.Context, page: str, *args: str, **query: Any) -> str:
    """The address of a page, with the link of this visit."""
    visit = context.get("visit")
    token = visit.token if visit is not None else ""
    return address(page, *args, token=token, **query)


@register.filter
def reason_words(name: str) -> str:
    """What a reason is called."""
    return words.reason(name)
