"""The strong map of a reverse diffusion, which samples from noise."""
