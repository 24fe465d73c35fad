"""Codecs: turn vectors into bytes and back, and say how a query scores those bytes.

Read from the bottom: `base` is the contract of every step, `registry` the list of their names. One codec is one file;
each kind has a folder: `transforms`, quantizers by what their codes are (`scalar`, `product`, `trellis`, `tables`), and
`bytes`. `spec` is the language in which codecs are named, `layer` a trained chain of steps, `codec` one or two layers
behind cells (`partition`), and `mixed` blocks of rows with a codec each. `dataset` is all rows that go into a store.
"""
