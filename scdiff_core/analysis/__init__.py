"""Metrics, baselines, markers and the report card: plain arrays in, plain values out."""
