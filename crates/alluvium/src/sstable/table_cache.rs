//! The handle of a live table. Only what `version` needs, until the module itself lands.

use crate::base::file::FileNumber;

/// One live table.
#[derive(Debug)]
pub struct TableHandle {
    number: FileNumber,
    footer_checksum: u64,
}

impl TableHandle {
    /// The handle of table `number`, whose footer must have `footer_checksum`.
    #[must_use]
    pub fn new(number: FileNumber, footer_checksum: u64) -> TableHandle {
        TableHandle { number, footer_checksum }
    }

    /// The table's number.
    #[must_use]
    pub fn number(&self) -> FileNumber {
        self.number
    }
}
