"""The prices of a small shop. All amounts are integer cents."""
