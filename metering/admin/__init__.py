"""What staff see of metering, a file for each subject. The page of an account leads to the pages that steer it."""

from metering.admin import accounts, events, gaps, limits, periods, quarantine

__all__ = ["accounts", "events", "gaps", "limits", "periods", "quarantine"]
