"""From the sample of a survey to a trained codec and what was measured of it."""
