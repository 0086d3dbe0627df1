//! What the fuzz targets and the maker of their seeds share.

pub mod edits;
pub mod originals;
