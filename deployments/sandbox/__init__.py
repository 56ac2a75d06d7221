"""A sandbox Plane, Gitea and Telegram in one small server that behaves like the real ones as far as Orch uses them.

The production adapters talk to it over the same HTTP, so that the demo and the tests have no code path of their own.
"""
