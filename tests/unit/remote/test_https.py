"""Stores and dumps over HTTPS, from a server whose certificate an authority of the test's own has signed."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty_server import folder_server

import vecstore
from vecstore.errors import RemoteError
from vecstore.remote import obstore_objects

pytest.importorskip("obstore")
x509 = pytest.importorskip("cryptography.x509")

X = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
READ = """
import sys, numpy as np, vecstore
url, folder = sys.argv[1:]
with vecstore.open(f"{url}/a.vecs") as store, vecstore.open(f"{folder}/a.vecs") as here:
    assert (store[[7, 1999]] == here[[7, 1999]]).all() and store.search(here[7], k=1).keys == [7]
print(vecstore.convert(f"{url}/x.npy", f"{folder}/b.vecs", "f16").rows)
"""


def signed(name: str, issuer: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
    """Return a certificate, and its key: an authority's, or one for this machine that an authority has signed."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key, own = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now, day = datetime.now(UTC), timedelta(days=1)
    made = x509.CertificateBuilder(issuer[0].subject if issuer else own, own, key.public_key(), 7, now - day, now + day)
    made = made.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if issuer:
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        made = made.add_extension(here, critical=False)
    return made.sign(issuer[1] if issuer else key, hashes.SHA256()), key


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Return the file of the authority's certificate; beside it is ``server.pem``, with its key."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    issuer = signed("an authority")
    certificate, key = signed("a server", issuer)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    (tmp_path / "authority.pem").write_bytes(issuer[0].public_bytes(Encoding.PEM))
    return tmp_path / "authority.pem"


def test_stores_and_dumps_over_https(authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries read which authorities they trust when they are loaded: hence a process of its own."""
    monkeypatch.setenv("VECSTORE_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(obstore_objects.RETRIES, "max_retries", 0)
    np.save(tmp_path / "x.npy", X)
    vecstore.write(tmp_path / "a.vecs", X, range(len(X)), "sq:8")
    with folder_server(tmp_path, certificate=authority.with_name("server.pem")) as url:
        assert url.startswith("https://")
        with pytest.raises(RemoteError, match="error sending request"):  # nobody trusts that authority
            vecstore.open(f"{url}/a.vecs")
        done = subprocess.run(
            [sys.executable, "-c", READ, url, str(tmp_path)],
            capture_output=True,
            text=True,
            env=os.environ | {"SSL_CERT_FILE": str(authority)},
        )
    assert (done.returncode, done.stdout.split()) == (0, ["2000"]), done.stderr
