"""The real product under faults for as long as wanted: `make chaos`."""
