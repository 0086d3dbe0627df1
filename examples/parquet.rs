//! A Parquet table with one column that fewer may read than the rest. `examples/keyward_kms.py` is for the same files
//! in Python. Run: `softhsm/with cargo run --features parquet,testkit --example parquet`.

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use keyward::parquet::Kms;
use keyward::testkit::SoftToken;
use keyward::{AlgorithmChoice, EncryptionContext, KeyAdmin, KeyName};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::file::properties::WriterProperties;
use parquet_key_management::crypto_factory::{CryptoFactory, DecryptionConfiguration, EncryptionConfiguration};
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

fn write(path: &Path, factory: &CryptoFactory) -> Result<(), Box<dyn Error>> {
    let name: ArrayRef = Arc::new(StringArray::from(vec!["Ada", "Grace", "Barbara"]));
    let pay: ArrayRef = Arc::new(Int32Array::from(vec![3000, 4000, 5000]));
    let table = RecordBatch::try_from_iter([("name", name), ("pay", pay)])?;

    // The file's own keys are made here. A column that is not named would not be encrypted.
    let keys = EncryptionConfiguration::builder("staff".into())
        .add_column_key("staff".into(), vec!["name".into()])
        .add_column_key("payroll".into(), vec!["pay".into()])
        .build()?;
    let encryption = factory.file_encryption_properties(Arc::default(), &keys)?;
    let properties = WriterProperties::builder().with_file_encryption_properties(encryption).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, table.schema(), Some(properties))?;
    writer.write(&table)?;
    writer.close()?;
    Ok(())
}

/// Reads one column.
fn read(path: &Path, factory: &CryptoFactory, column: &str) -> Result<RecordBatch, Box<dyn Error>> {
    let decryption = factory.file_decryption_properties(Arc::default(), DecryptionConfiguration::default())?;
    let options = ArrowReaderOptions::new().with_file_decryption_properties(decryption);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(File::open(path)?, options)?;
    let columns = ProjectionMask::columns(reader.parquet_schema(), [column]);
    Ok(reader.with_projection(columns).build()?.next().ok_or("there are no rows")??)
}

fn main() -> Result<(), Box<dyn Error>> {
    let token = SoftToken::new();
    let (staff, payroll): (KeyName, KeyName) = ("staff".parse()?, "payroll".parse()?);
    for key in [&staff, &payroll] {
        token.provider().create_key(key, AlgorithmChoice::Auto)?;
    }
    let context = EncryptionContext::from_pairs([("table", "staff")])?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("staff.parquet");

    let all = CryptoFactory::new(Kms::new(token.provider()).context(context.clone()));
    write(&path, &all)?;
    let bytes = std::fs::read(&path)?;
    assert!(!bytes.windows(7).any(|at| at == b"Barbara"), "the names are encrypted");

    let pay = read(&path, &all, "pay")?;
    assert_eq!(pay.column(0).as_primitive::<Int32Type>().values(), &[3000, 4000, 5000]);
    println!("with both master keys: the names and the pay");

    let some = CryptoFactory::new(Kms::new(token.provider().only([staff])).context(context));
    let names = read(&path, &some, "name")?;
    assert_eq!(names.column(0).as_string::<i32>().value(2), "Barbara");
    let refused = read(&path, &some, "pay").expect_err("'payroll' is not among its keys");
    println!("with 'staff' alone: the names, and for the pay: {refused}");
    assert!(refused.to_string().contains("is not among the keys that may be used here"), "{refused}");
    Ok(())
}
