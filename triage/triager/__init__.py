"""The trained desk: owns the fitted parts and wires them; what they compute is theirs."""

from triage.triager.desk import Triager, load
from triage.triager.reading import DECIDING

__all__ = ["DECIDING", "Triager", "load"]
