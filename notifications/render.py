"""The two parts of a mail, made from the same blocks."""

from django.template.loader import render_to_string

from notifications.blocks import Block, Button, Figure, Listing, Message, Paragraph
from notifications.words import wrapped

_BAR = 40  # characters


def text(message: Message) -> str:
    """The plain text part, in lines of 72 characters at most but for addresses."""
    return "\n\n".join(_text(block) for block in message.blocks) + "\n"


def html(message: Message) -> str:
    """The HTML part: nothing is loaded from anywhere, everything is escaped."""
    return render_to_string("notifications/mail.html", {"message": message})


def _text(block: Block) -> str:
    match block:
        case Paragraph(text=text, title=title):
            return _titled(title, wrapped(text))
        case Listing(title=title, items=items, after=after):
            lines = "\n".join(wrapped(item, first="- ", rest="  ") for item in items)
            return _titled(title, lines + (f"\n\n{wrapped(after)}" if after else ""))
        case Button(label=label, url=url):
            return f"{label}:\n{url}"
        case Figure(line=line, percent=percent):
            return wrapped(line) if percent is None else f"{wrapped(line)}\n{_bar(block)}"


def _titled(title: str, body: str) -> str:
    return f"{wrapped(title)}\n{'-' * min(len(title), 72)}\n{body}" if title else body


def _bar(figure: Figure) -> str:
    full = figure.filled * _BAR // 100
    return f"[{'#' * full}{'.' * (_BAR - full)}]"
