"""Other people's generators, in an environment of their own, on the same training cells."""
