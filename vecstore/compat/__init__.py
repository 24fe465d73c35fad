"""Classes with the names, arguments and results of gensim's and Magnitude's, for code that was written for these."""
