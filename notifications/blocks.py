"""What a mail is made of: the one structure that its text part and its HTML part are both made from. Pure."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences, perhaps under a title."""

    text: str
    title: str = ""
    kind: ClassVar = "paragraph"


@dataclass(frozen=True, slots=True)
class Listing:
    """Items under a title, and perhaps a sentence after them."""

    title: str
    items: tuple[str, ...]
    after: str = ""
    kind: ClassVar = "listing"


@dataclass(frozen=True, slots=True)
class Button:
    """A link that stands for itself."""

    label: str
    url: str
    kind: ClassVar = "button"


@dataclass(frozen=True, slots=True)
class Figure:
    """The count beside its limit. `percent` (rounded down, may exceed 100) is None without a limit: no bar."""

    line: str
    percent: int | None
    kind: ClassVar = "figure"

    @property
    def filled(self) -> int:
        """How much of the bar is full, 0 to 100."""
        return max(0, min(self.percent or 0, 100))


Block = Paragraph | Listing | Button | Figure


@dataclass(frozen=True, slots=True)
class Message:
    """A mail before it has a shape. The preheader is what mailboxes show beside the subject, and no more than that."""

    subject: str
    preheader: str
    blocks: tuple[Block, ...]
