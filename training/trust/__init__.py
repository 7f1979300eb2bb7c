"""How far a model can be trusted: calibrates it, fits prediction sets and a familiarity score, and measures it."""
