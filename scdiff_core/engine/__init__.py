"""Joins the prepared data and the networks: train, generate, checkpoint."""
