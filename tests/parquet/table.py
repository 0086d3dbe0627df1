"""The table of table.rs, written or read by pyarrow. Run by python.rs:

table.py KEYWARD write|read FILE [uniform] [single] [plaintext-footer] [bits=N] [context=KEY=VALUE] [keys=NAME+NAME]
         [assert-origin]
table.py KEYWARD refuses -
"""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples"))

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from keyward_kms import crypto_factory  # noqa: E402
from pyarrow.parquet.encryption import EncryptionConfiguration, KmsConnectionConfig  # noqa: E402

ROWS = 1000
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int32()),
        "name": [f"a name nobody shall read {row}" for row in range(ROWS)],
        "pay": [row * 1.5 for row in range(ROWS)],
    }
)


def refuses():
    """Names and contexts that the command line would take for others."""
    for keys, context in [(["a,b"], {}), ("footer", {}), (["a"], {"k=": "v"}), (["a"], {"k=v": ""})]:
        try:
            crypto_factory(keys, context)
        except ValueError:
            continue
        raise AssertionError(f"{keys} {context} is taken")


def main(keyward, command, path, *words):
    options = dict(word.split("=", 1) for word in words if "=" in word)
    context = dict([options["context"].split("=", 1)]) if "context" in options else {}
    if command == "refuses":
        return refuses()
    allowed = options.get("keys", "footer+people").split("+")
    factory = crypto_factory(allowed, context, keyward, danger_assert_origin="assert-origin" in words)
    connection = KmsConnectionConfig()
    if command == "read":
        table = pq.read_table(path, decryption_properties=factory.file_decryption_properties(connection))
        assert table.to_pydict() == TABLE.to_pydict(), "another table"
        return
    keys = {"uniform_encryption": True} if "uniform" in words else {"column_keys": {"people": ["name", "pay"]}}
    configuration = EncryptionConfiguration(
        footer_key="footer",
        double_wrapping="single" not in words,
        plaintext_footer="plaintext-footer" in words,
        data_key_length_bits=int(options.get("bits", 128)),
        **keys,
    )
    encryption = factory.file_encryption_properties(connection, configuration)
    with pq.ParquetWriter(path, TABLE.schema, compression="none", encryption_properties=encryption) as writer:
        writer.write_table(TABLE)


main(*sys.argv[1:])
