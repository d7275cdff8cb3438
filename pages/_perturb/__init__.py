"""The parts of the Perturb page."""
