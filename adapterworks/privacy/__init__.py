"""Personal data and secrets in texts: found, shown masked, taken out.

Pure functions of a text. What trains (the data gates) and what serves (capture) ask the same ones.
"""
