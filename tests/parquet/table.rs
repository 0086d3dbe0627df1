//! One table, written to and read from a file.

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, EncryptionContext, Error, ErrorKind, KeyAdmin};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet_key_management::crypto_factory::{
    CryptoFactory, DecryptionConfiguration, EncryptionConfiguration, EncryptionConfigurationBuilder,
};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Text that is in the table and, where a column is encrypted, not in the file.
pub(crate) const TEXT: &str = "a name nobody shall read";
/// As `table.py` has it.
const ROWS: i32 = 1000;

/// The same rows as those of `table.py`.
pub(crate) fn rows() -> RecordBatch {
    let id: ArrayRef = Arc::new(Int32Array::from_iter_values(0..ROWS));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("{TEXT} {row}"))));
    let pay: ArrayRef = Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| f64::from(row) * 1.5)));
    RecordBatch::try_from_iter([("id", id), ("name", name), ("pay", pay)]).unwrap()
}

/// Everything under `footer`; nobody is asked about the others.
pub(crate) fn uniform() -> EncryptionConfigurationBuilder {
    EncryptionConfiguration::builder("footer".into())
}

/// Two columns under a master key of their own.
pub(crate) fn columns() -> EncryptionConfigurationBuilder {
    uniform().add_column_key("people".into(), vec!["name".into(), "pay".into()])
}

pub(crate) fn write(path: &Path, factory: &CryptoFactory, keys: EncryptionConfigurationBuilder) -> Result<()> {
    let encryption = factory.file_encryption_properties(Arc::default(), &keys.build()?)?;
    let properties = WriterProperties::builder().with_file_encryption_properties(encryption).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, rows().schema(), Some(properties))?;
    writer.write(&rows())?;
    writer.close().map(drop)
}

/// Reads the whole table, and fails where it is not the one that was written.
pub(crate) fn read(path: &Path, factory: &CryptoFactory) -> Result<()> {
    let decryption = factory.file_decryption_properties(Arc::default(), DecryptionConfiguration::default())?;
    let options = ArrowReaderOptions::new().with_file_decryption_properties(decryption);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path)?, options)?;
    let batches: Vec<_> = reader.with_batch_size(ROWS as usize).build()?.collect::<Result<_, _>>()?;
    assert_eq!(batches.len(), 1);
    // The schemas differ in whether values may be missing.
    assert_eq!(batches[0].columns(), rows().columns());
    Ok(())
}

/// A token with these keys.
pub(crate) fn token_with(names: &[&str], algorithm: AlgorithmChoice) -> SoftToken {
    let token = SoftToken::new();
    let hsm = token.provider();
    for name in names {
        hsm.create_key(&name.parse().unwrap(), algorithm).unwrap();
    }
    token
}

pub(crate) fn context() -> EncryptionContext {
    EncryptionContext::from_pairs([("table", "staff")]).unwrap()
}

/// Why Keyward refused, as far down as the error has it.
#[track_caller]
pub(crate) fn kind(refused: Result<()>) -> ErrorKind {
    let error = refused.expect_err("it is to be refused");
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let mut own = chain.filter_map(|error| error.downcast_ref::<Error>());
    own.next().unwrap_or_else(|| panic!("not an error of Keyward's: {error:?}")).kind()
}

/// The file with `old` replaced wherever it stands; both are of one length.
#[track_caller]
pub(crate) fn replace(path: &Path, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let mut bytes = std::fs::read(path).unwrap();
    let places = bytes.windows(old.len()).enumerate().filter(|(_, at)| *at == old.as_bytes());
    let places: Vec<_> = places.map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "'{old}' is not in the file");
    for place in places {
        bytes[place..place + old.len()].copy_from_slice(new.as_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}

/// What the first key material in the file has in this field.
#[track_caller]
pub(crate) fn carried(path: &Path, field: &str) -> String {
    let bytes = std::fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let before = format!("\"{field}\":\"");
    let (_, rest) = text.split_once(&before).unwrap_or_else(|| panic!("'{field}' is not in the file"));
    rest.split_once('"').unwrap().0.to_owned()
}

/// Another ciphertext where the first wrapped key in the file was.
pub(crate) fn alter_wrapped_key(path: &Path) {
    let wrapped = carried(path, "wrappedKEK");
    // Ahead of the last bits, which base64 may not use.
    let place = wrapped.len() - 8;
    let other = if wrapped.as_bytes()[place] == b'A' { "B" } else { "A" };
    replace(path, &wrapped, &format!("{}{other}{}", &wrapped[..place], &wrapped[place + 1..]));
}
