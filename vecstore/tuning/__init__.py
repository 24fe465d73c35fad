"""A budget in, a trained codec out: what to try, how it is judged, and what is returned."""
