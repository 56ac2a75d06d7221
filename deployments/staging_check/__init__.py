"""`orch staging-check`: ten checks of a running staging stand, the last of which clears away what the ninth has made."""
