"""Inverse design apart from the model: what real cells say about a target, and how good designed cells are."""
