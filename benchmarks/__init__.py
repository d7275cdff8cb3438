"""What is compared, with what, and how to run it."""
