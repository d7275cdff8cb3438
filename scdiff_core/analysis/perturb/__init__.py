"""What a perturbation does: measured shifts, their prediction, scores and baselines."""
