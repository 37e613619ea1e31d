//! Values that say what they are: which write made them, for which key, and how long they must be.
//! All their bytes follow from that, so that any byte that is wrong, missing or of another value
//! shows.

use crate::random::Random;

/// The bytes before the pattern.
const HEADER_BYTES: usize = 16;

/// A key of the store: each belongs to one thread of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The column family, by its place in [`super::plan::FAMILIES`].
    pub family: u8,
    /// The thread that writes it.
    pub thread: u8,
    /// Which of the thread's keys it is.
    pub number: u16,
}

impl Key {
    /// The key's bytes in the store.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        format!("{}:{:04}", self.thread, self.number).into_bytes()
    }

    /// The key of these bytes.
    #[must_use]
    pub fn parse(family: u8, bytes: &[u8]) -> Option<Key> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (thread, number) = text.split_once(':')?;
        let key = Key { family, thread: thread.parse().ok()?, number: number.parse().ok()? };
        (key.bytes() == bytes).then_some(key)
    }
}

/// Which write a value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The life of the writer.
    pub generation: u32,
    /// The number of the write among those of its thread in that life.
    pub write: u32,
    /// The length of the pattern.
    pub length: u32,
}

impl Version {
    /// The value of `key` by this write.
    #[must_use]
    pub fn value(self, key: Key) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.length as usize);
        bytes.extend([key.family, key.thread]);
        bytes.extend(key.number.to_le_bytes());
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.write.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let mut random = Random::for_case(&words.collect::<Vec<_>>());
        let end = HEADER_BYTES + self.length as usize;
        while bytes.len() < end {
            let word = random.next().to_le_bytes();
            bytes.extend(&word[..word.len().min(end - bytes.len())]);
        }
        bytes
    }

    /// The write that `value` of `key` is of, if all of it is as that write made it.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(key: Key, value: &[u8]) -> Result<Version, String> {
        let word = |at: usize| {
            let bytes = value.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let version = || Some(Version { generation: word(4)?, write: word(8)?, length: word(12)? });
        match version() {
            Some(version) if value.len() == HEADER_BYTES + version.length as usize => {
                if version.value(key) == value {
                    Ok(version)
                } else {
                    Err(format!("{key:?}: a value like that of {version:?}, with other bytes"))
                }
            }
            Some(version) => Err(format!("{key:?}: {} bytes for {version:?}", value.len())),
            None => Err(format!("{key:?}: a value of {} bytes", value.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_what_it_is_and_any_other_byte_shows() {
        let key = Key { family: 1, thread: 2, number: 300 };
        assert_eq!(Key::parse(1, &key.bytes()), Some(key));
        let version = Version { generation: 7, write: 8, length: 21 };
        let value = version.value(key);
        assert_eq!(Version::read(key, &value), Ok(version));
        for at in 0..value.len() {
            let mut other = value.clone();
            other[at] ^= 1;
            assert!(Version::read(key, &other).is_err(), "byte {at}");
            assert!(Version::read(key, &value[..at]).is_err(), "length {at}");
        }
        assert!(Version::read(Key { number: 301, ..key }, &value).is_err());
    }
}
