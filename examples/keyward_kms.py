"""A KMS client for pyarrow: the keys of Parquet files, wrapped by master keys on a token.

Master key identifiers are the names of Keyward's master keys. What it writes into a file, `keyward::parquet` reads in
Rust, and the other way round, with one and the same encryption context. `keyward` finds its token in KEYWARD_TOKEN or
KEYWARD_CONFIG.

    from keyward_kms import crypto_factory
    from pyarrow.parquet.encryption import EncryptionConfiguration, KmsConnectionConfig

    factory = crypto_factory(context={"table": "staff"})
    keys = EncryptionConfiguration(footer_key="staff", column_keys={"payroll": ["pay"], "staff": ["name"]})
    properties = factory.file_encryption_properties(KmsConnectionConfig(), keys)

Where columns are named, those that are not are left in plaintext; `uniform_encryption=True` encrypts all.

pyarrow keeps keys in memory, as plain bytes and for ten minutes unless `cache_lifetime` says otherwise: make one factory
for each context.
"""

import base64
import json
import subprocess

from pyarrow.parquet.encryption import CryptoFactory, KmsClient


def crypto_factory(context=None, program="keyward"):
    """The factory that pyarrow takes, with this encryption context (a dict of strings)."""
    return CryptoFactory(lambda _connection: KeywardKms(context or {}, program))


class KeywardKms(KmsClient):
    """Asks the command line. Keys go through its standard input and output, never through arguments."""

    def __init__(self, context, program):
        KmsClient.__init__(self)
        self.context = [f"--context={key}={value}" for key, value in context.items()]
        self.program = program

    def wrap_key(self, key_bytes, master_key_identifier):
        answer = self._keyward("wrap", master_key_identifier, {"plaintext": base64.b64encode(key_bytes).decode()})
        return ",".join(answer["wrapped_keys"])

    def unwrap_key(self, wrapped_key, master_key_identifier):
        # Only this master key may open it, whatever the file says it was wrapped with.
        wrapped_keys = wrapped_key.split(",")
        answer = self._keyward("unwrap", master_key_identifier, {"wrapped_keys": wrapped_keys})
        return base64.b64decode(answer["plaintext"])

    def _keyward(self, command, key, question):
        done = subprocess.run(
            [self.program, "data-key", command, f"--key={key}", *self.context],
            input=json.dumps(question),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"keyward data-key {command} exits with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)
