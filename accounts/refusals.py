"""The base of everything the domain refuses: a stable code for programs, a sentence for people."""


class Refused(Exception):
    """The operation was refused and changed nothing.

    `code` is stable and part of the HTTP contract, `status` its HTTP status, `field` the field at fault if there is
    one.
    """

    def __init__(self, code: str, detail: str, *, field: str = "", status: int = 409) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.status = status


def missing() -> Refused:
    """What is asked for does not exist, or is not theirs: nobody can tell the one from the other."""
    return Refused("not_found", "There is no such resource.", status=404)
