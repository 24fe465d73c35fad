"""Codecs: turn vectors into bytes and back, and say how a query scores those bytes.

`vecstore.codecs.base` is the contract, `spec` the language in which codecs are named, `codec` the trained chain,
`registry` the list of names. Every other module but `packing`, `kmeans` and `evaluation` is one codec.
"""
