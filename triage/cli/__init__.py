"""The program ``triage``."""

from triage.cli.program import app, main

__all__ = ["app", "main"]
