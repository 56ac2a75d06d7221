"""A coding agent that plays a script: every role, without a model, always the same. Standard library only."""
