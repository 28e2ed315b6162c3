"""From a table of questions to a trained desk.

``options`` are what can be set, ``tables`` reads and checks what training is given, ``gathering`` makes it texts with
labels, ``desk`` trains on them, ``reuse`` learns when an earlier answer fits.
"""

from triage.training.desk import train
from triage.training.options import TrainingOptions
from triage.training.tables import out_of_scope_texts

__all__ = ["TrainingOptions", "out_of_scope_texts", "train"]
