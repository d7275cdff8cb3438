"""Exploring cells, alike on every page: map, selections, differential expression, marker figures."""
