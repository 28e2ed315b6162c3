"""The trained desk: owns the fitted parts and wires them; what they compute is theirs."""

from triage.triager.desk import Triager, load
from triage.triager.reading import DECIDING
from triage.triager.suggesting import Reuse

__all__ = ["DECIDING", "Reuse", "Triager", "load"]
