"""Measurements of Orch at work; nothing here is part of what is installed."""
