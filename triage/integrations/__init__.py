"""Triage inside other libraries; each module needs only its own."""
