//! Floor 2: tables. Only the handle, until the module itself lands.

pub mod table_cache;

pub use table_cache::TableHandle;
