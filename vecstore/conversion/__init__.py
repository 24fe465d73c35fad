"""From a dump to a store: survey, train, encode, write."""
