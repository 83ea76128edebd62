"""How the workers of a run share its work: what a spec may say of it, and what Lightning is told.

`config` and `checks` import no torch, so that a spec is checked at no cost.
"""
