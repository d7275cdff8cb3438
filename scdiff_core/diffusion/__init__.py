"""Diffusion on vectors: schedule, denoiser, guidance, samplers. Pure torch."""
