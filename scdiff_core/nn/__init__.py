"""Networks: codecs, condition encoder, denoising backbone. Pure torch."""
