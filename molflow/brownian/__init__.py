"""The Brownian path of a step as a few numbers: sampling, joining, refining, differentiating."""
