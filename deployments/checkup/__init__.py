"""Looking at one's own set-up: what is there, what is missing, and what to do next. `orch connect` and `orch doctor`."""
