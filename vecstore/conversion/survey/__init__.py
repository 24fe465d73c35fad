"""The first pass over a dump: what it holds, what is wrong with it, and a sample of its rows."""
