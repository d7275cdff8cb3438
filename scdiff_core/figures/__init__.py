"""Figures from plain arrays: plotly for the screen, matplotlib for files."""
