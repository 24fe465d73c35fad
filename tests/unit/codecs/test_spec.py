from __future__ import annotations

import pytest

from vecstore.codecs.bytes.zstd import Zstd
from vecstore.codecs.codec import CodecSpec, codec
from vecstore.codecs.product.pq import PQ
from vecstore.codecs.scalar.binary import Binary
from vecstore.codecs.scalar.floats import F32
from vecstore.codecs.scalar.sq import SQ
from vecstore.codecs.spec import LayerSpec
from vecstore.codecs.transforms.pca import PCA
from vecstore.errors import CodecError, UnknownCodecError, VecstoreError


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("f32", [[F32()]]),
        ("sq", [[SQ(8)]]),
        ("sq:4", [[SQ(4)]]),
        ("pq:48", [[PQ(48, 8)]]),
        ("pq:96x4", [[PQ(96, 4)]]),
        ("bin", [[Binary("auto")]]),
        ("bin:mean", [[Binary("mean")]]),
        ("pca:128,sq:8", [[PCA(128), SQ(8)]]),
        (" pca : 128 , sq : 8 ", [[PCA(128), SQ(8)]]),
        ("bin/sq:8", [[Binary()], [SQ(8)]]),
        ("bin / f32 , zstd : 9 : bit", [[Binary()], [F32(), Zstd(9, "bit")]]),
    ],
)
def test_a_text_is_its_objects(text, layers):
    assert codec(text) == CodecSpec(tuple(LayerSpec(tuple(steps)) for steps in layers))
    assert codec(codec(text)) is not None and codec(str(codec(text))) == codec(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mrl:256, sq:8", "truncate:256,sq:8"),
        ("pq:8x8", "pq:8"),
        ("sq", "sq:8"),
        ("bin:auto", "bin"),
        ("f32,zstd:3", "f32,zstd"),
        ("f32,zstd:3:byte", "f32,zstd"),
        ("f32,zstd:3:none", "f32,zstd:3:none"),
    ],
)
def test_canonical_form(text, canonical):
    assert str(codec(text)) == canonical
    assert repr(codec(text)) == f"codec({canonical!r})"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opp:48", "no codec 'opp' (did you mean 'opq'?); known: normalize, center"),
        ("norm,f32", "did you mean 'normalize'"),
        ("cell:16,tcq:4", "did you mean 'cells'"),
        ("mixd:12", "did you mean 'mixed'"),
        ("PQ:48", "no codec 'PQ'"),
        ("wholly-unknown", "no codec 'wholly-unknown'; known:"),
    ],
)
def test_unknown_names(text, message):
    with pytest.raises(UnknownCodecError) as caught:
        codec(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty step or parameter"),
        ("sq:8,", "empty step or parameter"),
        ("sq:", "empty step or parameter"),
        ("/sq:8", "empty step or parameter"),
        ("pca", "pca needs dimensions: pca:D"),
        ("pca:128", "exactly one quantizer"),
        ("f32,sq:8", "exactly one quantizer (f32, f16, sq:8, pq:M, ...), found several"),
        ("zstd", "exactly one quantizer"),
        ("sq:8,pca:4", "transforms, one quantizer, then byte steps such as zstd"),
        ("zstd,f32", "transforms, one quantizer, then byte steps"),
        ("f32,zstd,pco", "pco packs the codes themselves: it is the first byte step"),
        ("sq:8,zstd,rans:8", "rans packs the codes themselves"),
        ("bin/sq:8/f32", "one layer, or two as coarse/fine"),
        ("sq:8,zstd/f32", "cannot be compressed by byte steps"),
        ("pca:0,f32", "dimensions=0; choose 1 to d (pca:D)"),
        ("pca:-1,f32", "'-1' is not a whole number: pca:D"),
        ("pca:1.5,f32", "'1.5' is not a whole number"),
        ("pca:²,f32", "is not a whole number"),
        ("pca:99999999999,f32", "choose 1 to d"),
        ("pca:4:4,f32", "pca takes at most 1 arguments, found 2"),
        ("f32:1", "f32 takes at most 0 arguments"),
        ("sq:5", "sq: bits=5; choose 4, 6 or 8"),
        ("pq", "pq takes one argument: pq:M or pq:MxB"),
        ("pq:8x5", "bits=5; choose 4 or 8"),
        ("pq:x8", "'' is not a whole number"),
        ("opq:8:4", "opq takes one argument"),
        ("bin:average", "threshold='average'; choose auto, zero, mean or median"),
        ("bin:mean:zero", "bin takes at most one argument"),
        ("f32,zstd:23", "level=23; choose 1 to 22"),
        ("f32,zstd:3:bytes", "shuffle='bytes'; choose byte, bit or none"),
        ("f32,zstd:3:byte:1", "zstd takes at most two arguments"),
        (8, "a codec specification is a string such as 'pca:128,sq:8', found int"),
        (None, "found NoneType"),
    ],
)
def test_messages_name_the_remedy(text, message):
    with pytest.raises(CodecError) as caught:
        codec(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and isinstance(caught.value, (VecstoreError, ValueError))


def test_configurations_that_do_not_fit():
    with pytest.raises(CodecError, match=r"sq: configuration .* does not fit"):
        CodecSpec.from_dict([[{"name": "sq", "configuration": {"bits": 8, "rounds": 3}}]])
    with pytest.raises(CodecError, match="choose 4, 6 or 8"):
        CodecSpec.from_dict([[{"name": "sq", "configuration": {"bits": 7}}]])
    with pytest.raises(UnknownCodecError, match="no codec 'squ'"):
        CodecSpec.from_dict([[{"name": "squ", "configuration": {}}]])
    with pytest.raises(CodecError, match="one layer, or two"):
        CodecSpec.from_dict([])


def test_specs_are_values():
    assert {codec("sq:8"), codec("sq"), codec("sq:4")} == {codec("sq:8"), codec("sq:4")}
    with pytest.raises(AttributeError):
        codec("sq:8").layers = ()
