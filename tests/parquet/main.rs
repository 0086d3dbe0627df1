//! Parquet tables whose keys are wrapped on a token: written and read by the `parquet` crate, and by pyarrow.

mod governed;
mod python;
mod refusals;
mod table;
mod tables;
