"""A KMS client for pyarrow: the keys of Parquet files, wrapped by master keys on a token.

Master key identifiers are the names of Keyward's master keys. What it writes into a file, `keyward::parquet` reads in
Rust, and the other way round, with one and the same encryption context. `keyward` finds its token in KEYWARD_TOKEN or
KEYWARD_CONFIG.

    from keyward_kms import crypto_factory
    from pyarrow.parquet.encryption import EncryptionConfiguration, KmsConnectionConfig

    factory = crypto_factory(["staff", "payroll"], context={"table": "staff"})
    keys = EncryptionConfiguration(footer_key="staff", column_keys={"payroll": ["pay"], "staff": ["name"]})
    properties = factory.file_encryption_properties(KmsConnectionConfig(), keys)

Which master keys may be used is for the program to say: the writer of a file puts any identifier into it. What an RSA
key opens is refused unless the program vouches for who wrote the files (`danger_assert_origin=True`): anyone with its
public half can write whole files under it.

Where columns are named, those that are not are left in plaintext; `uniform_encryption=True` encrypts all.

pyarrow keeps keys in memory, as plain bytes and for ten minutes unless `cache_lifetime` says otherwise: make one factory
for each context.
"""

import base64
import json
import subprocess

from pyarrow.parquet.encryption import CryptoFactory, KmsClient


def crypto_factory(keys, context=None, program="keyward", danger_assert_origin=False):
    """The factory that pyarrow takes, for these master keys, with this encryption context (a dict of strings)."""
    options = _options(keys, context or {})
    assertion = ["--danger-assert-origin"] if danger_assert_origin else []
    return CryptoFactory(lambda _connection: KeywardKms(frozenset(keys), options, program, assertion))


def _options(keys, context):
    """The context as options, in which another context is never the same one."""
    if isinstance(keys, str):
        raise ValueError("the master keys are a list of names")
    for key in keys:
        # The command line takes it for several keys.
        if "," in key:
            raise ValueError(f"no master key has a comma in its name: {key!r}")
    for key in context:
        # The command line ends the key at the first one.
        if "=" in key:
            raise ValueError(f"no key of a context may have an equals sign here: {key!r}")
    return [f"--context={key}={value}" for key, value in context.items()]


class KeywardKms(KmsClient):
    """Asks the command line. Keys go through its standard input and output, never through arguments."""

    def __init__(self, keys, context, program, assertion):
        KmsClient.__init__(self)
        self.keys = keys
        self.context = context
        self.program = program
        self.assertion = assertion

    def wrap_key(self, key_bytes, master_key_identifier):
        answer = self._keyward("wrap", master_key_identifier, {"plaintext": base64.b64encode(key_bytes).decode()})
        return ",".join(answer["wrapped_keys"])

    def unwrap_key(self, wrapped_key, master_key_identifier):
        # Only this master key may open it, whatever the file says it was wrapped with.
        wrapped_keys = wrapped_key.split(",")
        answer = self._keyward("unwrap", master_key_identifier, {"wrapped_keys": wrapped_keys}, *self.assertion)
        return base64.b64decode(answer["plaintext"])

    def _keyward(self, command, key, question, *options):
        # The identifier of a file that is read is its writer's.
        if key not in self.keys:
            raise ValueError(f"{key!r} is not among the master keys that this program allows")
        done = subprocess.run(
            [self.program, "data-key", command, f"--key={key}", *self.context, *options],
            input=json.dumps(question),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"keyward data-key {command} exits with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)
