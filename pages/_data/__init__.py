"""The parts of the Data page, in the order of the work."""
