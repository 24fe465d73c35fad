"""What codecs leave of a static model of sentences, and how fast it encodes, beside model2vec.

``python -m vecstore.bench.scripts.sentences --stores FOLDER --write docs/sentences.md`` converts the table of the
package wordllama (32,000 tokens x 256) with each codec. Texts and judgements are those of Lee et al. (2005), which
gensim ships: 50 news items whose similarity people judged, and 300 more; each sentence of them is a text to encode.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from vecstore.bench.timing import add_page, machine, medians, show, table

import vecstore
from vecstore.codecs.base import Floats
from vecstore.codecs.transforms.normalize import unit
from vecstore.errors import require
from vecstore.sentences import Encoder, import_static

__all__ = ["main", "measured"]

HEADER = ("", "MB", "bytes a token", "texts/s", "cosine to the original", "10 nearest kept", "judgements")
CODECS = ("f32", "f16", "sq:8", "tcq:128", "sq:4", "tcq:96", "tcq:64", "opq:32", "pq:32")
PEER = "model2vec, float32"
NEAREST = 10


def measured(folder: Path, codecs: Sequence[str] = CODECS, *, runs: int = 7) -> list[tuple[str, ...]]:
    """Return a line of the table for model2vec on float32, and for each codec; stores are kept in the folder."""
    texts, items, judged = _texts()
    stores = {codec: _converted(folder, codec) for codec in codecs}
    encoders = {codec: Encoder(store) for codec, store in stores.items()}
    peer = _peer(np.asarray(_converted(folder, "f32").vectors))
    functions: dict[str, Callable[[], Any]] = {PEER: lambda: peer.encode(texts)}
    functions |= {codec: partial(encoder.encode, texts) for codec, encoder in encoders.items()}
    seconds = medians(functions, runs=runs)
    reference = peer.encode(texts)
    size = peer.embedding.nbytes + _tokenizer().stat().st_size
    judgement = f"{_judgement(peer.encode(items), judged):.3f}"
    lines: list[tuple[str, ...]] = [
        (PEER, f"{size / 1e6:.1f}", "1024", f"{len(texts) / seconds[PEER]:,.0f}", "1", "1", judgement)
    ]
    for codec, store in stores.items():
        about, encode = store.info()["bytes"], encoders[codec].encode
        found = encode(texts)
        lines.append(
            (
                f"`{codec}`",
                f"{about['stored'] / 1e6:.1f}",
                str(about["code"][-1]),
                f"{len(texts) / seconds[codec]:,.0f}",
                f"{(unit(found) * unit(reference)).sum(axis=1).mean():.4f}",
                f"{_kept(found, reference):.3f}",
                f"{_judgement(encode(items), judged):.3f}",
            )
        )
    return lines


def _texts() -> tuple[list[str], list[str], Floats]:
    """Return sentences, the items that people judged, and the upper triangle of what they said."""
    folder = Path(str(require("gensim.test.utils", purpose="texts and judgements").datapath("")))
    items = (folder / "lee.cor").read_text(encoding="latin-1").splitlines()
    more = (folder / "lee_background.cor").read_text(encoding="latin-1").splitlines()
    sentences = [text for line in [*items, *more] for text in re.split(r"(?<=[.!?]) +", line) if len(text) > 20]
    judged = np.loadtxt(folder / "similarities0-1.txt")
    return list(dict.fromkeys(sentences)), items, judged[np.triu_indices(len(judged), 1)].astype(np.float32)


def _package() -> Path:
    found = importlib.util.find_spec("wordllama")
    if found is None or found.origin is None:
        require("wordllama", purpose="a static model")
        raise AssertionError("it was found now")
    return Path(found.origin).parent


def _tokenizer() -> Path:
    return _package() / "tokenizers/l2_supercat_tokenizer_config.json"


def _converted(folder: Path, codec: str) -> vecstore.Store:
    path = folder / f"{codec.replace(':', '-')}.vecs"
    if not path.exists():
        import_static(_package() / "weights/l2_supercat_256.safetensors", path, codec, tokenizer=_tokenizer())
    return vecstore.open(path)


def _peer(vectors: Floats) -> Any:
    tokenizer = require("tokenizers", purpose="a static model").Tokenizer.from_file(str(_tokenizer()))
    model = require("model2vec", purpose="the other side").StaticModel(vectors, tokenizer, max_length=None)
    model.unk_token_id = None  # this model counts unknown tokens
    return model


def _kept(found: Floats, reference: Floats) -> float:
    """Return how many of each text's nearest others are the same."""

    def nearest(x: Floats) -> Any:
        scores = unit(x) @ unit(x).T
        np.fill_diagonal(scores, -2)
        return np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]

    pairs = zip(nearest(found), nearest(reference), strict=True)
    return float(np.mean([len(np.intersect1d(*pair)) / NEAREST for pair in pairs]))


def _judgement(vectors: Floats, judged: Floats) -> float:
    """Return the rank correlation of cosines with what people said."""
    cosines = (unit(vectors) @ unit(vectors).T)[np.triu_indices(len(vectors), 1)]
    return float(require("scipy.stats", purpose="rank correlations").spearmanr(cosines, judged).statistic)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vecstore.bench.scripts.sentences", description=__doc__)
    parser.add_argument("--codecs", nargs="+", default=list(CODECS), metavar="CODEC")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--stores", type=Path, required=True, metavar="FOLDER", help="where stores are kept")
    add_page(parser)
    given = parser.parse_args()
    given.stores.mkdir(parents=True, exist_ok=True)
    text = table(HEADER, measured(given.stores, given.codecs, runs=given.runs)) + f"\n\n{machine()}."
    show(text, "sentences", page=given.write)


if __name__ == "__main__":
    main()
