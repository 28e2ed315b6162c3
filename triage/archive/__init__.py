"""The archive: answered questions in one durable file, with everything that ever changed in it."""

from triage.archive.items import COLUMNS, Item
from triage.archive.results import Added, Change, NearDuplicate
from triage.archive.store import Archive

__all__ = ["COLUMNS", "Added", "Archive", "Change", "Item", "NearDuplicate"]
